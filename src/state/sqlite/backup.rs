//! Copies a state file while it is in use. It knows no rows.

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

/// Why no copy was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The state itself, or its copy when it was checked.
    #[error(transparent)]
    State(#[from] StateError),
    /// The place for the copy. The state is as it was.
    #[error("the copy can't be made: {what}")]
    Copy {
        /// What is in the way, and what to do.
        what: String,
    },
}

/// What to do if the target is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Keep,
    /// Put the backup in its place, once the backup is whole.
    Replace,
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are copied.
    pub done: u64,
    /// Pages that there are.
    pub total: u64,
}

/// Copies the state file at `source`, as it is at this moment, to `target`: one file, for this user alone, checked from end
/// to end, that can be opened as a state file. Another process may be using `source`, and its writes go on. It blocks.
///
/// `target` is there as a whole or not at all: the copy is made under another name beside it.
///
/// # Errors
/// [`StateError::Foreign`] and the like if `source` is not a state file, [`BackupError::Copy`] if `target` is there and should be
/// kept, or can't be written.
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

/// The target without links in its way. In a folder in which anybody may replace anything, no copy is made.
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

/// That a file can't be made in the folder of `target`.
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
        // A snapshot held from here on: without it the copy would begin anew after each write of others.
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
                // Only another process at the new file could cause these, and it has no business there.
                StepResult::Busy | StepResult::Locked => std::thread::yield_now(),
                _ => {}
            }
        }
    }
    // The copy says, like its source, that it has side files; a single file is easier to carry around.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    to.close().map_err(|(_, error)| error)
}

/// The copy while it is made, in a folder of its own beside the target: whoever else may write to the target's folder finds no
/// place for one of the files that SQLite opens beside a database. Removed when dropped.
struct Part {
    folder: PathBuf,
    file: PathBuf,
}

impl Part {
    fn create(target: &Path) -> Result<Self, BackupError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = folder_of(target).join(format!(".{name}.{}.part", std::process::id()));
        // What a killed process of the same number may have left.
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
            // A link fails if the name has been taken meanwhile, where a rename would write over it.
            Existing::Keep => fs::hard_link(&self.file, target).or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists => Err(error),
                // A file system without links: the name is taken first, and then renamed to.
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
