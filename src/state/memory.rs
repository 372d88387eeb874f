//! The engine that stores everything in memory: for tests, for running a plugin without a server, and for
//! state that may be lost with the process. Knows no files.
//!
//! Each namespace has its own lock, which is held for one operation and never across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::clock::{Clock, SystemClock};
use super::error::StateError;
use super::rules::{self, Books, Row, Rows, Space};
use super::values::{Entry, Expected, Expiry, Key, Namespace, Page, Quota, Stat, Ttl, Usage, Value};
use super::version::Version;
use super::{Answer, Engine, Store};
use crate::sync::locked;
use crate::telemetry::metrics::STATE;
use crate::telemetry::traces::Context;

/// State in memory.
pub struct MemoryEngine {
    clock: Arc<dyn Clock>,
    spaces: Mutex<HashMap<Namespace, Arc<Mutex<Kept>>>>,
    closed: Arc<AtomicBool>,
}

/// The contents of one namespace.
#[derive(Default)]
struct Kept {
    rows: MemoryRows,
    books: Books,
}

#[derive(Default)]
struct MemoryRows {
    entries: BTreeMap<Key, Entry>,
    /// The `entries` that expire, by expiry.
    expiring: BTreeSet<(Expiry, Key)>,
}

impl MemoryEngine {
    /// An empty engine that uses the system clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty engine that uses `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, spaces: Mutex::default(), closed: Arc::default() }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn open(&self, namespace: Namespace, quota: Quota) -> Answer<'_, Arc<dyn Store>> {
        Box::pin(async move {
            let kept = Arc::clone(locked(&self.spaces).entry(namespace).or_default());
            let (clock, closed) = (Arc::clone(&self.clock), Arc::clone(&self.closed));
            let store: Arc<dyn Store> = Arc::new(MemoryStore { kept, quota, clock, closed });
            Ok(store)
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn sweep(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let spaces: Vec<_> = locked(&self.spaces).values().cloned().collect();
            let now_ms = self.clock.now_ms();
            let mut count = 0;
            for space in spaces {
                let Kept { rows, books } = &mut *locked(&space);
                let freed = rows.remove_expired(now_ms, usize::MAX)?;
                books.usage.subtract(freed);
                count += freed.keys;
            }
            Ok(count)
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            Ok(())
        })
    }
}

/// One namespace of a [`MemoryEngine`].
#[derive(Clone)]
struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
    quota: Quota,
    clock: Arc<dyn Clock>,
    closed: Arc<AtomicBool>,
}

impl MemoryStore {
    fn read<'a, T: Send + 'a>(
        &'a self,
        look: impl FnOnce(&Kept, u64) -> Result<T, StateError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            STATE.read();
            look(&locked(&self.kept), self.clock.now_ms())
        })
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        change: impl FnOnce(&mut Space<'_, MemoryRows>) -> Result<T, StateError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            if self.closed.load(Ordering::Acquire) {
                return Err(StateError::unavailable("the engine is closed"));
            }
            STATE.wrote(None);
            let Kept { rows, books } = &mut *locked(&self.kept);
            change(&mut Space { rows, books, quota: self.quota, now_ms: self.clock.now_ms() })
        })
    }
}

impl Kept {
    fn live(&self, key: &Key, now_ms: u64) -> Option<&Entry> {
        self.rows.entries.get(key).filter(|entry| is_live(entry, now_ms))
    }
}

impl Store for MemoryStore {
    /// Commits nothing.
    fn traced(&self, _context: &Context) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Entry>> {
        self.read(move |kept, now_ms| Ok(kept.live(key, now_ms).cloned()))
    }

    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Entry>>> {
        self.read(move |kept, now_ms| {
            rules::check_number(keys.len())?;
            let mut bytes = 0;
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                let entry = kept.live(key, now_ms).cloned();
                bytes += entry.as_ref().map_or(0, |entry| entry.value.as_bytes().len());
                rules::check_bytes(bytes)?;
                entries.push(entry);
            }
            Ok(entries)
        })
    }

    fn stat<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stat>> {
        let stat = |entry: &Entry| Stat { version: entry.version, bytes: entry.value.as_bytes().len() };
        self.read(move |kept, now_ms| Ok(kept.live(key, now_ms).map(stat)))
    }

    fn list_keys<'a>(&'a self, prefix: &'a str, cursor: Option<&'a Key>, limit: usize) -> Answer<'a, Page> {
        self.read(move |kept, now_ms| {
            let limit = rules::page_size(limit);
            let start = match cursor {
                Some(cursor) if cursor.as_str() >= prefix => Bound::Excluded(cursor.as_str()),
                _ => Bound::Included(prefix),
            };
            let mut page = Page::default();
            let from_there = kept.rows.entries.range::<str, _>((start, Bound::Unbounded));
            for (key, entry) in from_there.take_while(|(key, _)| key.as_str().starts_with(prefix)) {
                if !is_live(entry, now_ms) {
                    continue;
                }
                if page.keys.len() == limit {
                    page.next = page.keys.last().cloned();
                    break;
                }
                page.keys.push(key.clone());
            }
            Ok(page)
        })
    }

    fn usage(&self) -> Answer<'_, Usage> {
        self.read(|kept, _| Ok(kept.books.usage))
    }

    fn set(&self, key: Key, value: Value, ttl: Option<Ttl>) -> Answer<'_, Version> {
        self.write(move |space| space.set(&key, &value, ttl))
    }

    fn set_many(&self, entries: Vec<(Key, Value)>, ttl: Option<Ttl>) -> Answer<'_, ()> {
        self.write(move |space| space.set_many(&rules::entries_of_one_call(entries)?, ttl))
    }

    fn delete(&self, key: Key) -> Answer<'_, bool> {
        self.write(move |space| space.delete(&key))
    }

    fn delete_many(&self, keys: Vec<Key>) -> Answer<'_, u64> {
        self.write(move |space| {
            rules::check_number(keys.len())?;
            space.delete_many(&keys)
        })
    }

    fn increment_to(&self, key: Key, delta: i64, least: i64) -> Answer<'_, i64> {
        self.write(move |space| space.increment_to(&key, delta, least))
    }

    fn compare_and_set(
        &self,
        key: Key,
        expected: Expected,
        value: Value,
        ttl: Option<Ttl>,
    ) -> Answer<'_, Version> {
        self.write(move |space| space.compare_and_set(&key, expected, &value, ttl))
    }

    fn compare_and_delete(&self, key: Key, version: Version) -> Answer<'_, ()> {
        self.write(move |space| space.compare_and_delete(&key, version))
    }

    fn touch(&self, key: Key, ttl: Option<Ttl>) -> Answer<'_, Option<Version>> {
        self.write(move |space| space.touch(&key, ttl))
    }
}

impl MemoryRows {
    fn unlink(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(at) = entry.expires_at {
            self.expiring.remove(&(at, key.clone()));
        }
        Some(entry)
    }

    fn link(&mut self, key: &Key, entry: Entry) {
        if let Some(at) = entry.expires_at {
            self.expiring.insert((at, key.clone()));
        }
        self.entries.insert(key.clone(), entry);
    }
}

impl Rows for MemoryRows {
    type Fault = StateError;

    fn find(&mut self, key: &Key) -> Result<Option<Row>, StateError> {
        Ok(self.entries.get(key).map(|entry| Row {
            version: entry.version,
            expires_at: entry.expires_at,
            value_bytes: entry.value.as_bytes().len() as u64,
        }))
    }

    fn value(&mut self, key: &Key) -> Result<Value, StateError> {
        let entry = self.entries.get(key).ok_or_else(|| StateError::unavailable("a row is gone"))?;
        Ok(entry.value.clone())
    }

    fn put(
        &mut self,
        key: &Key,
        value: &Value,
        version: Version,
        expires_at: Option<Expiry>,
    ) -> Result<(), StateError> {
        self.unlink(key);
        // Copied, since the caller's bytes may be a small part of a large buffer and would keep it alive.
        let value = Value::kept(value.as_bytes());
        self.link(key, Entry { value, version, expires_at });
        Ok(())
    }

    fn retime(&mut self, key: &Key, version: Version, expires_at: Option<Expiry>) -> Result<(), StateError> {
        if let Some(entry) = self.unlink(key) {
            self.link(key, Entry { value: entry.value, version, expires_at });
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> Result<(), StateError> {
        self.unlink(key);
        Ok(())
    }

    fn remove_expired(&mut self, now_ms: u64, rows: usize) -> Result<Usage, StateError> {
        let mut freed = Usage::default();
        while freed.keys < rows as u64 && self.expiring.first().is_some_and(|(at, _)| at.is_past(now_ms)) {
            let Some((_, key)) = self.expiring.pop_first() else { break };
            if let Some(entry) = self.entries.remove(&key) {
                freed.add(rules::size(&key, entry.value.as_bytes().len() as u64));
            }
        }
        Ok(freed)
    }
}

fn is_live(entry: &Entry, now_ms: u64) -> bool {
    !entry.expires_at.is_some_and(|at| at.is_past(now_ms))
}
