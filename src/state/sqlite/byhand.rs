//! Inspection and deletion of entries in a state file by an operator, while a server may be using it.
//!
//! Reads snapshots, and writes in short transactions as the engine does: the rules and the books are the
//! same, and the server's next write waits for at most one of them.

use std::path::Path;

use rusqlite::Connection;

use super::fault::Fault;
use super::group::Group;
use super::rows::{self, Listed};
use super::schema;
use crate::state::clock::{Clock, SystemClock};
use crate::state::values::{Entry, Key, Namespace, Quota, Usage};
use crate::state::{MAX_KEYS_PER_CALL, StateError};

/// A state file open for inspection.
pub struct ByHand {
    connection: Connection,
}

impl ByHand {
    /// Opens the file at `path` for reading. Blocks.
    ///
    /// # Errors
    /// [`StateError::Foreign`] and the like if the file is not a state file.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        Ok(Self { connection: schema::open_unknown(path)? })
    }

    /// Opens the file at `path` for reading and deleting. Blocks.
    ///
    /// # Errors
    /// The same as [`Self::read`].
    pub fn write(path: &Path) -> Result<Self, StateError> {
        Ok(Self { connection: schema::open_unknown_to_write(path)? })
    }

    /// Lists the namespaces in order, with their usage. Expired entries count until they are swept.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] and the like if the file can't be read; the same for the methods below.
    pub fn namespaces(&self) -> Result<Vec<(Namespace, Usage)>, StateError> {
        self.look(|connection| Ok(rows::namespaces(connection)?))
    }

    /// Lists the live entries whose keys begin with `prefix` and come after `after`, in order, at most
    /// `limit`.
    ///
    /// # Errors
    /// The same as [`Self::namespaces`].
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

    /// Reads the live entry of `key`.
    ///
    /// # Errors
    /// The same as [`Self::namespaces`].
    pub fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Entry>, StateError> {
        self.look(|connection| match rows::namespace(connection, namespace)? {
            Some(id) => rows::entry(connection, id, key, SystemClock.now_ms()),
            None => Ok(None),
        })
    }

    /// Deletes these entries in batches; returns the number that existed.
    ///
    /// # Errors
    /// The same as [`Self::namespaces`].
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
