//! Namespaces, keys, values, times to live and quotas: types that can't be built wrong. They know no engine.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::StateError;
use super::version::Version;

/// The most bytes of keys and values that one call reads or writes: bounds the memory that it takes.
pub const MAX_BYTES_PER_CALL: usize = 16 << 20;

/// The entries of one plugin in one of its stores. Engines keep plugin and store apart, and never join them
/// into one string, which another pair could produce as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// The store's name.
    pub store: Arc<str>,
}

impl Namespace {
    /// The store `store` of the plugin `plugin`.
    #[must_use]
    pub fn new(plugin: &str, store: &str) -> Self {
        Self { plugin: plugin.into(), store: store.into() }
    }
}

/// An entry's key: 1 to 256 bytes of UTF-8 without control characters. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`StateError::InvalidKey`] with the reason.
    pub fn new(text: &str) -> Result<Self, StateError> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > Self::MAX_BYTES {
            "it is longer than 256 bytes"
        } else if text.chars().any(char::is_control) {
            "it holds a control character"
        } else {
            return Ok(Self(text.into()));
        };
        Err(StateError::InvalidKey { why })
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// An entry's value: bytes of bounded length.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// The default limit, in bytes.
    pub const DEFAULT_MAX_BYTES: usize = 1 << 20;

    /// Checks that `bytes` does not exceed [`Value::DEFAULT_MAX_BYTES`].
    ///
    /// # Errors
    /// [`StateError::TooLarge`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, StateError> {
        Self::within(bytes, Self::DEFAULT_MAX_BYTES)
    }

    /// Checks that `bytes` does not exceed `max_bytes`, and fits into one call.
    ///
    /// # Errors
    /// [`StateError::TooLarge`].
    pub fn within(bytes: impl Into<Bytes>, max_bytes: usize) -> Result<Self, StateError> {
        let bytes = bytes.into();
        let limit = max_bytes.min(MAX_BYTES_PER_CALL - Key::MAX_BYTES);
        StateError::check_size("a value in bytes", bytes.len(), limit)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the bytes without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A stored value, which was checked when it was written.
    pub(super) fn kept(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

/// Shows only the length: a value may be secret, and may be large.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// The lifetime of an entry, counted from now: 1 millisecond to 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(u64);

impl Ttl {
    /// The longest lifetime: ten years of 365 days.
    pub const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

    /// Checks `duration`; rounds up to whole milliseconds.
    ///
    /// # Errors
    /// [`StateError::InvalidTtl`].
    pub fn new(duration: Duration) -> Result<Self, StateError> {
        if duration < Duration::from_millis(1) || duration > Self::MAX {
            return Err(StateError::InvalidTtl);
        }
        let ms = duration.as_nanos().div_ceil(1_000_000);
        u64::try_from(ms).map(Self).map_err(|_| StateError::InvalidTtl)
    }

    /// The lifetime in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The expiry of an entry written at `now_ms`.
    #[must_use]
    pub const fn from_ms(self, now_ms: u64) -> Expiry {
        Expiry(now_ms.saturating_add(self.0))
    }
}

/// The moment from which an entry counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(u64);

impl Expiry {
    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Returns true if the entry has expired at `now_ms`.
    #[must_use]
    pub const fn is_past(self, now_ms: u64) -> bool {
        self.0 <= now_ms
    }

    /// The remaining lifetime at `now_ms` of an entry that was live when read, to write it back with. At
    /// least a millisecond, even if the clock has advanced since; at most the longest lifetime, even if the
    /// clock was set back since the entry was written.
    #[must_use]
    pub fn left(self, now_ms: u64) -> Ttl {
        let longest = Ttl::MAX.as_millis().try_into().unwrap_or(u64::MAX);
        Ttl(self.0.saturating_sub(now_ms).clamp(1, longest))
    }

    /// A stored expiry.
    pub(super) const fn kept(ms: u64) -> Self {
        Self(ms)
    }
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// The version of its last write.
    pub version: Version,
    /// Its expiry; `None` is never.
    pub expires_at: Option<Expiry>,
}

/// An entry's version and size, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The version of its last write.
    pub version: Version,
    /// The size of its value in bytes.
    pub bytes: usize,
}

/// The condition of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No entry.
    Absent,
    /// An entry with this version.
    Version(Version),
}

/// One page of a key listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The keys in byte order.
    pub keys: Vec<Key>,
    /// The cursor for the next page; `None` if this was the last.
    pub next: Option<Key>,
}

/// The most that a namespace may hold. A write that raises the usage above it is refused; one that lowers the
/// usage never is, even if the quota was lowered meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The number of keys.
    pub max_keys: u64,
    /// The bytes of keys and values together.
    pub max_bytes: u64,
}

impl Default for Quota {
    /// A hundred thousand keys and 64 MiB: room for sessions and counters, not for a plugin that forgets to
    /// delete.
    fn default() -> Self {
        Self { max_keys: 100_000, max_bytes: 64 << 20 }
    }
}

/// The usage of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The number of keys.
    pub keys: u64,
    /// The bytes of keys and values together.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_at_their_edges() {
        for good in ["a", "ключ", "a b/c:d", &"k".repeat(256), "\u{10ffff}"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        for (bad, word) in [
            (String::new(), "empty"),
            ("k".repeat(257), "256 bytes"),
            ("é".repeat(129), "256 bytes"),
            ("a\nb".to_owned(), "control"),
            ("\0".to_owned(), "control"),
            ("\u{7f}".to_owned(), "control"),
            ("\u{85}".to_owned(), "control"),
        ] {
            let error = Key::new(&bad).unwrap_err();
            assert!(error.to_string().contains(word), "{bad:?}: {error}");
        }
    }

    #[test]
    fn values_are_checked_at_their_edges() {
        assert!(Value::new(vec![0; Value::DEFAULT_MAX_BYTES]).is_ok());
        assert_eq!(
            Value::new(vec![0; Value::DEFAULT_MAX_BYTES + 1]),
            Err(StateError::TooLarge { what: "a value in bytes", size: 1_048_577, limit: 1_048_576 })
        );
        assert!(Value::within(vec![0; 4], 4).is_ok());
        assert!(Value::within(vec![0; 5], 4).is_err());
        assert!(Value::within(vec![0; MAX_BYTES_PER_CALL], usize::MAX).is_err());
        assert_eq!(format!("{:?}", Value::new("secret").unwrap()), "Value(6 bytes)");
    }

    #[test]
    fn times_to_live_are_checked_at_their_edges() {
        assert_eq!(Ttl::new(Duration::from_millis(1)).unwrap().from_ms(5), Expiry(6));
        assert_eq!(Ttl::new(Duration::from_micros(1001)).unwrap().from_ms(5), Expiry(7));
        assert!(Ttl::new(Ttl::MAX).is_ok());
        for bad in [Duration::ZERO, Duration::from_micros(999), Ttl::MAX + Duration::from_nanos(1)] {
            assert_eq!(Ttl::new(bad), Err(StateError::InvalidTtl), "{bad:?}");
        }
        assert!(Expiry(6).is_past(6) && !Expiry(6).is_past(5));
    }

    #[test]
    fn what_is_left_can_be_written_back() {
        let longest = Ttl::MAX.as_millis() as u64;
        for (expiry, now_ms, left) in [
            (6, 5, 1),
            (6, 6, 1),
            (6, 7, 1),
            (1000, 1, 999),
            (u64::MAX, 0, longest),
            (longest + 9, 9, longest),
        ] {
            let ttl = Expiry(expiry).left(now_ms);
            assert_eq!(ttl.as_ms(), left, "{expiry} at {now_ms}");
            assert_eq!(Ttl::new(Duration::from_millis(ttl.as_ms())), Ok(ttl));
        }
    }
}
