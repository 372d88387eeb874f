//! Key-value state that outlives instances, where `keyvalue = ["STORE"]` is granted.
//!
//! ```no_run
//! use lictor_plugin::prelude::*;
//! use lictor_plugin::state::Store;
//!
//! const SESSIONS: Store = Store::new("sessions");
//!
//! fn remember(id: &str) -> Result<(), Failure> {
//!     SESSIONS.set_for(id, "here", Duration::from_secs(60))?;
//!     Ok(())
//! }
//! ```
//!
//! Keys are 1 to 256 bytes without control characters, values at most 1 MiB, times to live from 1 ms to 10
//! years. A write returns once it is as durable as the server's engine makes it. Failures: `bad-arguments`
//! for an invalid key, value or time, `denied` for a store that is not granted, `conflict` for an entry other
//! than expected, `unavailable` if the engine can't do it now, `failed` for an exhausted quota or an entry to
//! increment that is not a number.

use std::time::Duration;
use std::vec;

use crate::Failure;
use crate::host::state;

/// A store, by its name in the grant. Creating one is free and calls nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    name: &'a str,
}

/// An entry of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value's bytes.
    pub value: Vec<u8>,
    /// Version, which changes at every write and never repeats within a store.
    pub version: u64,
    /// Time until it expires; `None` if it does not.
    pub expires_in: Option<Duration>,
}

/// The store `default`.
impl Default for Store<'static> {
    fn default() -> Self {
        Self::new("default")
    }
}

impl<'a> Store<'a> {
    /// Returns the store `name`.
    pub const fn new(name: &'a str) -> Self {
        Self { name }
    }

    /// Returns the value of `key`, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(state::get(self.name, key)?.map(|entry| entry.value))
    }

    /// Returns the value of `key` as text, if there is one; `failed` if it is not UTF-8.
    pub fn get_text(&self, key: &str) -> Result<Option<String>, Failure> {
        let text = self.get(key)?.map(String::from_utf8).transpose();
        text.map_err(|_| Failure::failed(["the value of ", key, " is not UTF-8"].concat()))
    }

    /// Returns the entry of `key`, if there is one: its value, its version, and its expiry.
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, Failure> {
        Ok(state::get(self.name, key)?.map(|entry| Entry {
            value: entry.value,
            version: entry.version,
            expires_in: entry.expires_in_ms.map(Duration::from_millis),
        }))
    }

    /// Writes an entry that does not expire, replacing any other. Returns its version.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, Failure> {
        Ok(state::set(self.name, key, value.as_ref(), None)?)
    }

    /// Writes an entry that expires after `span`, replacing any other. Returns its version.
    pub fn set_for(&self, key: &str, value: impl AsRef<[u8]>, span: Duration) -> Result<u64, Failure> {
        Ok(state::set(self.name, key, value.as_ref(), Some(milliseconds(span)))?)
    }

    /// Deletes an entry; returns true if there was one.
    pub fn delete(&self, key: &str) -> Result<bool, Failure> {
        Ok(state::delete(self.name, key)?)
    }

    /// Adds `delta` to an entry that is a decimal number in text, and returns the sum. A missing entry counts
    /// as 0. The expiry stays as it is.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Failure> {
        Ok(state::increment(self.name, key, delta)?)
    }

    /// Writes an entry that does not expire if the present one has the version `expected`, or, with `None`,
    /// if there is none. Returns the new version; `conflict` otherwise.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: impl AsRef<[u8]>,
    ) -> Result<u64, Failure> {
        Ok(state::compare_and_set(self.name, key, expected, value.as_ref(), None)?)
    }

    /// Like [`compare_and_set`](Self::compare_and_set), with an entry that expires after `span`.
    pub fn compare_and_set_for(
        &self,
        key: &str,
        expected: Option<u64>,
        value: impl AsRef<[u8]>,
        span: Duration,
    ) -> Result<u64, Failure> {
        Ok(state::compare_and_set(self.name, key, expected, value.as_ref(), Some(milliseconds(span)))?)
    }

    /// Deletes an entry if it still has the version `expected`; `conflict` otherwise.
    pub fn compare_and_delete(&self, key: &str, expected: u64) -> Result<(), Failure> {
        Ok(state::compare_and_delete(self.name, key, expected)?)
    }

    /// Makes an entry expire after `span`, or never; returns true if there was one.
    pub fn touch(&self, key: &str, span: Option<Duration>) -> Result<bool, Failure> {
        Ok(state::touch(self.name, key, span.map(milliseconds))?)
    }

    /// Returns the keys that begin with `prefix`, in byte order, fetched page by page as needed.
    pub fn list(&self, prefix: &str) -> Keys<'a> {
        Keys { store: *self, prefix: prefix.into(), page: Vec::new().into_iter(), after: None, more: true }
    }
}

/// The keys of a store. Ends after a failure.
#[derive(Debug)]
pub struct Keys<'a> {
    store: Store<'a>,
    prefix: String,
    page: vec::IntoIter<String>,
    /// The last key of `page`, after which the next page begins.
    after: Option<String>,
    more: bool,
}

/// Most keys the host returns at once.
const PAGE: u32 = 1000;

impl Iterator for Keys<'_> {
    type Item = Result<String, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            if !self.more {
                return None;
            }
            match state::list_keys(self.store.name, &self.prefix, self.after.as_deref(), PAGE) {
                Ok(page) => {
                    // After an empty page there is no key to continue from.
                    self.more = page.more && !page.keys.is_empty();
                    self.after = page.keys.last().cloned();
                    self.page = page.keys.into_iter();
                }
                Err(failure) => {
                    self.more = false;
                    return Some(Err(failure.into()));
                }
            }
        }
    }
}

/// Converts to the host's unit; saturates, after centuries, to a value that the host refuses. Rounds up to 1,
/// the least that the host accepts.
fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(u64::from(!span.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_never_rounded_to_nothing() {
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(1500)), 1500);
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
