//! Plugins' key-value state: engines behind one trait.
//!
//! `values` are what a key, a value or a quota may be, `error` what can go wrong and who is to blame, `clock` where the
//! time comes from, `rules` what each write means, written once for all local engines. `memory` and `sqlite` keep
//! the rows.
//!
//! Invariant: nothing here knows a plugin, a component, a socket, a client or the config file. An engine is handed a
//! [`Namespace`] and a [`Quota`] and hands back a [`Store`] that reaches this namespace and no other.
//!
//! # What every engine promises
//!
//! - **Durable.** An answer to a write means that it is as durable as the engine gets (for `sqlite`: on the disk;
//!   for `memory`: as long as the process).
//! - **Read your writes.** A read that begins after the answer to a write sees it, from whatever handle.
//! - **Order.** A caller that waits for each answer has its writes applied in its order. Of writes that wait side by
//!   side any order may come out, but there is one: every write sees all those before it.
//! - **All or nothing.** A write, also of many keys, is there as a whole or not at all, to readers and after a crash.
//! - **One snapshot.** [`Store::get_many`] and one page of [`Store::list_keys`] see one moment.
//! - **Expiry.** What has expired is not there, to reads and to writes, from the millisecond on. When its space is
//!   freed is the engine's affair, but it is never in the way of a write that needs room.
//! - **Given up.** If the future of a write is dropped before the write was begun, it is not carried out; if later,
//!   it may be. The same holds for a write that was answered [`StateError::Unavailable`]: it may be there after all.

mod clock;
mod error;
pub mod memory;
mod rules;
pub mod sqlite;
mod values;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use error::{Blame, QuotaKind, StateError};
pub use memory::MemoryEngine;
pub use sqlite::{SqliteEngine, SqliteOptions};
pub use values::{Entry, Expected, Expiry, Key, Namespace, Page, Quota, Stat, Ttl, Usage, Value, Version};

/// The most keys that one call reads, writes or lists: what bounds the time that it holds others up.
pub const MAX_KEYS_PER_CALL: usize = 1000;

/// The most bytes of keys and values that one call reads or writes: what bounds the memory that it takes.
pub const MAX_BYTES_PER_CALL: usize = 16 << 20;

/// What an engine will have answered. Boxed, so that an engine over a network fits behind the same trait.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StateError>> + Send + 'a>>;

/// Where state is kept. The module's documentation says what every engine promises.
pub trait Engine: Send + Sync {
    /// A handle on one namespace, which is made if it is not there. `quota` binds the writes through this handle;
    /// other handles on the same namespace may have others, as after a reload of the config.
    fn open(&self, namespace: Namespace, quota: Quota) -> Answer<'_, Arc<dyn Store>>;

    /// Frees the space of everything that has expired, and tells of how many entries. Engines also do so by
    /// themselves.
    fn sweep(&self) -> Answer<'_, u64>;

    /// Carries out the writes that wait, and takes no more: later ones are [`StateError::Unavailable`].
    fn close(&self) -> Answer<'_, ()>;
}

/// One namespace of an [`Engine`].
pub trait Store: Send + Sync {
    /// The entry of `key`.
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Entry>>;

    /// The entries of `keys`, in their order, all of one moment.
    ///
    /// Answers [`StateError::TooLarge`] past [`MAX_KEYS_PER_CALL`] or [`MAX_BYTES_PER_CALL`].
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Entry>>>;

    /// The version of the entry of `key` and the size of its value, which is not read.
    fn stat<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stat>>;

    /// Whether there is an entry.
    fn exists<'a>(&'a self, key: &'a Key) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.stat(key).await?.is_some()) })
    }

    /// The keys that begin with `prefix`, in the order of their bytes, those after `cursor` only. At most `limit` of
    /// them: 0 is taken as 1, and more than [`MAX_KEYS_PER_CALL`] as that.
    ///
    /// Going from page to page, a key that was there all the time comes exactly once; one that came or went
    /// meanwhile may come or not.
    fn list_keys<'a>(&'a self, prefix: &'a str, cursor: Option<&'a Key>, limit: usize) -> Answer<'a, Page>;

    /// What the namespace holds, as its quota counts it. Expired entries count until they are swept.
    fn usage(&self) -> Answer<'_, Usage>;

    /// Writes an entry, whatever was there. Without `ttl` it does not expire, even if the one before did.
    fn set(&self, key: Key, value: Value, ttl: Option<Ttl>) -> Answer<'_, Version>;

    /// Writes all of `entries` or none. If a key is there twice, the last one holds.
    ///
    /// Answers [`StateError::TooLarge`] past [`MAX_KEYS_PER_CALL`] or [`MAX_BYTES_PER_CALL`].
    fn set_many(&self, entries: Vec<(Key, Value)>, ttl: Option<Ttl>) -> Answer<'_, ()>;

    /// Takes an entry away; whether there was one.
    fn delete(&self, key: Key) -> Answer<'_, bool>;

    /// Takes all of `keys` away or none; how many there were.
    fn delete_many(&self, keys: Vec<Key>) -> Answer<'_, u64>;

    /// Adds `delta` to an entry that is a decimal number in text, and gives the sum; a missing one counts as 0. Its
    /// expiry stays as it is.
    ///
    /// Answers [`StateError::NotANumber`] or [`StateError::Overflow`], and leaves the entry alone.
    fn increment(&self, key: Key, delta: i64) -> Answer<'_, i64> {
        self.increment_to(key, delta, i64::MIN)
    }

    /// The same, where a sum below `least` is a [`StateError::Overflow`] as well.
    fn increment_to(&self, key: Key, delta: i64, least: i64) -> Answer<'_, i64>;

    /// Writes an entry if what is there is what was `expected`, else answers [`StateError::Conflict`].
    fn compare_and_set(
        &self,
        key: Key,
        expected: Expected,
        value: Value,
        ttl: Option<Ttl>,
    ) -> Answer<'_, Version>;

    /// Takes an entry away if it still is of `version`, else answers [`StateError::Conflict`].
    fn compare_and_delete(&self, key: Key, version: Version) -> Answer<'_, ()>;

    /// Has an entry expire after `ttl` from now, or never; its new version, or `None` if there is no entry.
    fn touch(&self, key: Key, ttl: Option<Ttl>) -> Answer<'_, Option<Version>>;
}
