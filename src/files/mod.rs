//! Files and folders written by others: opened step by step, checked by their descriptors, read within
//! limits.
//!
//! A path is only a name: its target can change between two lookups. So a file is opened once, and all its
//! properties (kind, owner, mode, identity, bytes) are read from that one descriptor. On the way a link is
//! followed only if root or the server's user made it, as the kernel does in folders like `/tmp`: otherwise
//! anybody who may write to a folder could make the server read any file instead.
//!
//! *The server's user* is the effective user of this process, whichever subcommand runs.
//!
//! Knows nothing of the meaning of the bytes, nor of the config, the sandbox or the log.
//!
//! Invariant: nothing else in the program opens a file to read it; `tests/tidy` lists the exceptions by
//! name.

mod fault;
mod held;
mod id;
mod make;
mod owner;
mod reserved;
mod stamp;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

pub use fault::{Fault, Reason};
pub use held::{Held, leads_to_held, names_held};
pub use id::FileId;
pub use make::{make, make_alike, place, put, put_alike, remove_unchanged};
pub use reserved::Reserved;
pub use stamp::{Matters, Sightings, Stamp};

use self::owner::is_stranger;
use self::walk::{Way, walk};

/// A plain file or a folder open for reading, with the metadata of its descriptor.
#[derive(Debug)]
pub struct Opened {
    file: File,
    stat: Stat,
    path: PathBuf,
    real: PathBuf,
    loose: Option<Fault>,
}

impl Opened {
    /// Opens a plain file. Pipes and devices are not opened at all, since opening alone could block or have
    /// effects; nor are files that SQLite has open in this process, as closing them would end its locks.
    ///
    /// # Errors
    ///
    /// There is no such file, it is something else, or the way leads over a stranger's link.
    pub fn file(path: &Path) -> Result<Self, Fault> {
        let way = walk(path)?;
        if held::is_held(FileId::of(&way.stat)) {
            return Err(Fault { is_on_loose_way: way.loose.is_some(), ..Fault::new(path, Reason::Held) });
        }
        Self::open(path, way, (FileType::RegularFile, OFlags::RDONLY), Reason::NotPlain)
    }

    /// Finds a plain file and its metadata; its descriptor does not count as an open file and cannot be read.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file).
    pub fn unread(path: &Path) -> Result<Self, Fault> {
        Self::open(path, walk(path)?, (FileType::RegularFile, OFlags::PATH), Reason::NotPlain)
    }

    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// There is no such folder, it is something else, or the way leads over a stranger's link.
    pub fn folder(path: &Path) -> Result<Self, Fault> {
        let way = walk(path).map_err(|fault| match fault.reason {
            Reason::Missing => Fault { reason: Reason::NoFolder, ..fault },
            _ => fault,
        })?;
        Self::open(path, way, (FileType::Directory, OFlags::RDONLY), Reason::NotFolder)
    }

    fn open(
        path: &Path,
        way: Way,
        (wanted, access): (FileType, OFlags),
        otherwise: Reason,
    ) -> Result<Self, Fault> {
        let is_on_loose_way = way.loose.is_some();
        let fault = |reason| Fault { is_on_loose_way, ..Fault::new(path, reason) };
        let found = FileType::from_raw_mode(way.stat.st_mode);
        if found != wanted {
            let is_folder = found == FileType::Directory;
            return Err(fault(if is_folder { Reason::Folder } else { otherwise }));
        }
        // Opened by name again, since the descriptor of `walk` cannot be read. Nonblocking: the name may lead
        // to a pipe by now.
        let mut flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !way.is_magic);
        let opened = rustix::fs::openat(&way.folder, &way.name, flags, Mode::empty());
        let file = opened.map_err(|error| fault(Reason::from(error)))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| fault(Reason::from(error)))?;
        if FileId::of(&stat) != FileId::of(&way.stat) {
            return Err(fault(Reason::Changed));
        }
        Ok(Self { file: file.into(), stat, path: path.to_owned(), real: way.real, loose: way.loose })
    }

    /// Wraps a descriptor that was opened elsewhere, by way of `path`.
    ///
    /// # Errors
    ///
    /// The system cannot return its metadata.
    pub fn held(file: File, path: &Path) -> Result<Self, Fault> {
        let stat = rustix::fs::fstat(&file).map_err(|error| Fault::new(path, Reason::from(error)))?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let real = real.unwrap_or_else(|_| path.to_owned());
        Ok(Self { file, stat, path: path.to_owned(), real, loose: None })
    }

    /// Identity of the file.
    #[must_use]
    pub fn id(&self) -> FileId {
        FileId::of(&self.stat)
    }

    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path without links. It names the file; opening it may give another.
    #[must_use]
    pub fn real_path(&self) -> &Path {
        &self.real
    }

    /// Returns true if others may have put the file there: they own a folder on the way, or may write to it.
    #[must_use]
    pub fn is_on_loose_way(&self) -> bool {
        self.loose.is_some()
    }

    /// Number of hard links.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.stat.st_nlink
    }

    /// Returns true for a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Size in bytes when opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Lists the names in a folder, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed.
    pub fn names(&self) -> Result<Vec<OsString>, Fault> {
        let fault = |error| Fault::new(&self.path, Reason::from(error));
        let entries = rustix::fs::Dir::read_from(&self.file).map_err(fault)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault)?;
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
        names.retain(|name| name != "." && name != "..");
        Ok(names)
    }

    /// Permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Returns true if its mode grants users other than its owner anything.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        self.mode() & 0o077 != 0
    }

    /// Requires an owner that is root or the server's user.
    ///
    /// # Errors
    ///
    /// It belongs to another user.
    pub fn owned(&self) -> Result<(), Fault> {
        let owner = self.stat.st_uid;
        if is_stranger(owner) { Err(Fault::new(&self.path, Reason::Owner { owner })) } else { Ok(()) }
    }

    /// The descriptor, for mapping or hashing.
    #[must_use]
    pub fn descriptor(&self) -> &File {
        &self.file
    }

    /// Returns the descriptor.
    #[must_use]
    pub fn into_descriptor(self) -> File {
        self.file
    }

    /// Requires a file or folder whose content directs the server (config, component, list, state) to be
    /// writable only by root and the server's user. Its group may write to it, which [`Opened::warnings`]
    /// reports.
    ///
    /// # Errors
    ///
    /// It belongs to another user, or others may write to it.
    pub fn trusted(self) -> Result<Self, Fault> {
        self.owned()?;
        // In a folder like `/tmp` others may add files, but not replace existing ones.
        let is_sticky = self.is_folder() && self.mode() & 0o1000 != 0;
        if self.mode() & 0o002 != 0 && !is_sticky {
            return Err(Fault::new(&self.path, Reason::Writable { mode: self.mode() }));
        }
        Ok(self)
    }

    /// Requires a file that the server itself wrote and nobody else can have changed: owned by the server's
    /// user, writable for that user alone, with one name.
    ///
    /// # Errors
    ///
    /// Any of these conditions fails.
    pub fn own(self) -> Result<Self, Fault> {
        let (owner, mode, names) = (self.stat.st_uid, self.mode(), self.links());
        let is_own = owner == rustix::process::geteuid().as_raw() && mode & 0o022 == 0;
        if !is_own || (names != 1 && !self.is_folder()) {
            return Err(Fault::new(&self.path, Reason::NotOwn { owner, mode, names }));
        }
        Ok(self)
    }

    /// Reports other users that may write to the file by its mode.
    fn other_writers(&self) -> Option<Fault> {
        let reason = match self.mode() {
            mode if mode & 0o002 != 0 => Reason::Writable { mode },
            mode if mode & 0o020 != 0 => Reason::GroupWritable { mode },
            _ => return None,
        };
        Some(Fault::new(&self.path, reason))
    }

    /// Warnings for the operator: a group that may write to the file, a folder on the way in which others may
    /// replace it.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        let group = self.other_writers().filter(|fault| matches!(fault.reason, Reason::GroupWritable { .. }));
        group.into_iter().chain(self.loose.clone()).collect()
    }

    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is larger than `most` bytes.
    pub fn bytes(&self, most: u64) -> Result<Vec<u8>, Fault> {
        let fault = |reason| Fault::new(&self.path, reason);
        let mut bytes = Vec::new();
        // Refuse an oversized file before reading it.
        if self.size() > most {
            return Err(fault(Reason::TooLarge { most }));
        }
        let mut file = &self.file;
        let read = file.rewind().and_then(|()| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
        read.map_err(|error| fault(Reason::from(&error)))?;
        if bytes.len() as u64 > most { Err(fault(Reason::TooLarge { most })) } else { Ok(bytes) }
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Users who may have written a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authors {
    /// Root and the server's user, since the server acts on the content.
    #[default]
    Trusted,
    /// Any user: the content is only inspected.
    Anybody,
}

impl Authors {
    /// Requires a file written by one of these users.
    ///
    /// # Errors
    ///
    /// Somebody else may have written it; see [`Opened::trusted`].
    pub fn want(self, opened: Opened) -> Result<Opened, Fault> {
        match self {
            Self::Trusted => opened.trusted(),
            Self::Anybody => Ok(opened),
        }
    }
}

/// The debug file of a component's file.
#[must_use]
pub fn debug_file(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".debug");
    path.into()
}

/// Reports other users that may write to a file that [`read_named`] reads and that identifies its owner.
#[must_use]
pub fn other_writers(path: &Path) -> Option<Fault> {
    Opened::unread(path).ok()?.other_writers()
}

/// Reads a file named on the command line: whoever wrote it, and even a pipe, as of `<(command)`.
///
/// # Errors
///
/// It cannot be read, or is larger than `most` bytes.
pub fn read_named(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    let fault = |reason| Fault::new(path, reason);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| fault(Reason::from(&error)))?;
    if bytes.len() as u64 > most { Err(fault(Reason::TooLarge { most })) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
