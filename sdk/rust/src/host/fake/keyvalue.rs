//! `wasi:keyvalue` over the stores of a test.

use super::bounds::as_one;
use super::state;
use crate::bindings::lictor::plugin::types::Failure;

/// As `wasi:keyvalue/store`.
pub mod store {
    use crate::bindings::lictor::plugin::types::Failure;
    pub use crate::bindings::wasi::keyvalue::store::{Error, KeyResponse};
    use crate::host::fake::bounds::operation;
    use crate::host::fake::{state, world};

    /// An open store.
    #[derive(Debug)]
    pub struct Bucket {
        pub(super) name: String,
    }

    pub(super) fn error(failure: Failure) -> Error {
        Error::Other(failure.message)
    }

    /// Opens a store.
    pub fn open(name: &str) -> Result<Bucket, Error> {
        operation(name.len());
        if !world(|world| world.stores.is_granted(name)) {
            return Err(Error::AccessDenied);
        }
        Ok(Bucket { name: name.into() })
    }

    impl Bucket {
        /// Returns the value of `key`, if there is one.
        pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
            Ok(state::get(&self.name, key).map_err(error)?.map(|entry| entry.value))
        }

        /// Writes a value.
        pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
            state::set(&self.name, key, value, None).map(drop).map_err(error)
        }

        /// Deletes an entry.
        pub fn delete(&self, key: &str) -> Result<(), Error> {
            state::delete(&self.name, key).map(drop).map_err(error)
        }

        /// Returns true if there is an entry.
        pub fn exists(&self, key: &str) -> Result<bool, Error> {
            Ok(self.get(key)?.is_some())
        }
    }
}

impl store::Bucket {
    /// Returns the keys after the first `cursor` ones, at most 1000.
    pub fn list_keys(&self, cursor: Option<u64>) -> Result<store::KeyResponse, store::Error> {
        let keys = as_one(|| self.all_keys()).map_err(store::error)?;
        let from = cursor.map_or(0, |cursor| (cursor as usize).min(keys.len()));
        let to = keys.len().min(from + 1000);
        let cursor = (to < keys.len()).then_some(to as u64);
        Ok(store::KeyResponse { keys: keys[from..to].to_vec(), cursor })
    }

    fn all_keys(&self) -> Result<Vec<String>, Failure> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = state::list_keys(&self.name, "", after.as_deref(), 1000)?;
            after = page.keys.last().cloned();
            keys.extend(page.keys);
            if !page.more {
                return Ok(keys);
            }
        }
    }
}

/// As `wasi:keyvalue/atomics`.
pub mod atomics {
    use super::store::{Bucket, Error, error};
    use crate::host::fake::state;

    /// Adds to an entry that is a decimal number in text, and returns the sum.
    pub fn increment(bucket: &Bucket, key: &str, delta: u64) -> Result<u64, Error> {
        let too_large = |_| Error::Other("the sum is too large".into());
        let sum = state::increment(&bucket.name, key, i64::try_from(delta).map_err(too_large)?);
        u64::try_from(sum.map_err(error)?).map_err(|_| Error::Other("the sum is negative".into()))
    }
}

/// As `wasi:keyvalue/batch`.
pub mod batch {
    use super::store::{Bucket, Error, error};
    use crate::host::fake::bounds::as_one;
    use crate::host::fake::state;

    const MAX_KEYS: usize = 1000;
    const MAX_BYTES: usize = 16 << 20;

    fn check(what: &str, size: usize, limit: usize) -> Result<(), Error> {
        let words = || format!("{what} is too large: {size} where {limit} are allowed");
        if size > limit { Err(Error::Other(words())) } else { Ok(()) }
    }

    /// Returns the values of several keys.
    #[allow(clippy::type_complexity, reason = "as the interface has it")]
    pub fn get_many(bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        check("a call in keys", keys.len(), MAX_KEYS)?;
        let found = as_one(|| keys.iter().map(|key| bucket.get(key)).collect::<Result<Vec<_>, Error>>())?;
        let found: Vec<Option<(String, Vec<u8>)>> =
            keys.iter().zip(found).map(|(key, value)| Some((key.clone(), value?))).collect();
        let bytes = found.iter().flatten().map(|(_, value)| value.len()).sum();
        check("a call in bytes", bytes, MAX_BYTES)?;
        Ok(found)
    }

    /// Writes several values, all of them or none.
    pub fn set_many(bucket: &Bucket, entries: &[(String, Vec<u8>)]) -> Result<(), Error> {
        entries.iter().try_for_each(|(key, value)| state::check(key, value)).map_err(error)?;
        check("a call in keys", entries.len(), MAX_KEYS)?;
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        check("a call in bytes", bytes, MAX_BYTES)?;
        as_one(|| entries.iter().try_for_each(|(key, value)| bucket.set(key, value)))
    }

    /// Deletes several entries, all of them or none.
    pub fn delete_many(bucket: &Bucket, keys: &[String]) -> Result<(), Error> {
        keys.iter().try_for_each(|key| state::check(key, &[])).map_err(error)?;
        check("a call in keys", keys.len(), MAX_KEYS)?;
        as_one(|| keys.iter().try_for_each(|key| bucket.delete(key)))
    }
}
