//! The bound on what one call may ask of the host: operations on stores, files, the network and other commands, and the
//! bytes that they carry. What a plugin does with its own memory is bounded by its time.

use std::fmt;

/// What is left for the current call.
#[derive(Debug)]
pub(in crate::plugin) struct Volume {
    limits: VolumeLimits,
    calls_left: u64,
    bytes_left: u64,
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeLimits {
    /// Operations.
    pub calls: u64,
    /// Bytes that they carry, both ways together.
    pub bytes: u64,
}

/// The call asked too much of the host. It ends the call, whatever the plugin would have made of it.
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

impl Volume {
    pub(in crate::plugin) fn new(limits: VolumeLimits) -> Self {
        Self { limits, calls_left: limits.calls, bytes_left: limits.bytes }
    }

    /// Begins another call.
    pub(in crate::plugin) fn begin(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Operations of the current call so far.
    pub(in crate::plugin) fn calls(&self) -> u64 {
        self.limits.calls - self.calls_left
    }

    /// Takes one operation that carries `bytes`.
    pub(in crate::plugin) fn operation(&mut self, bytes: usize) -> Result<(), VolumeSpent> {
        let spent = VolumeSpent { limits: self.limits, by_calls: true };
        self.calls_left = self.calls_left.checked_sub(1).ok_or(spent)?;
        self.carry(bytes)
    }

    /// Takes `bytes` more for an operation that has begun.
    pub(in crate::plugin) fn carry(&mut self, bytes: usize) -> Result<(), VolumeSpent> {
        let spent = VolumeSpent { limits: self.limits, by_calls: false };
        self.bytes_left = self.bytes_left.checked_sub(bytes as u64).ok_or(spent)?;
        Ok(())
    }
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
}
