//! What plugins' calls and instances take.
//!
//! All threads write the same numbers, which a call that ends at once in a warm instance never does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::family::{Family, Labels};
use super::histogram::{Histogram, nanos};
use crate::sync::locked;

/// The metrics of one plugin, shared by all that was loaded under its name. They last as long as any of that.
#[derive(Debug, Default)]
pub struct OfPlugin {
    /// Times for which calls waited for permission to run.
    pub waited: Histogram,
    computed_nanos: AtomicU64,
    instances: AtomicU64,
    warm: AtomicU64,
    retired: [AtomicU64; Retired::ALL.len()],
    peak_bytes: AtomicU64,
}

/// Reason for which a warm instance was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It ran as many calls as it may.
    Calls,
    /// It held too much in the host, or its guest did not wait for the next call.
    Worn,
    /// There were enough idle ones.
    Surplus,
    /// It was idle for too long.
    Idle,
    /// Its memory was needed.
    Memory,
    /// Its plugin was replaced, or removed from the config.
    Replaced,
    /// Its call broke off, or was stopped.
    Failure,
}

impl Retired {
    const ALL: [Self; 7] =
        [Self::Calls, Self::Worn, Self::Surplus, Self::Idle, Self::Memory, Self::Replaced, Self::Failure];

    fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Worn => "worn",
            Self::Surplus => "surplus",
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::Replaced => "replaced",
            Self::Failure => "failure",
        }
    }
}

static PLUGINS: Mutex<BTreeMap<Arc<str>, Weak<OfPlugin>>> = Mutex::new(BTreeMap::new());

impl OfPlugin {
    /// Returns the metrics of the plugin of this name.
    pub fn of(plugin: &str) -> Arc<Self> {
        let mut plugins = locked(&PLUGINS);
        plugins.retain(|_, metrics| metrics.strong_count() > 0);
        if let Some(metrics) = plugins.get(plugin).and_then(Weak::upgrade) {
            return metrics;
        }
        let metrics = Arc::<Self>::default();
        plugins.insert(plugin.into(), Arc::downgrade(&metrics));
        metrics
    }

    /// Adds processor time that its calls took.
    pub fn computed(&self, time: Duration) {
        self.computed_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    fn take_peak(&self, bytes: u64) {
        // Read first: instances of a plugin mostly take the same, and then no other core has to read anew.
        if bytes > self.peak_bytes.load(Ordering::Relaxed) {
            self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

/// An instance, counted until this is dropped.
#[derive(Debug)]
pub struct LiveInstance(Arc<OfPlugin>);

impl LiveInstance {
    /// Counts an instance.
    pub fn new(of: &Arc<OfPlugin>) -> Self {
        of.instances.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(of))
    }

    /// Notes that it takes this much memory.
    pub fn takes(&self, bytes: usize) {
        self.0.take_peak(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for LiveInstance {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An instance that is kept between calls, counted until this is dropped, and then by the reason.
#[derive(Debug)]
pub struct KeptInstance {
    of: Arc<OfPlugin>,
    /// The reason for which it will be dropped, unless there is another.
    pub ends_by: Retired,
}

impl KeptInstance {
    /// Counts an instance, which ends by a failure unless told otherwise.
    pub fn new(of: &Arc<OfPlugin>) -> Self {
        of.warm.fetch_add(1, Ordering::Relaxed);
        Self { of: Arc::clone(of), ends_by: Retired::Failure }
    }
}

impl Drop for KeptInstance {
    fn drop(&mut self) {
        self.of.warm.fetch_sub(1, Ordering::Relaxed);
        self.of.retired[self.ends_by as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// All plugins that are in use.
pub(super) fn families() -> [Family; 6] {
    let plugins = locked(&PLUGINS).clone();
    let plugins = plugins.into_iter().filter_map(|(name, metrics)| Some((name, metrics.upgrade()?)));
    let plugins: Vec<_> = plugins.collect();
    let labels = |name: &str| vec![("plugin", name.to_owned())];
    let each = |value: fn(&OfPlugin) -> &AtomicU64| -> Vec<(Labels, u64)> {
        let of = |(name, metrics): &(Arc<str>, Arc<OfPlugin>)| {
            (labels(name), value(metrics).load(Ordering::Relaxed))
        };
        plugins.iter().map(of).collect()
    };
    let waited = plugins.iter().map(|(name, metrics)| (labels(name), metrics.waited.read()));
    let seconds = |(labels, nanos)| (labels, Duration::from_nanos(nanos).as_secs_f64());
    let retired = plugins.iter().flat_map(|(name, metrics)| {
        Retired::ALL.into_iter().map(move |reason| {
            let count = metrics.retired[reason as usize].load(Ordering::Relaxed);
            (vec![("plugin", name.to_string()), ("reason", reason.as_str().to_owned())], count)
        })
    });
    [
        Family::histograms(
            "lictor_queue_duration_seconds",
            "Time in the queue, of calls that had to wait.",
            waited,
        ),
        Family::counters(
            "lictor_plugin_cpu_seconds_total",
            "Processor time of calls that computed for more than a tick.",
            each(|metrics| &metrics.computed_nanos).into_iter().map(seconds),
        ),
        Family::gauges("lictor_plugin_instances", "Instances that live.", each(|metrics| &metrics.instances)),
        Family::gauges(
            "lictor_plugin_warm_instances",
            "Instances that are kept between calls.",
            each(|metrics| &metrics.warm),
        ),
        Family::counters(
            "lictor_plugin_instances_retired_total",
            "Instances that were kept between calls and dropped, by the reason.",
            retired.filter(|(_, count)| *count > 0),
        ),
        Family::gauges(
            "lictor_plugin_memory_peak_bytes",
            "The most memory that one instance has had.",
            each(|metrics| &metrics.peak_bytes),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_places_of_their_own() {
        for (place, reason) in Retired::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn metrics_are_of_a_name_as_long_as_something_has_it() {
        let read = |counts: &AtomicU64| counts.load(Ordering::Relaxed);
        let of = OfPlugin::of("a plugin of this test");
        let (one, mut kept) = (LiveInstance::new(&of), KeptInstance::new(&of));
        let other = LiveInstance::new(&OfPlugin::of("a plugin of this test"));
        one.takes(7);
        other.takes(5);
        assert_eq!((read(&of.instances), read(&of.warm), read(&of.peak_bytes)), (2, 1, 7));
        kept.ends_by = Retired::Idle;
        drop((kept, KeptInstance::new(&of), other));
        assert_eq!((read(&of.instances), read(&of.warm)), (1, 0));
        let retired = of.retired.each_ref().map(read);
        assert_eq!(retired, [0, 0, 0, 1, 0, 0, 1]);
        drop((of, one));
        assert_eq!(read(&OfPlugin::of("a plugin of this test").peak_bytes), 0);
    }
}
