//! The meaning of each write, written once for every engine that stores rows itself: versions, expiry,
//! quotas, conditions, numbers.
//!
//! Knows rows only through [`Rows`]: neither files nor locks, nor who may call. The engine ensures that a
//! [`Space`] has exclusive access to its rows, and rolls back a write in which the engine itself failed. A
//! write refused by a rule has changed nothing, except for removing expired rows: there is nothing to undo.

use std::collections::BTreeMap;

use super::error::{QuotaKind, StateError};
use super::values::{Expected, Expiry, Key, Quota, Ttl, Usage, Value};
use super::version::Version;
use super::{MAX_BYTES_PER_CALL, MAX_KEYS_PER_CALL};

/// The number of expired rows removed at a time when room is needed.
const PURGE_ROWS: usize = 500;

/// The rows of one namespace as an engine stores them: expired ones included, and no rule applied.
pub(super) trait Rows {
    /// An error: a refusal by the rules, or one of the engine's own.
    type Fault: From<StateError>;

    /// Finds the row of `key`.
    fn find(&mut self, key: &Key) -> Result<Option<Row>, Self::Fault>;
    /// Reads a row's value. Called only for a row that was found.
    fn value(&mut self, key: &Key) -> Result<Value, Self::Fault>;
    /// Writes a row, replacing any previous one.
    fn put(
        &mut self,
        key: &Key,
        value: &Value,
        version: Version,
        expires_at: Option<Expiry>,
    ) -> Result<(), Self::Fault>;
    /// Changes all but the value. Called only for a row that was found.
    fn retime(&mut self, key: &Key, version: Version, expires_at: Option<Expiry>) -> Result<(), Self::Fault>;
    /// Removes a row.
    fn remove(&mut self, key: &Key) -> Result<(), Self::Fault>;
    /// Removes at most `rows` rows that have expired by `now_ms`, and returns their usage.
    fn remove_expired(&mut self, now_ms: u64, rows: usize) -> Result<Usage, Self::Fault>;
}

/// A row without its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) version: Version,
    pub(super) expires_at: Option<Expiry>,
    pub(super) value_bytes: u64,
}

/// Data that an engine stores for each namespace beside its rows, as safely as the rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Books {
    /// The usage of the rows, including expired ones.
    pub(super) usage: Usage,
    /// The last version given to a write. Never goes back, not even when rows are deleted.
    pub(super) version: u64,
}

/// One namespace during a write.
pub(super) struct Space<'a, R> {
    pub(super) rows: &'a mut R,
    pub(super) books: &'a mut Books,
    pub(super) quota: Quota,
    pub(super) now_ms: u64,
}

impl<R: Rows> Space<'_, R> {
    /// See [`super::Store::set`].
    pub(super) fn set(&mut self, key: &Key, value: &Value, ttl: Option<Ttl>) -> Result<Version, R::Fault> {
        let before = self.live(key)?;
        self.write(key, before, value, self.expiry(ttl))
    }

    /// See [`super::Store::set_many`]; `entries` have passed [`entries_of_one_call`].
    pub(super) fn set_many(
        &mut self,
        entries: &BTreeMap<Key, Value>,
        ttl: Option<Ttl>,
    ) -> Result<(), R::Fault> {
        // Room is made and checked for all entries before the first is written, since not every engine can
        // roll back.
        let (mut more, mut less) = (Usage::default(), Usage::default());
        for (key, value) in entries {
            if let Some(before) = self.live(key)? {
                less.add(size(key, before.value_bytes));
            }
            more.add(size(key, value.as_bytes().len() as u64));
        }
        self.make_room(more, less)?;
        let expires_at = self.expiry(ttl);
        for (key, value) in entries {
            let version = self.next_version();
            self.rows.put(key, value, version, expires_at)?;
        }
        self.books.usage.add(more);
        self.books.usage.subtract(less);
        Ok(())
    }

    /// See [`super::Store::delete`].
    pub(super) fn delete(&mut self, key: &Key) -> Result<bool, R::Fault> {
        let Some(row) = self.live(key)? else { return Ok(false) };
        self.remove(key, row)?;
        Ok(true)
    }

    /// See [`super::Store::delete_many`]; a duplicate key counts once.
    pub(super) fn delete_many(&mut self, keys: &[Key]) -> Result<u64, R::Fault> {
        let mut count = 0;
        for key in keys {
            count += u64::from(self.delete(key)?);
        }
        Ok(count)
    }

    /// See [`super::Store::increment_to`].
    pub(super) fn increment_to(&mut self, key: &Key, delta: i64, least: i64) -> Result<i64, R::Fault> {
        let before = self.live(key)?;
        let number = match before {
            None => 0,
            Some(_) => number_in(&self.rows.value(key)?)?,
        };
        let sum = number.checked_add(delta).filter(|sum| *sum >= least).ok_or(StateError::Overflow)?;
        let value = Value::kept(sum.to_string().as_bytes());
        self.write(key, before, &value, before.and_then(|row| row.expires_at))?;
        Ok(sum)
    }

    /// See [`super::Store::compare_and_set`].
    pub(super) fn compare_and_set(
        &mut self,
        key: &Key,
        expected: Expected,
        value: &Value,
        ttl: Option<Ttl>,
    ) -> Result<Version, R::Fault> {
        let before = self.live(key)?;
        let current = before.map(|row| row.version);
        let wanted = match expected {
            Expected::Absent => None,
            Expected::Version(version) => Some(version),
        };
        if current != wanted {
            return Err(StateError::Conflict { current }.into());
        }
        self.write(key, before, value, self.expiry(ttl))
    }

    /// See [`super::Store::compare_and_delete`].
    pub(super) fn compare_and_delete(&mut self, key: &Key, version: Version) -> Result<(), R::Fault> {
        match self.live(key)? {
            Some(row) if row.version == version => self.remove(key, row),
            other => Err(StateError::Conflict { current: other.map(|row| row.version) }.into()),
        }
    }

    /// See [`super::Store::touch`].
    pub(super) fn touch(&mut self, key: &Key, ttl: Option<Ttl>) -> Result<Option<Version>, R::Fault> {
        if self.live(key)?.is_none() {
            return Ok(None);
        }
        let version = self.next_version();
        self.rows.retime(key, version, self.expiry(ttl))?;
        Ok(Some(version))
    }

    /// Finds the row of `key`. An expired row is removed at once: it counts as absent, and a write's effect
    /// on the usage must not depend on whether a purge ran before.
    fn live(&mut self, key: &Key) -> Result<Option<Row>, R::Fault> {
        let Some(row) = self.rows.find(key)? else { return Ok(None) };
        if row.expires_at.is_some_and(|at| at.is_past(self.now_ms)) {
            self.remove(key, row)?;
            return Ok(None);
        }
        Ok(Some(row))
    }

    fn write(
        &mut self,
        key: &Key,
        before: Option<Row>,
        value: &Value,
        expires_at: Option<Expiry>,
    ) -> Result<Version, R::Fault> {
        let more = size(key, value.as_bytes().len() as u64);
        let less = before.map_or(Usage::default(), |row| size(key, row.value_bytes));
        self.make_room(more, less)?;
        let version = self.next_version();
        self.rows.put(key, value, version, expires_at)?;
        self.books.usage.add(more);
        self.books.usage.subtract(less);
        Ok(version)
    }

    fn remove(&mut self, key: &Key, row: Row) -> Result<(), R::Fault> {
        self.rows.remove(key)?;
        self.books.usage.subtract(size(key, row.value_bytes));
        Ok(())
    }

    /// Removes expired rows as needed, then refuses a write that would still exceed the quota.
    fn make_room(&mut self, more: Usage, less: Usage) -> Result<(), R::Fault> {
        while let Err(refusal) = self.has_room(more, less) {
            let freed = self.rows.remove_expired(self.now_ms, PURGE_ROWS)?;
            if freed.keys == 0 {
                return Err(refusal.into());
            }
            self.books.usage.subtract(freed);
        }
        Ok(())
    }

    fn has_room(&self, more: Usage, less: Usage) -> Result<(), StateError> {
        let mut after = self.books.usage;
        after.add(more);
        after.subtract(less);
        let Quota { max_keys, max_bytes } = self.quota;
        if more.keys > less.keys && after.keys > max_keys {
            let (kind, limit, needed) = (QuotaKind::Keys, max_keys, after.keys);
            return Err(StateError::QuotaExceeded { kind, limit, needed });
        }
        if more.bytes > less.bytes && after.bytes > max_bytes {
            let (kind, limit, needed) = (QuotaKind::Bytes, max_bytes, after.bytes);
            return Err(StateError::QuotaExceeded { kind, limit, needed });
        }
        Ok(())
    }

    fn next_version(&mut self) -> Version {
        self.books.version += 1;
        Version::from_u64(self.books.version)
    }

    fn expiry(&self, ttl: Option<Ttl>) -> Option<Expiry> {
        ttl.map(|ttl| ttl.from_ms(self.now_ms))
    }
}

/// The entries of one `set_many`, with the last one of each key. Refuses too many entries or bytes.
pub(super) fn entries_of_one_call(entries: Vec<(Key, Value)>) -> Result<BTreeMap<Key, Value>, StateError> {
    check_number(entries.len())?;
    let bytes = entries.iter().map(|(key, value)| key.as_str().len() + value.as_bytes().len()).sum();
    check_bytes(bytes)?;
    Ok(entries.into_iter().collect())
}

/// Refuses more keys than a call may have.
pub(super) fn check_number(keys: usize) -> Result<(), StateError> {
    StateError::check_size("a call in keys", keys, MAX_KEYS_PER_CALL)
}

/// Refuses more bytes than a call may have.
pub(super) fn check_bytes(bytes: usize) -> Result<(), StateError> {
    StateError::check_size("a call in bytes", bytes, MAX_BYTES_PER_CALL)
}

/// The page size for a caller that asks for `limit`.
pub(super) fn page_size(limit: usize) -> usize {
    limit.clamp(1, MAX_KEYS_PER_CALL)
}

/// The usage of one entry.
pub(super) fn size(key: &Key, value_bytes: u64) -> Usage {
    Usage { keys: 1, bytes: key.as_str().len() as u64 + value_bytes }
}

fn number_in(value: &Value) -> Result<i64, StateError> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| StateError::NotANumber)?;
    text.parse().map_err(|_| StateError::NotANumber)
}

impl Usage {
    pub(super) fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }

    pub(super) fn subtract(&mut self, other: Self) {
        self.keys = self.keys.saturating_sub(other.keys);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}
