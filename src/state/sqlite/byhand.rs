//! What an operator looks up in a state file and takes out of it by hand, while a server may be using it.
//!
//! It reads snapshots, and writes in short transactions as the engine does: rules and books are the same, and the server's
//! next write waits for one at most.

use std::path::Path;

use rusqlite::Connection;

use super::fault::Fault;
use super::group::Group;
use super::rows;
use super::schema;
use crate::state::clock::{Clock, SystemClock};
use crate::state::values::{Entry, Expiry, Key, Namespace, Quota, Usage, Version};
use crate::state::{MAX_KEYS_PER_CALL, StateError};

/// An entry as a list shows it: all but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Of which write it is.
    pub version: Version,
    /// When it expires; `None` is never.
    pub expires_at: Option<Expiry>,
    /// Bytes of its value.
    pub bytes: u64,
}

/// A state file that somebody looks into.
pub struct ByHand {
    connection: Connection,
}

impl ByHand {
    /// Opens the file at `path` to look into it. It blocks.
    ///
    /// # Errors
    /// [`StateError::Foreign`] and the like if it is no state file.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        Ok(Self { connection: schema::open_unknown(path)? })
    }

    /// Opens it to take something out as well. It blocks.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(path: &Path) -> Result<Self, StateError> {
        Ok(Self { connection: schema::open_unknown_to_write(path)? })
    }

    /// The namespaces, in their order, and what each holds. Expired entries count until they are swept.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] and the like where the file can't be read; so for the others.
    pub fn namespaces(&self) -> Result<Vec<(Namespace, Usage)>, StateError> {
        self.look(|connection| Ok(rows::namespaces(connection)?))
    }

    /// The live entries whose keys begin with `prefix`, in their order, those after `after` only, at most `limit`.
    ///
    /// # Errors
    /// As above.
    pub fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Listed>, StateError> {
        self.look(|connection| match rows::namespace(connection, namespace)? {
            Some(id) => rows::listed(connection, id, SystemClock.now_ms(), (prefix, after, limit)),
            None => Ok(Vec::new()),
        })
    }

    /// The live entry of `key`.
    ///
    /// # Errors
    /// As above.
    pub fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Entry>, StateError> {
        self.look(|connection| match rows::namespace(connection, namespace)? {
            Some(id) => rows::entry(connection, id, key, SystemClock.now_ms()),
            None => Ok(None),
        })
    }

    /// Takes these entries away, some at a time; how many there were.
    ///
    /// # Errors
    /// As above.
    pub fn delete(&self, namespace: &Namespace, keys: &[Key]) -> Result<u64, StateError> {
        let mut count = 0;
        for keys in keys.chunks(MAX_KEYS_PER_CALL) {
            count += self.look(|connection| {
                let Some(id) = rows::namespace(connection, namespace)? else { return Ok(0) };
                let mut group = Group::begin(connection, SystemClock.now_ms())?;
                let deleted = group.in_space(id, Quota::default(), |space| space.delete_many(keys))?;
                group.commit()?;
                Ok(deleted)
            })?;
        }
        Ok(count)
    }

    fn look<T>(&self, look: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StateError> {
        look(&self.connection).map_err(Fault::into_error)
    }
}
