//! The engine that stores state in one SQLite file.
//!
//! One thread writes, for all callers: it joins queued writes into one transaction and answers after the
//! commit (`sqlite/writer.rs`). Reads have their own connections and run on the caller's thread
//! (`sqlite/readers.rs`). `sqlite/rows.rs` has the statements, `sqlite/schema.rs` decides whether a file is
//! ours, `sqlite/backup.rs` copies it, `sqlite/byhand.rs` is for operators, `sqlite/fault.rs` puts SQLite's
//! errors into words.
//!
//! Knows no namespace's rules: those are in `rules`.

mod backup;
mod byhand;
mod fault;
mod group;
mod readers;
mod rows;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use backup::{BackupError, Existing, Progress, backup};
pub use byhand::ByHand;
pub use rows::Listed;

use self::fault::Fault;
use self::group::Group;
use self::readers::Readers;
use self::rows::SqlRows;
use self::writer::Writer;
use super::clock::{Clock, SystemClock};
use super::error::StateError;
use super::rules::{self, Space};
use super::values::{Entry, Expected, Key, Namespace, Page, Quota, Stat, Ttl, Usage, Value};
use super::version::Version;
use super::{Answer, Engine, Store};
use crate::files::Held;
use crate::telemetry::metrics::STATE;
use crate::telemetry::traces::Context;

/// Checks that [`SqliteEngine::open`] would accept the file at `path`. Changes nothing in the file. Blocks.
///
/// # Errors
/// The same as [`SqliteEngine::open`].
pub fn look(path: &Path) -> Result<(), StateError> {
    schema::open_trusted(path).map(drop)
}

/// Options for opening the file.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The largest size of the file, in bytes; writes that need more are unavailable. `None`: limited only by
    /// the disk.
    pub max_file_bytes: Option<u64>,
    /// The number of concurrent reads.
    pub readers: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        let readers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
        Self { clock: Arc::new(SystemClock), max_file_bytes: None, readers }
    }
}

/// State in an SQLite file. When the engine and all its stores are dropped, queued writes are carried out,
/// and the file is left without its side files.
pub struct SqliteEngine {
    open: Arc<Open>,
}

/// State shared by the engine and its stores.
struct Open {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    readers: Arc<Readers>,
    writer: Writer,
    /// Dropped last, when nothing has the file open any more.
    _held: Held,
}

impl SqliteEngine {
    /// Opens the file at `path`. If it is missing, creates it, and its folder, accessible to this user alone.
    /// Blocks, usually for milliseconds.
    ///
    /// # Errors
    /// [`StateError::Foreign`], [`StateError::Corrupt`], [`StateError::NewerSchema`] or
    /// [`StateError::Unavailable`], each with the cause, the place and advice.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StateError> {
        let connection = schema::open_or_create(path, options.max_file_bytes)?;
        let readers = Arc::new(Readers::open(path, options.readers)?);
        let writer = Writer::start(connection, Arc::clone(&readers), Arc::clone(&options.clock))?;
        let held = schema::hold(path);
        let open = Open { path: path.to_owned(), clock: options.clock, readers, writer, _held: held };
        Ok(Self { open: Arc::new(open) })
    }

    /// Copies the current state to `target` while reads and writes continue; see [`backup()`].
    ///
    /// # Errors
    /// The same as [`backup()`].
    pub fn backup(
        &self,
        target: &Path,
        existing: Existing,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BackupError> {
        backup(&self.open.path, target, existing, progress)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The last connection to close checkpoints the WAL and removes it, and only the writer's connection
        // may.
        self.readers.close();
        self.writer.join();
    }
}

impl Engine for SqliteEngine {
    fn open(&self, namespace: Namespace, quota: Quota) -> Answer<'_, Arc<dyn Store>> {
        Box::pin(async move {
            // Looked up first: an engine that can't write may still be readable.
            let known = self.open.readers.read(|connection| Ok(rows::namespace(connection, &namespace)?))?;
            let id = match known {
                Some(id) => id,
                None => {
                    self.open.writer.submit(0, move |group| Ok(group.make_namespace(&namespace)?)).await?
                }
            };
            let store: Arc<dyn Store> =
                Arc::new(SqliteStore { open: Arc::clone(&self.open), id, quota, trace: None });
            Ok(store)
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        let (open, none) = (Arc::clone(&self.open), Namespace::new("", ""));
        let look = move || open.readers.read(|connection| Ok(rows::namespace(connection, &none)?));
        Box::pin(async move {
            // A disk that hangs must not hold up a thread that serves clients.
            let looked = tokio::task::spawn_blocking(look).await;
            looked.map_err(|_| StateError::unavailable("the look at it broke off"))?.map(drop)
        })
    }

    fn sweep(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut count = 0;
            loop {
                let freed = self.open.writer.submit(0, |group| Ok(group.sweep()?)).await?;
                count += freed;
                if freed == 0 {
                    return Ok(count);
                }
            }
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.open.writer.close())
    }
}

/// One namespace of a [`SqliteEngine`].
struct SqliteStore {
    open: Arc<Open>,
    id: i64,
    quota: Quota,
    /// The span that its commits belong to, if they are traced.
    trace: Option<Context>,
}

impl SqliteStore {
    fn read<'a, T: Send + 'a>(
        &'a self,
        look: impl Fn(&rusqlite::Connection, i64, u64) -> Result<T, Fault> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            STATE.read();
            let now_ms = self.open.clock.now_ms();
            self.open.readers.read(|connection| look(connection, self.id, now_ms))
        })
    }

    /// Queues a write. `bytes` estimates the memory it holds while it waits.
    fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        mut change: impl FnMut(&mut Space<'_, SqlRows<'_>>) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        let (id, quota) = (self.id, self.quota);
        let change = move |group: &mut Group<'_>| group.in_space(id, quota, |space| change(space));
        Box::pin(self.open.writer.submit_traced(bytes, self.trace.clone(), change))
    }
}

impl Store for SqliteStore {
    fn traced(&self, context: &Context) -> Arc<dyn Store> {
        let (open, id, quota) = (Arc::clone(&self.open), self.id, self.quota);
        Arc::new(Self { open, id, quota, trace: Some(context.clone()) })
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Entry>> {
        self.read(move |connection, id, now_ms| rows::entry(connection, id, key, now_ms))
    }

    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Entry>>> {
        self.read(move |connection, id, now_ms| {
            rules::check_number(keys.len())?;
            rows::entries(connection, id, keys, now_ms)
        })
    }

    fn stat<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stat>> {
        self.read(move |connection, id, now_ms| rows::stat(connection, id, key, now_ms))
    }

    fn list_keys<'a>(&'a self, prefix: &'a str, cursor: Option<&'a Key>, limit: usize) -> Answer<'a, Page> {
        let limit = rules::page_size(limit);
        self.read(move |connection, id, now_ms| rows::page(connection, id, now_ms, prefix, cursor, limit))
    }

    fn usage(&self) -> Answer<'_, Usage> {
        self.read(|connection, id, _| Ok(rows::books(connection, id)?.usage))
    }

    fn set(&self, key: Key, value: Value, ttl: Option<Ttl>) -> Answer<'_, Version> {
        self.write(value.as_bytes().len(), move |space| space.set(&key, &value, ttl))
    }

    fn set_many(&self, entries: Vec<(Key, Value)>, ttl: Option<Ttl>) -> Answer<'_, ()> {
        Box::pin(async move {
            let entries = rules::entries_of_one_call(entries)?;
            let bytes = entries.values().map(|value| value.as_bytes().len()).sum();
            self.write(bytes, move |space| space.set_many(&entries, ttl)).await
        })
    }

    fn delete(&self, key: Key) -> Answer<'_, bool> {
        self.write(0, move |space| space.delete(&key))
    }

    fn delete_many(&self, keys: Vec<Key>) -> Answer<'_, u64> {
        Box::pin(async move {
            rules::check_number(keys.len())?;
            let bytes = keys.len() * Key::MAX_BYTES;
            self.write(bytes, move |space| space.delete_many(&keys)).await
        })
    }

    fn increment_to(&self, key: Key, delta: i64, least: i64) -> Answer<'_, i64> {
        self.write(0, move |space| space.increment_to(&key, delta, least))
    }

    fn compare_and_set(
        &self,
        key: Key,
        expected: Expected,
        value: Value,
        ttl: Option<Ttl>,
    ) -> Answer<'_, Version> {
        self.write(value.as_bytes().len(), move |space| space.compare_and_set(&key, expected, &value, ttl))
    }

    fn compare_and_delete(&self, key: Key, version: Version) -> Answer<'_, ()> {
        self.write(0, move |space| space.compare_and_delete(&key, version))
    }

    fn touch(&self, key: Key, ttl: Option<Ttl>) -> Answer<'_, Option<Version>> {
        self.write(0, move |space| space.touch(&key, ttl))
    }
}
