//! The kernel's events of the folders that contain the files: a file was closed by its writer, or moved into
//! place.
//!
//! They only make the watch faster. Changes that cause no event, or in places that cannot be watched, are
//! found by polling.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;

/// Reads are left out, or each reload would cause the next.
const TOLD: WatchFlags = WatchFlags::CLOSE_WRITE.union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

/// Bytes of events read at a time, and maximum reads before the files are checked.
const READ_BYTES: usize = 4096;
const MAX_READS: usize = 64;

/// Watches folders by inotify.
#[derive(Debug)]
pub(super) struct Inotify {
    descriptor: OwnedFd,
    /// The files by the watch of a folder and the name there; for a link, also those of its target.
    files: HashMap<(i32, OsString), Vec<PathBuf>>,
    is_used_up: bool,
}

impl Inotify {
    /// Returns `None` if the kernel refuses, which is logged.
    pub(super) fn new() -> Option<Self> {
        Self::open().map_err(|error| tell(&error)).ok()
    }

    fn open() -> Result<Self, String> {
        let made = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
            // The process's own limit has the same error number; then no other descriptor could be opened.
            Errno::MFILE if std::io::stdin().as_fd().try_clone_to_owned().is_ok() => used_up("instances"),
            errno => errno.to_string(),
        });
        Ok(Self { descriptor: made?, files: HashMap::new(), is_used_up: false })
    }

    /// Waits for an event, at most for `most`.
    pub(super) fn wait(&self, most: Duration) {
        let most = Timespec::try_from(most).ok();
        // Interrupted or not, the files are checked next.
        let _ = poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], most.as_ref());
    }

    /// Watches the present folders of `paths`, and those of the files that links lead to.
    pub(super) fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let before: HashSet<_> = self.files.drain().map(|((watch, _), _)| watch).collect();
        let used_up = self.add(paths);
        let now: HashSet<_> = self.files.keys().map(|(watch, _)| *watch).collect();
        for watch in before.difference(&now) {
            // The folder may be gone, and its watch with it.
            let _ = remove_watch(&self.descriptor, *watch);
        }
        if used_up && !self.is_used_up {
            tell(&self::used_up("watches"));
        }
        self.is_used_up = used_up;
    }

    /// Watches the folders of `paths`; returns true if the kernel has no watches left.
    fn add<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> bool {
        let mut used_up = false;
        for path in paths {
            let end = path.canonicalize().ok().filter(|end| end != path);
            for place in [Some(path), end.as_deref()].into_iter().flatten() {
                let Some(name) = place.file_name() else { continue };
                match add_watch(&self.descriptor, folder(place), TOLD) {
                    Ok(watch) => {
                        self.files.entry((watch, name.to_owned())).or_default().push(path.to_owned());
                    }
                    Err(errno) => used_up |= errno == Errno::NOSPC,
                }
            }
        }
        used_up
    }

    /// The watched files that were closed by their writers, or moved into place, since the last call.
    pub(super) fn closed(&self) -> HashSet<PathBuf> {
        let mut closed = HashSet::new();
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        for _ in 0..MAX_READS {
            let mut events = Reader::new(&self.descriptor, &mut buffer);
            loop {
                let Ok(event) = events.next() else { return closed };
                let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
                let files = name.and_then(|name| self.files.get(&(event.wd(), name)));
                closed.extend(files.into_iter().flatten().cloned());
                if events.is_buffer_empty() {
                    break;
                }
            }
        }
        closed
    }
}

/// Returns what keeps the folders of `paths` from being watched, if something does.
pub fn watch_fault<'a>(paths: impl Iterator<Item = &'a Path>) -> Option<String> {
    match Inotify::open() {
        Err(fault) => Some(fault),
        Ok(mut inotify) => inotify.add(paths).then(|| used_up("watches")),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn used_up(what: &str) -> String {
    format!("all inotify {what} of this user are taken: raise the sysctl fs.inotify.max_user_{what}")
}

fn tell(error: &str) {
    tracing::warn!(target: "lictor::reload", error, "inotify cannot be used; files are only looked at, and changes take a second longer");
}
