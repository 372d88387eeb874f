//! One transaction of the writer: the books of the namespaces it touches. It knows no queue.

use std::collections::HashMap;

use rusqlite::Connection;

use super::fault::Fault;
use super::rows::{self, SqlRows};
use crate::state::rules::{Books, Space};
use crate::state::values::{Namespace, Quota};

/// The most expired rows that one transaction sweeps: a few milliseconds of work.
pub(super) const SWEPT_ROWS: usize = 500;

/// A transaction. Dropped without [`Group::commit`], it is undone.
pub(super) struct Group<'a> {
    connection: &'a Connection,
    now_ms: u64,
    /// Read once and written once for each namespace, not for each write.
    books: HashMap<i64, Books>,
}

impl<'a> Group<'a> {
    /// Takes the right to write, for which it waits if another process has it.
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

    /// Makes a namespace, if it is not there, and gives its number.
    pub(super) fn make_namespace(&mut self, namespace: &Namespace) -> rusqlite::Result<i64> {
        rows::make_namespace(self.connection, namespace)
    }

    /// Removes a batch of what has expired, and tells how many.
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

    /// Brings it all to the disk.
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
