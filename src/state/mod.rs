//! Plugins' key-value state: engines behind one trait.
//!
//! `values` defines keys, values and quotas; `error` the errors and who is to blame; `clock` the source of
//! time; `rules` the meaning of each write, once for all local engines. `memory` and `sqlite` store the rows.
//!
//! Invariant: nothing here knows a plugin, a component, a socket, a client or the config file. An engine
//! takes a [`Namespace`] and a [`Quota`], and returns a [`Store`] that reaches this namespace and no other.
//!
//! # Guarantees of every engine
//!
//! - **Durable.** An answered write is as durable as the engine allows (for `sqlite`: on the disk; for
//!   `memory`: as long as the process).
//! - **Read your writes.** A read that begins after the answer to a write sees that write, through any
//!   handle.
//! - **Ordered.** The writes of a caller that waits for each answer are applied in its order. Concurrent
//!   writes may be applied in any order, but there is one: every write sees all those before it.
//! - **Atomic.** A write, even of many keys, is visible as a whole or not at all, to readers and after a
//!   crash.
//! - **One snapshot.** [`Store::get_many`] and one page of [`Store::list_keys`] read from a single snapshot.
//! - **Expiry.** An expired entry is absent for reads and writes, from the millisecond on. The engine decides
//!   when to free its space, but never refuses a write for lack of space that expired entries take.
//! - **Cancellation.** If the future of a write is dropped before the write began, it is not carried out; if
//!   later, it may be. The same holds for a write that was answered [`StateError::Unavailable`]: it may have
//!   taken effect.

mod clock;
mod error;
pub mod memory;
mod rules;
pub mod sqlite;
mod values;
mod version;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::telemetry::traces::Context;

pub use clock::{Clock, SystemClock};
pub use error::{Blame, QuotaKind, StateError};
pub use memory::MemoryEngine;
pub use sqlite::{SqliteEngine, SqliteOptions};
pub use values::{
    Entry, Expected, Expiry, Key, MAX_BYTES_PER_CALL, Namespace, Page, Quota, Stat, Ttl, Usage, Value,
};
pub use version::Version;

/// The most keys that one call reads, writes or lists: bounds the time that it delays others.
pub const MAX_KEYS_PER_CALL: usize = 1000;

/// A future with an engine's answer. Boxed, so that an engine over a network fits behind the same trait.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StateError>> + Send + 'a>>;

/// A storage engine for state. The module's documentation lists the guarantees of every engine.
pub trait Engine: Send + Sync {
    /// Opens a handle on one namespace, and creates the namespace if needed. `quota` applies to writes
    /// through this handle; other handles on the same namespace may have other quotas, as after a reload of
    /// the config.
    fn open(&self, namespace: Namespace, quota: Quota) -> Answer<'_, Arc<dyn Store>>;

    /// Reads something, to find out if the engine answers.
    fn check(&self) -> Answer<'_, ()>;

    /// Frees the space of all expired entries, and returns their number. Engines also do so by themselves.
    fn sweep(&self) -> Answer<'_, u64>;

    /// Carries out the queued writes, and accepts no more: later ones are [`StateError::Unavailable`].
    fn close(&self) -> Answer<'_, ()>;
}

/// One namespace of an [`Engine`].
pub trait Store: Send + Sync {
    /// Returns a handle on the same namespace, the commits of whose writes are spans of `context`.
    fn traced(&self, context: &Context) -> Arc<dyn Store>;

    /// Reads the entry of `key`.
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Entry>>;

    /// Reads the entries of `keys`, in their order, from a single snapshot.
    ///
    /// Returns [`StateError::TooLarge`] past [`MAX_KEYS_PER_CALL`] or [`MAX_BYTES_PER_CALL`].
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Entry>>>;

    /// Returns the version of the entry of `key` and the size of its value, without reading the value.
    fn stat<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stat>>;

    /// Returns true if there is an entry.
    fn exists<'a>(&'a self, key: &'a Key) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.stat(key).await?.is_some()) })
    }

    /// Lists the keys that begin with `prefix` and come after `cursor`, in byte order. At most `limit` keys:
    /// 0 counts as 1, and more than [`MAX_KEYS_PER_CALL`] as that.
    ///
    /// Over several pages, a key that existed all the time appears exactly once; one that was added or
    /// removed meanwhile may or may not appear.
    fn list_keys<'a>(&'a self, prefix: &'a str, cursor: Option<&'a Key>, limit: usize) -> Answer<'a, Page>;

    /// The namespace's usage, as its quota counts it. Expired entries count until they are swept.
    fn usage(&self) -> Answer<'_, Usage>;

    /// Writes an entry, replacing any previous one. Without `ttl` it does not expire, even if the previous
    /// one did.
    fn set(&self, key: Key, value: Value, ttl: Option<Ttl>) -> Answer<'_, Version>;

    /// Writes all of `entries` or none. If a key appears twice, the last one wins.
    ///
    /// Returns [`StateError::TooLarge`] past [`MAX_KEYS_PER_CALL`] or [`MAX_BYTES_PER_CALL`].
    fn set_many(&self, entries: Vec<(Key, Value)>, ttl: Option<Ttl>) -> Answer<'_, ()>;

    /// Deletes an entry; returns true if there was one.
    fn delete(&self, key: Key) -> Answer<'_, bool>;

    /// Deletes all of `keys` or none; returns the number of entries that existed.
    fn delete_many(&self, keys: Vec<Key>) -> Answer<'_, u64>;

    /// Adds `delta` to an entry that is a decimal number in text, and returns the sum; a missing entry counts
    /// as 0. Keeps its expiry.
    ///
    /// Returns [`StateError::NotANumber`] or [`StateError::Overflow`], and leaves the entry unchanged.
    fn increment(&self, key: Key, delta: i64) -> Answer<'_, i64> {
        self.increment_to(key, delta, i64::MIN)
    }

    /// Like [`Store::increment`], but a sum below `least` is a [`StateError::Overflow`] as well.
    fn increment_to(&self, key: Key, delta: i64, least: i64) -> Answer<'_, i64>;

    /// Writes an entry if the current one is the `expected` one; otherwise returns [`StateError::Conflict`].
    fn compare_and_set(
        &self,
        key: Key,
        expected: Expected,
        value: Value,
        ttl: Option<Ttl>,
    ) -> Answer<'_, Version>;

    /// Deletes an entry if it still has `version`; otherwise returns [`StateError::Conflict`].
    fn compare_and_delete(&self, key: Key, version: Version) -> Answer<'_, ()>;

    /// Sets an entry to expire after `ttl` from now, or never. Returns its new version, or `None` if there is
    /// no entry.
    fn touch(&self, key: Key, ttl: Option<Ttl>) -> Answer<'_, Option<Version>>;
}
