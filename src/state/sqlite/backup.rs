//! Copies a state file while it is in use. It knows no rows.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::fault::{at, in_words};
use super::schema::{self, folder_of, io, sync_folder};
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
    if existing == Existing::Keep && target.symlink_metadata().is_ok() {
        return Err(is_there(target));
    }
    let from = schema::open_unknown(source)?;
    let part = Part::create(target)?;
    copy(&from, &part.0, progress).map_err(|error| match in_words(&error) {
        StateError::Corrupt { .. } => at(source, &error),
        _ => at(target, &error),
    })?;
    schema::check(&part.0, &schema::open_unknown(&part.0)?)?;
    File::open(&part.0)
        .and_then(|file| file.sync_all())
        .map_err(|error| io(target, "can't be written", &error))?;
    part.become_target(target, existing)
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

/// The copy while it is made; removed when dropped.
struct Part(PathBuf);

impl Part {
    fn create(target: &Path) -> Result<Self, StateError> {
        let name = target.file_name().ok_or_else(|| StateError::Unavailable {
            what: format!("{}: a backup needs the name of a file", target.display()),
        })?;
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let part = folder_of(target).join(name);
        let failed = |error| io(&part, "can't be made", &error);
        // What a killed process of the same number may have left.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        Ok(Self(part))
    }

    fn become_target(self, target: &Path, existing: Existing) -> Result<(), StateError> {
        let named = match existing {
            Existing::Replace => fs::rename(&self.0, target),
            // A link fails if the name has been taken meanwhile, where a rename would write over it.
            Existing::Keep => fs::hard_link(&self.0, target).or_else(|error| match error.kind() {
                ErrorKind::AlreadyExists => Err(error),
                // A file system without links: the name is taken first, and then renamed to.
                _ => OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(target)
                    .and_then(|_| fs::rename(&self.0, target)),
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
        for side in ["", "-journal", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(side);
            fs::remove_file(path).ok();
        }
    }
}

fn is_there(target: &Path) -> StateError {
    let what = format!(
        "{}: there is a file already; name another, or say that it may be replaced",
        target.display()
    );
    StateError::Unavailable { what }
}
