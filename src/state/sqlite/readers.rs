//! The connections that read. They can't write, and know no rule.
//!
//! A read runs on the caller's thread: with its pages in memory it takes microseconds, less than handing it to
//! another thread and back. A page that has to come from the disk makes the caller's thread wait for it.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use super::fault::Fault;
use super::schema;
use crate::state::StateError;

/// Some connections, each used by one read at a time.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    /// `number` connections to the file at `path`, which is there and ours.
    pub(super) fn open(path: &Path, number: usize) -> Result<Self, StateError> {
        let connections = (0..number.max(1)).map(|_| schema::open_reader(path));
        let idle = Mutex::new(connections.collect::<Result<_, _>>()?);
        Ok(Self { idle, returned: Condvar::new() })
    }

    /// Runs `look` on a connection; waits for one if all are in use, which lasts as long as another read.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StateError> {
        let mut lent = self.borrow();
        let outcome = match lent.connection.as_mut() {
            Some(connection) => look(connection),
            None => return Err(StateError::unavailable("the engine is closed")),
        };
        outcome.map_err(Fault::into_error)
    }

    /// Closes them all.
    pub(super) fn close(&mut self) {
        self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn borrow(&self) -> Lent<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = idle.pop() {
                return Lent { readers: self, connection: Some(connection) };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A connection that goes back when this is dropped, also by a panic.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            self.readers.returned.notify_one();
        }
    }
}
