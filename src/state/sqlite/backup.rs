//! Copies a state file while it is in use. It knows no rows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::fault::{at, in_words};
use super::schema::{self, folder_of, io, sync_folder};
use crate::files::{self, Fault};
use crate::state::StateError;

/// Pages copied between two calls of the progress function: about 4 MiB.
const STEP_PAGES: i32 = 1024;

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
/// [`StateError::Foreign`] and the like if `source` is not a state file, [`StateError::Unavailable`] if `target` is there and
/// should be kept, or can't be written.
pub fn backup(
    source: &Path,
    target: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StateError> {
    let target = &place(target)?;
    if existing == Existing::Keep && target.symlink_metadata().is_ok() {
        return Err(is_there(target));
    }
    let from = schema::open_unknown(source)?;
    let part = Part::create(target)?;
    copy(&from, &part.file, progress).map_err(|error| match in_words(&error) {
        StateError::Corrupt { .. } => at(source, &error),
        _ => at(target, &error),
    })?;
    schema::check(&part.file, &schema::open_unknown(&part.file)?)?;
    File::open(&part.file)
        .and_then(|file| file.sync_all())
        .map_err(|error| io(target, "can't be written", &error))?;
    part.become_target(target, existing)
}

/// The target without links in its way. In a folder in which anybody may replace anything, no copy is made.
fn place(target: &Path) -> Result<PathBuf, StateError> {
    let in_words =
        |fault: Fault| StateError::Unavailable { what: format!("{}: {}", target.display(), fault.what()) };
    let place = files::place(target).map_err(in_words)?;
    let mode = fs::metadata(folder_of(&place)).map_err(|error| io(target, "can't be made", &error))?.mode();
    if mode & 0o1002 == 0o002 {
        let what = format!(
            "{}: everybody may write to its folder; name another, or `chmod +t` it",
            target.display()
        );
        return Err(StateError::Unavailable { what });
    }
    Ok(place)
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
    fn create(target: &Path) -> Result<Self, StateError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = folder_of(target).join(format!(".{name}.{}.part", std::process::id()));
        // What a killed process of the same number may have left.
        fs::remove_dir_all(&folder).ok();
        let failed = |error| io(&folder, "can't be made", &error);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let file = folder.join("copy");
        let part = Self { folder, file };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part.file)
            .map_err(|error| io(&part.file, "can't be made", &error))?;
        Ok(part)
    }

    fn become_target(self, target: &Path, existing: Existing) -> Result<(), StateError> {
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
            _ => io(target, "can't be made", &error),
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

fn is_there(target: &Path) -> StateError {
    let what = format!(
        "{}: there is a file already; name another, or say that it may be replaced",
        target.display()
    );
    StateError::Unavailable { what }
}
