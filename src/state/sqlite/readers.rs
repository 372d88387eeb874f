//! The connections that read. They can't write, and know no rule.
//!
//! A read runs on the caller's thread: with its pages in memory it takes microseconds, less than handing it to
//! another thread and back. A page that has to come from the disk makes the caller's thread wait for it.
//!
//! To begin and to end a read takes SQLite longer than to look up a row, as it locks parts of a file each time. So while
//! nothing is written a connection keeps its snapshot from one read to the next, for [`MAX_HELD`]. It is given up before
//! anything is written ([`Readers::writing`]), as it is when the writer looks for what has expired, each second: a snapshot
//! that is held keeps the side file from being emptied, and does not show what was written after it.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fault::Fault;
use super::schema;
use crate::state::StateError;
use crate::sync::locked;

/// How old a snapshot may be that a read sees: after that long it sees what another process has written to the file.
const MAX_HELD: Duration = Duration::from_millis(10);

/// How long nothing must have been written before snapshots are kept: among writes they would be given up at once.
const QUIET: Duration = Duration::from_millis(10);

/// Some connections, each used by one read at a time.
pub(super) struct Readers {
    idle: Mutex<Idle>,
    returned: Condvar,
}

/// Connections that nobody uses, and how it stands with writes.
struct Idle {
    readers: Vec<Reader>,
    is_writing: bool,
    last_write: Option<Instant>,
}

impl Idle {
    /// Whether a snapshot that is taken at `now` may be kept.
    fn is_quiet(&self, now: Instant) -> bool {
        !self.is_writing && self.last_write.is_none_or(|last| now.saturating_duration_since(last) >= QUIET)
    }

    /// Whether a snapshot of `began` is of before a write.
    fn is_outdated(&self, began: Instant) -> bool {
        self.is_writing || self.last_write.is_some_and(|last| began <= last)
    }
}

struct Reader {
    connection: Connection,
    /// When its snapshot was taken, where it keeps one.
    held_since: Option<Instant>,
}

impl Reader {
    /// Has the reads from now on see one snapshot, that of a read before or a new one.
    fn hold(&mut self, now: Instant) -> rusqlite::Result<()> {
        if self.held_since.is_some_and(|since| now.saturating_duration_since(since) < MAX_HELD) {
            return Ok(());
        }
        self.give_up();
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        self.held_since = Some(now);
        Ok(())
    }

    /// Has the next read see what is there then.
    fn give_up(&mut self) {
        self.held_since = None;
        if self.connection.is_autocommit() {
            return;
        }
        let ended = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        // There is nothing to be lost, so what can't be committed is rolled back; that does not fail.
        if ended.is_err() {
            self.connection.execute_batch("ROLLBACK").ok();
        }
    }
}

impl Readers {
    /// `number` connections to the file at `path`, which is there and ours.
    pub(super) fn open(path: &Path, number: usize) -> Result<Self, StateError> {
        let reader = |connection| Reader { connection, held_since: None };
        let readers = (0..number.max(1)).map(|_| schema::open_reader(path).map(reader));
        let idle = Idle { readers: readers.collect::<Result<_, _>>()?, is_writing: false, last_write: None };
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Runs `look` on a connection; waits for one if all are in use, which lasts as long as another read.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StateError> {
        let now = Instant::now();
        let mut lent = self.borrow(now);
        let Some(reader) = lent.reader.as_mut() else {
            return Err(StateError::unavailable("the engine is closed"));
        };
        let held = match lent.may_hold {
            true => reader.hold(now),
            false => {
                reader.give_up();
                Ok(())
            }
        };
        let outcome = held.map_err(Fault::from).and_then(|()| look(&reader.connection));
        if outcome.is_err() {
            reader.give_up();
        }
        outcome.map_err(Fault::into_error)
    }

    /// A write is about to begin: what is held is given up, and nothing is held until what this gives is dropped. That has to
    /// be before anybody is told of the write, so that what they read then shows it.
    pub(super) fn writing(&self) -> Writing<'_> {
        let mut idle = self.idle();
        idle.is_writing = true;
        idle.readers.iter_mut().for_each(Reader::give_up);
        Writing(self)
    }

    /// Has nothing held from now on: there is no writer any more that would ask for it.
    pub(super) fn hold_nothing(&self) {
        std::mem::forget(self.writing());
    }

    /// Closes them all.
    pub(super) fn close(&self) {
        self.idle().readers.clear();
    }

    fn borrow(&self, now: Instant) -> Lent<'_> {
        let mut idle = self.idle();
        loop {
            if let Some(reader) = idle.readers.pop() {
                return Lent { readers: self, reader: Some(reader), may_hold: idle.is_quiet(now) };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        locked(&self.idle)
    }
}

/// A write that goes on.
pub(super) struct Writing<'a>(&'a Readers);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut idle = self.0.idle();
        (idle.is_writing, idle.last_write) = (false, Some(Instant::now()));
    }
}

/// A connection that goes back when this is dropped, also by a panic.
struct Lent<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
    may_hold: bool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            let mut idle = self.readers.idle();
            if reader.held_since.is_some_and(|since| idle.is_outdated(since)) {
                reader.give_up();
            }
            idle.readers.push(reader);
            drop(idle);
            self.readers.returned.notify_one();
        }
    }
}
