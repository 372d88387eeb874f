//! Files on which this process holds locks.
//!
//! A lock by `fcntl` belongs to a process and ends when the process closes any descriptor of the file, whoever opened it
//! (fcntl(2), "Advisory record locking"; SQLite, "How To Corrupt An SQLite Database File", 2.2). Another process that opens the
//! file then takes itself for the only one, and removes what the first still works with. So a file that SQLite has open is never
//! opened by anything else in this process.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::FileId;

static HELD: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

#[derive(Debug, PartialEq)]
struct Entry {
    path: PathBuf,
    /// What the path led to, should it lead to another file later.
    id: Option<FileId>,
}

/// Keeps files from being opened for as long as it is there.
#[derive(Debug)]
pub struct Held(Vec<PathBuf>);

impl Held {
    /// Keeps the files at `paths` from being opened, those that are there and those that come.
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
            // One entry each: the same file may be held twice.
            if let Some(at) = held.iter().position(|entry| entry.path == *path) {
                held.swap_remove(at);
            }
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Entry>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this file is held.
pub(super) fn is_held(id: FileId) -> bool {
    let held = lock();
    held.iter().any(|entry| entry.id == Some(id))
        || held.iter().any(|entry| FileId::at(&entry.path) == Some(id))
}

/// Whether `path` in `folder` leads to a file that is held. Nothing is opened for it but the way.
pub fn leads_to_held(folder: impl AsFd, path: &Path, follows_link: bool) -> bool {
    if lock().is_empty() {
        return false;
    }
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follows_link);
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(folder, path, flags, Mode::empty(), way);
    let stat = found.and_then(rustix::fs::fstat);
    stat.is_ok_and(|stat| is_held(FileId::of(&stat)))
}
