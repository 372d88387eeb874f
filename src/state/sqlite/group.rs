//! One transaction of the writer, with the books of the namespaces it touches. Knows no queue.

use std::collections::HashMap;

use rusqlite::Connection;

use super::fault::Fault;
use super::rows::{self, SqlRows};
use crate::state::rules::{Books, Space};
use crate::state::values::{Namespace, Quota};

/// The most expired rows that one transaction sweeps: a few milliseconds of work.
pub(super) const SWEPT_ROWS: usize = 500;

/// A transaction. Rolled back if dropped without [`Group::commit`].
pub(super) struct Group<'a> {
    connection: &'a Connection,
    now_ms: u64,
    /// Read and written once for each namespace, not for each write.
    books: HashMap<i64, Books>,
}

impl<'a> Group<'a> {
    /// Begins a write transaction; waits if another process has one.
    pub(super) fn begin(connection: &'a Connection, now_ms: u64) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { connection, now_ms, books: HashMap::new() })
    }

    /// Runs `work` on the namespace `id`.
    pub(super) fn in_space<T>(
        &mut self,
        id: i64,
        quota: Quota,
        work: impl FnOnce(&mut Space<'_, SqlRows<'_>>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let now_ms = self.now_ms;
        let rows = &mut SqlRows { connection: self.connection, id };
        let books = self.books(id)?;
        work(&mut Space { rows, books, quota, now_ms })
    }

    /// Returns the id of a namespace, and creates it if needed.
    pub(super) fn make_namespace(&mut self, namespace: &Namespace) -> rusqlite::Result<i64> {
        rows::make_namespace(self.connection, namespace)
    }

    /// Removes a batch of expired rows, and returns their number.
    pub(super) fn sweep(&mut self) -> rusqlite::Result<u64> {
        let mut count = 0;
        if !rows::has_expired(self.connection, self.now_ms)? {
            return Ok(count);
        }
        for (id, freed) in rows::remove_expired(self.connection, self.now_ms, SWEPT_ROWS)? {
            self.books(id)?.usage.subtract(freed);
            count += 1;
        }
        Ok(count)
    }

    /// Writes the books, and commits to disk.
    pub(super) fn commit(mut self) -> rusqlite::Result<()> {
        for (id, books) in std::mem::take(&mut self.books) {
            rows::write_books(self.connection, id, &books)?;
        }
        self.execute("COMMIT")
    }

    fn books(&mut self, id: i64) -> rusqlite::Result<&mut Books> {
        use std::collections::hash_map::Entry;
        match self.books.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => Ok(unknown.insert(rows::books(self.connection, id)?)),
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // Some errors end the transaction by themselves.
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK").ok();
        }
    }
}
