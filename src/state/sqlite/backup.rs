//! Copies a state file while it is in use. Knows no rows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::fault::{at, in_words};
use super::schema::{self, folder_of, sync_folder};
use crate::files::{self, Fault};
use crate::state::StateError;

/// Pages copied between two calls of the progress function: about 4 MiB.
const STEP_PAGES: i32 = 1024;

/// The reason why no copy was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The state itself, or its copy when checked, is at fault.
    #[error(transparent)]
    State(#[from] StateError),
    /// The copy can't be created or written. The state is unchanged.
    #[error("the copy can't be made: {what}")]
    Copy {
        /// The cause, and advice.
        what: String,
    },
}

/// Handling of an existing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and fail.
    Keep,
    /// Replace it, once the backup is complete.
    Replace,
}

/// The progress of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied.
    pub done: u64,
    /// Pages in total.
    pub total: u64,
}

/// Copies the state file at `source`, as it is at this moment, to `target`: one file, accessible to this user
/// alone, fully checked, that can be opened as a state file. Another process may be using `source`, and its
/// writes continue. Blocks.
///
/// `target` appears as a whole or not at all: the copy is made under another name beside it.
///
/// # Errors
/// [`StateError::Foreign`] and the like if `source` is not a state file, [`BackupError::Copy`] if `target`
/// exists and should be kept, or can't be written.
pub fn backup(
    source: &Path,
    target: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let target = &place(target)?;
    if existing == Existing::Keep && target.symlink_metadata().is_ok() {
        return Err(is_there(target));
    }
    let from = schema::open_unknown(source)?;
    let part = Part::create(target)?;
    copy(&from, &part.file, progress).map_err(|error| match in_words(&error) {
        StateError::Corrupt { .. } => BackupError::State(at(source, &error)),
        StateError::Unavailable { what } => cannot(target, what),
        _ => cannot(target, error),
    })?;
    schema::check(&part.file, &schema::open_unknown(&part.file)?)?;
    File::open(&part.file).and_then(|file| file.sync_all()).map_err(|error| cannot(target, error))?;
    part.become_target(target, existing)
}

/// Resolves links in the path of the target. Refuses a folder in which anybody may replace files.
fn place(target: &Path) -> Result<PathBuf, BackupError> {
    let in_words = |fault: Fault| match fault.is_missing() {
        true => cannot(target, NO_FOLDER),
        false => cannot(target, fault.what()),
    };
    let place = files::place(target).map_err(in_words)?;
    let mode = fs::metadata(folder_of(&place)).map_err(|error| of_folder(target, &error))?.mode();
    if mode & 0o1002 == 0o002 {
        let what = "everybody may write to its folder; name another, or `chmod +t` it";
        return Err(cannot(target, what));
    }
    Ok(place)
}

const NO_FOLDER: &str = "there is no such folder; make it, or name another file";

/// The error for a file that can't be created in the folder of `target`.
fn of_folder(target: &Path, error: &std::io::Error) -> BackupError {
    match error.kind() {
        ErrorKind::NotFound => cannot(target, NO_FOLDER),
        ErrorKind::PermissionDenied => cannot(
            target,
            "this user may not write to its folder; name another, or run this as a user who may",
        ),
        _ => cannot(target, error),
    }
}

fn cannot(target: &Path, why: impl std::fmt::Display) -> BackupError {
    BackupError::Copy { what: format!("{}: {why}", target.display()) }
}

fn copy(from: &Connection, part: &Path, progress: &mut dyn FnMut(Progress)) -> rusqlite::Result<()> {
    let mut to = Connection::open(part)?;
    {
        // Holds a snapshot from here on: without it the copy would start over after each write by others.
        let snapshot = from.unchecked_transaction()?;
        snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let backup = Backup::new(&snapshot, &mut to)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            let now = backup.progress();
            let (total, left) = (now.pagecount.max(0).unsigned_abs(), now.remaining.max(0).unsigned_abs());
            progress(Progress { done: u64::from(total.saturating_sub(left)), total: u64::from(total) });
            match step {
                StepResult::Done => break,
                // Only another process that uses the new file could cause these, and none should.
                StepResult::Busy | StepResult::Locked => std::thread::yield_now(),
                _ => {}
            }
        }
    }
    // The copy is in WAL mode, like its source, and so has side files; a single file is easier to move.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    to.close().map_err(|(_, error)| error)
}

/// The copy in progress, in its own folder beside the target: others who may write to the target's folder
/// can't plant one of the files that SQLite opens beside a database. Removed on drop.
struct Part {
    folder: PathBuf,
    file: PathBuf,
}

impl Part {
    fn create(target: &Path) -> Result<Self, BackupError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = folder_of(target).join(format!(".{name}.{}.part", std::process::id()));
        // Leftovers of a killed process with the same id.
        fs::remove_dir_all(&folder).ok();
        let failed = |error| of_folder(target, &error);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let file = folder.join("copy");
        let part = Self { folder, file };
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part.file).map_err(failed)?;
        Ok(part)
    }

    fn become_target(self, target: &Path, existing: Existing) -> Result<(), BackupError> {
        let named = match existing {
            Existing::Replace => fs::rename(&self.file, target),
            // A link fails if the name has been taken meanwhile; a rename would overwrite the file.
            Existing::Keep => fs::hard_link(&self.file, target).or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists => Err(error),
                // Without hard links in the file system, the name is reserved first, and then renamed over.
                _ => OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(target)
                    .and_then(|_| fs::rename(&self.file, target)),
            }),
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => is_there(target),
            _ => of_folder(target, &error),
        })?;
        drop(self);
        sync_folder(folder_of(target));
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn is_there(target: &Path) -> BackupError {
    cannot(target, "there is a file already; name another, or replace it by `--replace`")
}
