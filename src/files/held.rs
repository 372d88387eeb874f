//! Files on which this process holds locks.
//!
//! A lock by `fcntl` belongs to a process and ends when the process closes any descriptor of the file,
//! whoever opened it (fcntl(2), "Advisory record locking"; SQLite, "How To Corrupt An SQLite Database File",
//! 2.2). Another process that opens the file then believes it is the only one, and removes files that the
//! first still uses. So nothing else in this process ever opens a file that SQLite has open.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::id::FileId;

static HELD: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

#[derive(Debug, PartialEq)]
struct Entry {
    path: PathBuf,
    /// Identity of the file when it was held, in case the path leads to another file later.
    id: Option<FileId>,
}

/// Prevents files from being opened, until dropped.
#[derive(Debug)]
pub struct Held(Vec<PathBuf>);

impl Held {
    /// Prevents the files at `paths` from being opened, both present and future ones.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let entries = paths.iter().map(|path| Entry { path: path.clone(), id: FileId::at(path) });
        lock().extend(entries);
        Self(paths)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock();
        for path in &self.0 {
            // Only one entry each: the same file may be held twice.
            if let Some(at) = held.iter().position(|entry| entry.path == *path) {
                held.swap_remove(at);
            }
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Entry>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns true if this file is held.
pub(super) fn is_held(id: FileId) -> bool {
    let held = lock();
    held.iter().any(|entry| entry.id == Some(id))
        || held.iter().any(|entry| FileId::at(&entry.path) == Some(id))
}

/// Returns true if `path` in `folder` leads to a held file. Resolves the path without opening the file.
pub fn leads_to_held(folder: impl AsFd, path: &Path) -> bool {
    resolves_to_held(folder, path, OFlags::PATH)
}

/// Returns true if `path` in `folder` names a held file. Does the same without following a link at the end.
pub fn names_held(folder: impl AsFd, path: &Path) -> bool {
    resolves_to_held(folder, path, OFlags::PATH | OFlags::NOFOLLOW)
}

fn resolves_to_held(folder: impl AsFd, path: &Path, flags: OFlags) -> bool {
    if lock().is_empty() {
        return false;
    }
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), way);
    let stat = found.and_then(rustix::fs::fstat);
    stat.is_ok_and(|stat| is_held(FileId::of(&stat)))
}
