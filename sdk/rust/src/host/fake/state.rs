//! The stores of a test, which follow the rules of the host's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bounds::{carry, operation};
use super::{World, failure, types, world};
pub(crate) use crate::bindings::lictor::plugin::state::{Entry, Page};

const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 1 << 20;
const MAX_TTL_MS: u64 = 10 * 365 * 24 * 3_600_000;
const MAX_KEYS: usize = 1000;

/// Contents of all stores.
pub(crate) struct Stores {
    /// Names of the granted stores.
    granted: BTreeSet<String>,
    kept: BTreeMap<(String, String), Kept>,
    last_version: u64,
    /// Failure of every operation, if the test sets one.
    pub(crate) failure: Option<types::Failure>,
}

impl Default for Stores {
    fn default() -> Self {
        let granted = BTreeSet::from(["default".into()]);
        Self { granted, kept: BTreeMap::new(), last_version: 0, failure: None }
    }
}

struct Kept {
    value: Vec<u8>,
    version: u64,
    /// By the monotonic clock.
    ends: Option<Duration>,
}

type Answer<T> = Result<T, types::Failure>;

/// Looks into the store after removing expired entries. Counts as one operation that carries this many bytes.
fn stores<T>(store: &str, bytes: usize, look: impl FnOnce(&mut Stores, Duration) -> Answer<T>) -> Answer<T> {
    operation(bytes);
    world(|World { stores, elapsed, .. }| {
        if !stores.is_granted(store) {
            return Err(failure("denied", "this store is not granted to the plugin"));
        }
        if let Some(failure) = &stores.failure {
            return Err(failure.clone());
        }
        let now = *elapsed;
        stores.kept.retain(|_, kept| kept.ends.is_none_or(|ends| ends > now));
        look(stores, now)
    })
}

/// Fails if the key or the value is not valid.
pub(super) fn check(key: &str, value: &[u8]) -> Answer<()> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(failure("bad-arguments", "a key has 1 to 256 bytes and no control characters"));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(failure("bad-arguments", "a value has at most 1 MiB"));
    }
    Ok(())
}

fn id(store: &str, key: &str) -> Answer<(String, String)> {
    check(key, &[])?;
    Ok((store.into(), key.into()))
}

fn end(now: Duration, ttl_ms: Option<u64>) -> Answer<Option<Duration>> {
    match ttl_ms {
        Some(ttl) if ttl == 0 || ttl > MAX_TTL_MS => {
            Err(failure("bad-arguments", "a time to live is 1 ms to 10 years"))
        }
        ttl => Ok(ttl.map(|ttl| now + Duration::from_millis(ttl))),
    }
}

impl Stores {
    /// Grants the store `name`.
    pub(crate) fn grant(&mut self, name: &str) {
        self.granted.insert(name.into());
    }

    pub(crate) fn is_granted(&self, name: &str) -> bool {
        self.granted.contains(name)
    }

    fn write(&mut self, id: (String, String), value: &[u8], ends: Option<Duration>) -> Answer<u64> {
        check(&id.1, value)?;
        self.last_version += 1;
        let version = self.last_version;
        self.kept.insert(id, Kept { value: value.into(), version, ends });
        Ok(version)
    }

    fn want(&self, id: &(String, String), expected: Option<u64>) -> Answer<()> {
        if self.kept.get(id).map(|kept| kept.version) == expected {
            return Ok(());
        }
        Err(failure("conflict", "the entry is not what was expected"))
    }
}

pub(crate) fn get(store: &str, key: &str) -> Answer<Option<Entry>> {
    let entry = stores(store, key.len(), |stores, now| {
        let id = id(store, key)?;
        let entry = |kept: &Kept| Entry {
            value: kept.value.clone(),
            version: kept.version,
            expires_in_ms: kept.ends.map(|ends| ((ends - now).as_millis() as u64).max(1)),
        };
        Ok(stores.kept.get(&id).map(entry))
    })?;
    carry(entry.as_ref().map_or(0, |entry| entry.value.len()));
    Ok(entry)
}

pub(crate) fn set(store: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Answer<u64> {
    stores(store, key.len() + value.len(), |stores, now| {
        stores.write(id(store, key)?, value, end(now, ttl_ms)?)
    })
}

pub(crate) fn delete(store: &str, key: &str) -> Answer<bool> {
    stores(store, key.len(), |stores, _| Ok(stores.kept.remove(&id(store, key)?).is_some()))
}

pub(crate) fn increment(store: &str, key: &str, delta: i64) -> Answer<i64> {
    stores(store, key.len(), |stores, _| {
        let id = id(store, key)?;
        let kept = stores.kept.get(&id);
        let number = kept.map_or(Some(0), |kept| std::str::from_utf8(&kept.value).ok()?.parse::<i64>().ok());
        let sum =
            number.ok_or_else(|| failure("failed", "the value is no decimal number"))?.checked_add(delta);
        let sum = sum.ok_or_else(|| failure("failed", "the sum is too large"))?;
        let ends = kept.and_then(|kept| kept.ends);
        stores.write(id, sum.to_string().as_bytes(), ends)?;
        Ok(sum)
    })
}

pub(crate) fn compare_and_set(
    store: &str,
    key: &str,
    expected: Option<u64>,
    value: &[u8],
    ttl_ms: Option<u64>,
) -> Answer<u64> {
    stores(store, key.len() + value.len(), |stores, now| {
        let id = id(store, key)?;
        stores.want(&id, expected)?;
        stores.write(id, value, end(now, ttl_ms)?)
    })
}

pub(crate) fn compare_and_delete(store: &str, key: &str, expected: u64) -> Answer<()> {
    stores(store, key.len(), |stores, _| {
        let id = id(store, key)?;
        stores.want(&id, Some(expected))?;
        stores.kept.remove(&id);
        Ok(())
    })
}

pub(crate) fn touch(store: &str, key: &str, ttl_ms: Option<u64>) -> Answer<bool> {
    stores(store, key.len(), |stores, now| {
        let id = id(store, key)?;
        let ends = end(now, ttl_ms)?;
        stores.last_version += 1;
        let version = stores.last_version;
        let kept = stores.kept.get_mut(&id).map(|kept| (kept.ends, kept.version) = (ends, version));
        Ok(kept.is_some())
    })
}

pub(crate) fn list_keys(store: &str, prefix: &str, after: Option<&str>, limit: u32) -> Answer<Page> {
    let page = stores(store, prefix.len(), |stores, _| {
        let keys = stores.kept.keys().filter(|(of, _)| of == store).map(|(_, key)| key);
        let fits = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        let mut keys = keys.filter(fits);
        let limit = (limit as usize).clamp(1, MAX_KEYS);
        let page = keys.by_ref().take(limit).cloned().collect();
        Ok(Page { keys: page, more: keys.next().is_some() })
    })?;
    carry(page.keys.iter().map(String::len).sum());
    Ok(page)
}
