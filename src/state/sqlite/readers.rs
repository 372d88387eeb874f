//! The connections for reading. They can't write, and know no rule.
//!
//! A read runs on the caller's thread: with its pages in memory it takes microseconds, less than a round trip
//! to another thread. A page that must come from the disk blocks the caller's thread.
//!
//! Beginning and ending a read takes SQLite longer than looking up a row, because each locks parts of a file.
//! So while nothing is written, a connection keeps its snapshot from one read to the next, for [`MAX_HELD`].
//! Snapshots are released before any write ([`Readers::writing`]), which includes the writer's search for
//! expired rows, each second: a held snapshot keeps the WAL from being emptied, and does not show later
//! writes.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fault::Fault;
use super::schema;
use crate::state::StateError;
use crate::sync::locked;

/// The greatest age of a snapshot used for a read: after that a read sees the writes of other processes.
const MAX_HELD: Duration = Duration::from_millis(10);

/// The time without a write before snapshots are held: among writes they would be released at once.
const QUIET: Duration = Duration::from_millis(10);

/// A pool of connections, each used by one read at a time.
pub(super) struct Readers {
    idle: Mutex<Idle>,
    returned: Condvar,
}

/// The idle connections, and the state of writes.
struct Idle {
    readers: Vec<Reader>,
    is_writing: bool,
    last_write: Option<Instant>,
}

impl Idle {
    /// Returns true if a snapshot taken at `now` may be held.
    fn is_quiet(&self, now: Instant) -> bool {
        !self.is_writing && self.last_write.is_none_or(|last| now.saturating_duration_since(last) >= QUIET)
    }

    /// Returns true if a snapshot taken at `began` predates a write.
    fn is_outdated(&self, began: Instant) -> bool {
        self.is_writing || self.last_write.is_some_and(|last| began <= last)
    }
}

struct Reader {
    connection: Connection,
    /// The time its held snapshot was taken, if it holds one.
    held_since: Option<Instant>,
}

impl Reader {
    /// Lets this and the following reads use one snapshot: the held one or a new one.
    fn hold(&mut self, now: Instant) -> rusqlite::Result<()> {
        if self.held_since.is_some_and(|since| now.saturating_duration_since(since) < MAX_HELD) {
            return Ok(());
        }
        self.give_up();
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        self.held_since = Some(now);
        Ok(())
    }

    /// Releases the snapshot, so that the next read sees the current state.
    fn give_up(&mut self) {
        self.held_since = None;
        if self.connection.is_autocommit() {
            return;
        }
        let ended = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        // A read has nothing to lose, so if the commit fails it is rolled back, which does not fail.
        if ended.is_err() {
            self.connection.execute_batch("ROLLBACK").ok();
        }
    }
}

impl Readers {
    /// Opens `number` connections to the file at `path`, which must exist and be ours.
    pub(super) fn open(path: &Path, number: usize) -> Result<Self, StateError> {
        let reader = |connection| Reader { connection, held_since: None };
        let readers = (0..number.max(1)).map(|_| schema::open_reader(path).map(reader));
        let idle = Idle { readers: readers.collect::<Result<_, _>>()?, is_writing: false, last_write: None };
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Runs `look` on a connection. If all are in use, waits for one, as long as another read takes.
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

    /// Announces a write: releases all held snapshots, and holds none until the returned guard is dropped.
    /// The guard must be dropped before the write is answered, so that later reads show the write.
    pub(super) fn writing(&self) -> Writing<'_> {
        let mut idle = self.idle();
        idle.is_writing = true;
        idle.readers.iter_mut().for_each(Reader::give_up);
        Writing(self)
    }

    /// Stops holding snapshots for good: the writer that would release them is gone.
    pub(super) fn hold_nothing(&self) {
        std::mem::forget(self.writing());
    }

    /// Closes all connections.
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

/// A write in progress.
pub(super) struct Writing<'a>(&'a Readers);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut idle = self.0.idle();
        (idle.is_writing, idle.last_write) = (false, Some(Instant::now()));
    }
}

/// A borrowed connection, returned on drop, even after a panic.
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
