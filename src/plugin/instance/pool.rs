//! Idle warm instances: those that have run a call and may run another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::Instance;
use super::guest::Guest;
use crate::identity::PeerIdentity;
use crate::plugin::memory::budget::Reclaim;
use crate::plugin::spec::Instances;
use crate::sync::locked;
use crate::telemetry::metrics::{KeptInstance, OfPlugin, Retired};

/// Conditions for retiring a warm instance.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct Retirement {
    /// After this many calls.
    pub(in crate::plugin) max_calls: u32,
    /// After this long without a call.
    pub(in crate::plugin) idle: Duration,
}

/// The idle warm instances of one plugin.
///
/// An instance is taken out for a call and comes back only after one that ended well, so anything that ends a
/// call otherwise (a trap, a time-out, a disconnect) retires the instance by dropping it.
pub(in crate::plugin) struct Pool {
    sharing: Instances,
    retirement: Retirement,
    max_idle: usize,
    metrics: Arc<OfPlugin>,
    idle_count: AtomicUsize,
    /// Keyed by the client whose calls they may see; without a client for `Shared`. The most recently used is
    /// last.
    idle: Mutex<Idle>,
}

/// Idle instances by the client whose calls they may see. The names are the operator's, so a fast hash is
/// safe.
type Idle = HashMap<Option<Arc<str>>, Vec<Instance>, FxBuildHasher>;

impl Pool {
    pub(in crate::plugin) fn new(
        sharing: Instances,
        retirement: Retirement,
        max_idle: usize,
        metrics: Arc<OfPlugin>,
    ) -> Self {
        let (idle_count, idle) = (AtomicUsize::new(0), Mutex::default());
        Self { sharing, retirement, max_idle, metrics, idle_count, idle }
    }

    /// Makes the instance of a fresh `guest`, for a call of `caller`, and for those that follow if instances
    /// are kept between calls.
    pub(in crate::plugin) fn begin(&self, guest: Guest, caller: &PeerIdentity) -> Instance {
        match self.sharing {
            Instances::PerRequest => Instance::new(guest, None, 1, None),
            Instances::PerClient | Instances::Shared => {
                let kept = KeptInstance::new(&self.metrics);
                Instance::new(guest, self.owner(caller), self.retirement.max_calls, Some(kept))
            }
        }
    }

    /// Takes out a warm instance that may see a call of `caller`.
    pub(in crate::plugin) fn take(&self, caller: &PeerIdentity) -> Option<Instance> {
        if self.idle_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let instance = self.idle().get_mut(&self.owner(caller))?.pop()?;
        self.idle_count.fetch_sub(1, Ordering::Relaxed);
        Some(instance)
    }

    /// Takes back an instance that may run another call; drops it if there are enough.
    pub(in crate::plugin) fn give_back(&self, mut instance: Instance) {
        if self.idle_count.load(Ordering::Relaxed) >= self.max_idle {
            return instance.end_by(Retired::Surplus);
        }
        instance.last_used = Instant::now();
        let mut idle = self.idle();
        // Counted under the lock, so that `take` never subtracts before this adds.
        self.idle_count.fetch_add(1, Ordering::Relaxed);
        idle.entry(instance.owner.clone()).or_default().push(instance);
    }

    /// Drops the instances that have not been called for the time in `retirement`.
    pub(in crate::plugin) fn retire_idle(&self, now: Instant) {
        if self.idle_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut retired = Vec::new();
        self.idle().retain(|_, instances| {
            let is_fresh =
                |instance: &Instance| now.duration_since(instance.last_used) < self.retirement.idle;
            let kept = instances.iter().position(is_fresh).unwrap_or(instances.len());
            retired.extend(instances.drain(..kept));
            !instances.is_empty()
        });
        self.idle_count.fetch_sub(retired.len(), Ordering::Relaxed);
        retired.iter_mut().for_each(|instance| instance.end_by(Retired::Idle));
        // Dropped here, after the lock: freeing an instance's memory takes time.
    }

    /// Takes out the instance that has been idle for longest.
    fn take_oldest(&self) -> Option<Instance> {
        let mut idle = self.idle();
        let used = |instances: &Vec<Instance>| instances.first().map(|instance| instance.last_used);
        let of_owner = idle.iter().filter_map(|(owner, instances)| Some((used(instances)?, owner)));
        let owner = of_owner.min_by_key(|(at, _)| *at).map(|(_, owner)| owner.clone())?;
        let instances = idle.get_mut(&owner)?;
        let oldest = instances.remove(0);
        if instances.is_empty() {
            idle.remove(&owner);
        }
        self.idle_count.fetch_sub(1, Ordering::Relaxed);
        Some(oldest)
    }

    /// Returns the client whose calls an instance may see that is made for `caller`; `None` for all clients.
    fn owner(&self, caller: &PeerIdentity) -> Option<Arc<str>> {
        (self.sharing == Instances::PerClient).then(|| caller.name_shared())
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        locked(&self.idle)
    }
}

impl Reclaim for Pool {
    fn oldest(&self) -> Option<Instant> {
        if self.idle_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.idle()
            .values()
            .filter_map(|instances| instances.first())
            .map(|instance| instance.last_used)
            .min()
    }

    fn give_up_oldest(&self) -> bool {
        self.take_oldest().map(|mut oldest| oldest.end_by(Retired::Memory)).is_some()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        idle.values_mut().flatten().for_each(|instance| instance.end_by(Retired::Replaced));
    }
}
