//! Versions of entries.

/// Identifies the write that made an entry. Changes with every write and never repeats in a namespace, so an
/// entry that was deleted and rewritten differs from the old one. Has no other meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// Restores a version from [`Self::as_u64`].
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The version as a number, for callers that can only hold numbers.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}
