//! Opens the file: creates it, or checks that it is ours, intact and of a known schema. Changes nothing in a
//! file that it refuses, and knows no rows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::at;
use crate::files::{Fault, FileId, Held, Opened, Reason};
use crate::state::StateError;

/// "Lict": distinguishes our files from other programs' SQLite files.
const APPLICATION_ID: i64 = 0x4c69_6374;

/// The newest known schema. A change to the tables takes the next number, and needs a migration from the one
/// before.
const SCHEMA: u32 = 1;

/// The value is the last column, so that a row's expiry is read without it. `entry_expiry` finds expired
/// entries, of all namespaces or of one.
const TABLES: &str = "
    CREATE TABLE namespace (
        id INTEGER PRIMARY KEY,
        plugin TEXT NOT NULL,
        store TEXT NOT NULL,
        keys INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (plugin, store)
    ) STRICT;
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        namespace INTEGER NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        expires_at INTEGER,
        value BLOB NOT NULL,
        UNIQUE (namespace, key)
    ) STRICT;
    CREATE INDEX entry_expiry ON entry (expires_at, namespace) WHERE expires_at IS NOT NULL;
";

const MAGIC: &[u8] = b"SQLite format 3\0";

/// SQLite's smallest page. SQLite treats a shorter file as empty, and would overwrite it.
const SMALLEST_FILE_BYTES: u64 = 512;

/// Files up to this size are fully checked when opened, which takes some 2 ms for each MiB. Damage in a
/// larger file is found when it is read.
const CHECKED_FILE_BYTES: u64 = 16 << 20;

/// Links in a path are resolved beforehand, name by name.
const NO_LINKS: OpenFlags = OpenFlags::SQLITE_OPEN_NOFOLLOW;

/// The time to wait for another process that holds the file, such as a backup that begins.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size to which a larger WAL is truncated after a checkpoint.
const WAL_BYTES: i64 = 16 << 20;

/// Prepared statements that a connection caches; there are fewer than these.
const STATEMENTS: usize = 32;

/// Opens the connection for writing.
pub(super) fn open_or_create(path: &Path, max_file_bytes: Option<u64>) -> Result<Connection, StateError> {
    make_private_file(path)?;
    want_trusted(path)?;
    look_at_bytes(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if is_empty(path, &connection)? {
        create(&mut connection).map_err(|error| at(path, &error))?;
    }
    inspect(path, &connection)?;
    set_up_writer(&connection, max_file_bytes).map_err(|error| at(path, &error))?;
    Ok(connection)
}

/// Opens a connection for reading a file that [`open_or_create`] accepted.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StateError> {
    // Not SQLITE_OPEN_READ_ONLY: such a connection can't read a file without its side files.
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| at(path, &error))?;
    Ok(connection)
}

/// Opens for reading a server's file that nobody else could have written.
pub(super) fn open_trusted(path: &Path) -> Result<Connection, StateError> {
    want_trusted(path)?;
    open_unknown(path)
}

/// Opens for reading a file that may be anybody's.
pub(super) fn open_unknown(path: &Path) -> Result<Connection, StateError> {
    look_at_bytes(path)?;
    let connection = open_reader(path)?;
    if is_empty(path, &connection)? {
        return Err(foreign(path, "it is an empty database"));
    }
    inspect(path, &connection)?;
    Ok(connection)
}

/// Opens such a file for writing as the engine does.
pub(super) fn open_unknown_to_write(path: &Path) -> Result<Connection, StateError> {
    let connection = open_unknown(path)?;
    connection
        .pragma_update(None, "query_only", false)
        .and_then(|()| set_up_writer(&connection, None))
        .map_err(|error| at(path, &error))?;
    Ok(connection)
}

/// Reads and checks the whole file.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<(), StateError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| at(path, &error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(corrupt(path, &verdict.replace('\n', " ")))
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StateError> {
    // SQLite opens by path, so the file may have been replaced, or turned into a link, since it was checked.
    let (before, real) = {
        let opened = Opened::unread(path).map_err(|fault| in_words(path, &fault))?;
        (opened.id(), opened.real_path().to_owned())
    };
    let connect = || {
        let connection =
            Connection::open_with_flags(&real, flags | NO_LINKS | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(connection)
    };
    let connection = connect().map_err(|error| at(path, &error))?;
    match FileId::at(&real) == Some(before) {
        true => Ok(connection),
        false => Err(io(path, "can't be opened", &std::io::Error::other("it was replaced at the same time"))),
    }
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Another process may do the same; the second one finds the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if number(&transaction, "user_version")? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}

fn set_up_writer(connection: &Connection, max_file_bytes: Option<u64>) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // FULL: a commit is on the disk before it is answered. NORMAL would lose the latest ones in a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES, |_| Ok(()))?;
    // Deleted data is overwritten. Otherwise it would remain in freed pages until they are reused, and in
    // backups. FAST would leave the pages of large values.
    connection.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))?;
    if let Some(bytes) = max_file_bytes {
        let page_bytes = number(connection, "page_size")?.max(1);
        let pages = (i64::try_from(bytes).unwrap_or(i64::MAX) / page_bytes).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(())
}

/// Returns true if the database is empty, so that it may become ours.
fn is_empty(path: &Path, connection: &Connection) -> Result<bool, StateError> {
    let look = || -> rusqlite::Result<bool> {
        let objects: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let numbers = (number(connection, "application_id")?, number(connection, "user_version")?);
        Ok(objects == 0 && numbers == (0, 0))
    };
    look().map_err(|error| at(path, &error))
}

/// Refuses a file that is not ours, has an unknown schema, or is damaged.
fn inspect(path: &Path, connection: &Connection) -> Result<(), StateError> {
    let look = || Ok((number(connection, "application_id")?, number(connection, "user_version")?));
    let (application, schema) = look().map_err(|error| at(path, &error))?;
    if application != APPLICATION_ID {
        return Err(foreign(path, "it is another program's SQLite database"));
    }
    let schema = u32::try_from(schema).unwrap_or(0);
    if schema > SCHEMA {
        return Err(StateError::NewerSchema {
            place: path.display().to_string(),
            found: schema,
            known: SCHEMA,
        });
    }
    if schema == 0 {
        return Err(corrupt(path, "the number of its schema is gone"));
    }
    for sql in [
        "SELECT id, plugin, store, keys, bytes, version FROM namespace",
        "SELECT id, namespace, key, version, expires_at, value FROM entry INDEXED BY entry_expiry \
         WHERE expires_at IS NOT NULL",
    ] {
        connection.prepare(sql).map_err(|error| match at(path, &error) {
            StateError::Unavailable { .. } => corrupt(path, &error.to_string()),
            other => other,
        })?;
    }
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes <= CHECKED_FILE_BYTES { check(path, connection) } else { Ok(()) }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Refuses files that SQLite itself would accept, or refuse without a helpful message.
fn look_at_bytes(path: &Path) -> Result<(), StateError> {
    let opened = match Opened::file(path) {
        // This process has it open already, and checked it before.
        Err(Fault { reason: Reason::Held, .. }) => return Ok(()),
        opened => opened.map_err(|fault| in_words(path, &fault))?,
    };
    if opened.size() == 0 {
        return Ok(());
    }
    let mut header = Vec::new();
    let read = opened.descriptor().take(32).read_to_end(&mut header);
    read.map_err(|error| io(path, "can't be read", &error))?;
    if !header.starts_with(MAGIC) {
        return Err(foreign(path, "it is not an SQLite database"));
    }
    // With a WAL that was not checkpointed, the file may rightly be shorter than its header says.
    let wanted = if has_wal(path) { SMALLEST_FILE_BYTES } else { bytes_by_header(&header) };
    if opened.size() < wanted {
        return Err(corrupt(path, &format!("it is cut off: {} bytes of {wanted}", opened.size())));
    }
    Ok(())
}

fn in_words(path: &Path, fault: &Fault) -> StateError {
    match fault.reason {
        Reason::Folder | Reason::NotPlain => foreign(path, "it is not a file"),
        _ => unusable(fault),
    }
}

/// Refuses a file that others could have written, and likewise SQLite's files beside it: their content
/// becomes the state.
fn want_trusted(path: &Path) -> Result<(), StateError> {
    let opened = Opened::unread(path).map_err(|fault| in_words(path, &fault))?;
    opened.trusted().map_err(|fault| unusable(&fault))?;
    for beside in beside(path) {
        match Opened::unread(&beside).and_then(Opened::trusted) {
            Err(fault) if !fault.is_missing() => return Err(unusable(&fault)),
            _ => {}
        }
    }
    Ok(())
}

/// SQLite's side files of a database.
fn beside(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["-wal", "-shm", "-journal"].into_iter().map(|ending| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        beside.into()
    })
}

/// Prevents this process from opening the state at `path`, which it has open, other than through SQLite.
pub(super) fn hold(path: &Path) -> Held {
    Held::new(std::iter::once(path.to_owned()).chain(beside(path)).collect())
}

fn unusable(fault: &Fault) -> StateError {
    StateError::Unavailable { what: fault.to_string() }
}

/// The length of a file according to its header.
fn bytes_by_header(header: &[u8]) -> u64 {
    let (Some(&[high, low]), Some(&pages)) =
        (header.get(16..18), header.get(28..).and_then(<[u8]>::first_chunk))
    else {
        return SMALLEST_FILE_BYTES;
    };
    // The largest page size does not fit into its two bytes, and is stored as 1.
    let page_bytes = match u16::from_be_bytes([high, low]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    (page_bytes * u64::from(u32::from_be_bytes(pages))).max(SMALLEST_FILE_BYTES)
}

fn has_wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    fs::metadata(wal).is_ok_and(|metadata| metadata.len() > 0)
}

/// Creates the file for this user alone. SQLite gives its side files the main file's permissions.
fn make_private_file(path: &Path) -> Result<(), StateError> {
    let folder = folder_of(path);
    // Nothing is created behind a link that belongs to others.
    let found = Opened::folder(folder);
    if let Err(fault) = &found
        && !fault.is_missing()
    {
        return Err(unusable(fault));
    }
    if found.is_err() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| io(folder, "the folder can't be made", &error))?;
        sync_folder(folder_of(folder));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_folder(folder),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(path, "can't be made", &error)),
    }
    Ok(())
}

/// The folder that contains `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name in `folder` survive a power cut. Not every file system can; the content is safe without
/// it.
pub(super) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

pub(super) fn io(path: &Path, what: &str, error: &std::io::Error) -> StateError {
    StateError::Unavailable { what: format!("{}: {what}: {error}", path.display()) }
}

fn foreign(path: &Path, what: &str) -> StateError {
    let what = format!(
        "{}: {what}. It was left as it is; name another file as the state's path, or move this one away",
        path.display()
    );
    StateError::Foreign { what }
}

fn corrupt(path: &Path, what: &str) -> StateError {
    let what =
        format!("{}: {what}; restore a backup, or move the file away to begin with nothing", path.display());
    StateError::Corrupt { what }
}
