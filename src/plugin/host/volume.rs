//! The bound on one call's use of the host: operations on stores, files, the network and other commands, and
//! the bytes that they carry. A plugin's work in its own memory is bounded by its time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::telemetry::metrics::Counter;

/// The remaining volume of the current call. Clones count for the same call: bodies of HTTP flow beside the
/// plugin, in tasks that have no access to the instance.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Volume {
    limits: VolumeLimits,
    left: Arc<Left>,
}

#[derive(Debug)]
struct Left {
    calls: AtomicU64,
    bytes: AtomicU64,
    /// True once more bytes were asked for than were left.
    is_overdrawn: AtomicBool,
}

/// Limits on one call's use of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeLimits {
    /// Maximum operations.
    pub calls: u64,
    /// Maximum bytes that they carry, both directions together.
    pub bytes: u64,
}

/// The call asked too much of the host. Ends the call, however the plugin would have handled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) struct VolumeSpent {
    limits: VolumeLimits,
    by_calls: bool,
}

impl fmt::Display for VolumeSpent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by_calls {
            true => write!(f, "asked for more than its {} operations of the host", self.limits.calls),
            false => write!(f, "moved more than its {} bytes through the host", self.limits.bytes),
        }
    }
}

impl VolumeSpent {
    /// The setting that raises the limit.
    pub(in crate::plugin) fn advice(self) -> &'static str {
        match self.by_calls {
            true => "raise `host_calls` of the plugin, or `--host-calls` of the command line",
            false => "raise `host_bytes` of the plugin, or `--host-bytes` of the command line",
        }
    }
}

impl Volume {
    pub(in crate::plugin) fn new(limits: VolumeLimits) -> Self {
        let left = Left {
            calls: AtomicU64::new(limits.calls),
            bytes: AtomicU64::new(limits.bytes),
            is_overdrawn: AtomicBool::new(false),
        };
        Self { limits, left: Arc::new(left) }
    }

    /// Begins another call. Clones that still count for the last one continue to do so.
    pub(in crate::plugin) fn begin(&mut self) {
        match Arc::get_mut(&mut self.left) {
            Some(left) => {
                *left.calls.get_mut() = self.limits.calls;
                *left.bytes.get_mut() = self.limits.bytes;
                *left.is_overdrawn.get_mut() = false;
            }
            None => *self = Self::new(self.limits),
        }
    }

    /// Operations of the current call so far.
    pub(in crate::plugin) fn calls(&self) -> u64 {
        self.limits.calls - self.left.calls.load(Ordering::Relaxed)
    }

    /// Takes one operation that carries `bytes`.
    pub(in crate::plugin) fn operation(&self, bytes: usize) -> Result<(), VolumeSpent> {
        if take(&self.left.calls, 1) {
            return self.carry(bytes);
        }
        Counter::HostCallsUsedUp.count();
        Err(VolumeSpent { limits: self.limits, by_calls: true })
    }

    /// Takes `bytes` more for an operation that has begun.
    pub(in crate::plugin) fn carry(&self, bytes: usize) -> Result<(), VolumeSpent> {
        if take(&self.left.bytes, bytes as u64) {
            return Ok(());
        }
        Counter::HostBytesUsedUp.count();
        self.left.is_overdrawn.store(true, Ordering::Relaxed);
        Err(VolumeSpent { limits: self.limits, by_calls: false })
    }

    /// Fails once the byte budget is overdrawn, no matter which task overdrew it: a body that did so can only
    /// fail its own stream, which a plugin may never look at.
    pub(in crate::plugin) fn check(&self) -> Result<(), VolumeSpent> {
        match self.left.is_overdrawn.load(Ordering::Relaxed) {
            true => Err(VolumeSpent { limits: self.limits, by_calls: false }),
            false => Ok(()),
        }
    }
}

/// Takes `amount` out of `left`, all of it or nothing; returns true if it did.
fn take(left: &AtomicU64, amount: u64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_bytes_are_bounded_each_by_itself() {
        let limits = VolumeLimits { calls: 2, bytes: 10 };
        let mut volume = Volume::new(limits);
        assert_eq!(volume.operation(4), Ok(()));
        assert_eq!(volume.carry(6), Ok(()));
        assert_eq!(volume.carry(1), Err(VolumeSpent { limits, by_calls: false }));
        assert_eq!(volume.operation(0), Ok(()));
        assert_eq!(volume.operation(0), Err(VolumeSpent { limits, by_calls: true }));
        volume.begin();
        assert_eq!(volume.operation(10), Ok(()));
    }

    #[test]
    fn clones_count_the_same_call_and_not_the_next() {
        let limits = VolumeLimits { calls: 2, bytes: 10 };
        let mut volume = Volume::new(limits);
        let body = volume.clone();
        assert_eq!(body.carry(8), Ok(()));
        assert_eq!(volume.carry(2), Ok(()));
        assert_eq!(volume.check(), Ok(()));
        assert!(body.carry(1).is_err());
        assert!(volume.check().is_err());
        volume.begin();
        assert!(body.carry(1).is_err());
        assert_eq!((volume.check(), volume.operation(10)), (Ok(()), Ok(())));
    }
}
