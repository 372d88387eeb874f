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
//! Keys are 1 to 256 bytes without control characters, values at most 1 MiB, times to live from 1 ms to 10 years. A
//! write is answered when it is as durable as the server's engine gets. Failures: `bad-arguments` where a key, a value
//! or a time can't be one, `denied` where the store is not granted, `conflict` where the entry is not what was expected,
//! `unavailable` where the engine can't do it now, `failed` where a quota is used up or there is no number to count up.

use std::time::Duration;
use std::vec;

use crate::Failure;
use crate::host::state;

/// A store, by its name in the grant. Making one costs nothing and calls nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    name: &'a str,
}

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Which write it is of. It changes at every write and never comes twice in a store.
    pub version: u64,
    /// How long until it expires; `None` where it does not.
    pub expires_in: Option<Duration>,
}

/// The store `default`.
impl Default for Store<'static> {
    fn default() -> Self {
        Self::new("default")
    }
}

impl<'a> Store<'a> {
    /// The store of this name.
    pub const fn new(name: &'a str) -> Self {
        Self { name }
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(state::get(self.name, key)?.map(|entry| entry.value))
    }

    /// The value of `key`, if it is there, as text; `failed` where it is not UTF-8.
    pub fn get_text(&self, key: &str) -> Result<Option<String>, Failure> {
        let text = self.get(key)?.map(String::from_utf8).transpose();
        text.map_err(|_| Failure::failed(["the value of ", key, " is not UTF-8"].concat()))
    }

    /// The entry of `key`, if it is there: its value, its version, and when it expires.
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, Failure> {
        Ok(state::get(self.name, key)?.map(|entry| Entry {
            value: entry.value,
            version: entry.version,
            expires_in: entry.expires_in_ms.map(Duration::from_millis),
        }))
    }

    /// Writes an entry that does not expire, whatever was there. Gives its version.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, Failure> {
        Ok(state::set(self.name, key, value.as_ref(), None)?)
    }

    /// Writes an entry that expires after `span`, whatever was there. Gives its version.
    pub fn set_for(&self, key: &str, value: impl AsRef<[u8]>, span: Duration) -> Result<u64, Failure> {
        Ok(state::set(self.name, key, value.as_ref(), Some(milliseconds(span)))?)
    }

    /// Takes an entry away; whether it was there.
    pub fn delete(&self, key: &str) -> Result<bool, Failure> {
        Ok(state::delete(self.name, key)?)
    }

    /// Adds `delta` to an entry that is a decimal number in text, and gives the sum. A missing one counts as 0. Its
    /// expiry stays as it is.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Failure> {
        Ok(state::increment(self.name, key, delta)?)
    }

    /// Writes an entry that does not expire if what is there is of the version `expected`, or, with `None`, if there
    /// is nothing. Gives the new version; `conflict` where it is not so.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: impl AsRef<[u8]>,
    ) -> Result<u64, Failure> {
        Ok(state::compare_and_set(self.name, key, expected, value.as_ref(), None)?)
    }

    /// The same with an entry that expires after `span`.
    pub fn compare_and_set_for(
        &self,
        key: &str,
        expected: Option<u64>,
        value: impl AsRef<[u8]>,
        span: Duration,
    ) -> Result<u64, Failure> {
        Ok(state::compare_and_set(self.name, key, expected, value.as_ref(), Some(milliseconds(span)))?)
    }

    /// Takes an entry away if it still is of the version `expected`; `conflict` where it is not.
    pub fn compare_and_delete(&self, key: &str, expected: u64) -> Result<(), Failure> {
        Ok(state::compare_and_delete(self.name, key, expected)?)
    }

    /// Has an entry expire after `span`, or never; whether it was there.
    pub fn touch(&self, key: &str, span: Option<Duration>) -> Result<bool, Failure> {
        Ok(state::touch(self.name, key, span.map(milliseconds))?)
    }

    /// The keys that begin with `prefix`, in the order of their bytes, fetched page by page as they are asked for.
    pub fn list(&self, prefix: &str) -> Keys<'a> {
        Keys { store: *self, prefix: prefix.into(), page: Vec::new().into_iter(), after: None, more: true }
    }
}

/// The keys of a store. After a failure there are no more.
#[derive(Debug)]
pub struct Keys<'a> {
    store: Store<'a>,
    prefix: String,
    page: vec::IntoIter<String>,
    /// The last key of `page`, from which the next page goes on.
    after: Option<String>,
    more: bool,
}

/// As many keys as the host gives at once.
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
                    // A page without keys has no place to go on from.
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

/// As the host counts; centuries where it does not fit, which the host refuses. Less than one is 1, which is the least
/// that there is.
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
