//! Files and folders that somebody else wrote: opened step by step, looked at by their descriptors, read
//! within bounds.
//!
//! A path is only a name: what it leads to can change between two looks at it. So a file is opened once, and
//! all that is asked of it (kind, owner, mode, identity, bytes) is asked of that one descriptor. On the way
//! there a link is followed only if root or the server's user made it, as the kernel does it in folders like
//! `/tmp`: whoever may write to a folder could else have the server read any file in his place.
//!
//! *The server's user* is the effective user of this process, whichever verb it runs.
//!
//! Knows nothing of what the bytes mean, nor of the config, the sandbox or the log.
//!
//! Invariant: nothing else in the program opens a file to read it; `tests/tidy.rs` has the exceptions by
//! name.

mod fault;
mod held;
mod make;
mod reserved;
mod stamp;
mod walk;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

pub use fault::{Fault, Reason};
pub use held::{Held, leads_to_held};
pub use make::{make, place, put, put_alike};
pub use reserved::Reserved;
pub use stamp::{Matters, Sightings, Stamp};
use walk::{Way, walk};

/// The device and the inode: what makes two names one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// Identity of what `path` leads to now, whoever made the links on the way; nothing where there is
    /// nothing.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        rustix::fs::stat(path).ok().map(|stat| Self::of(&stat))
    }
}

/// A plain file or a folder that is open for reading, and what its descriptor says of it.
#[derive(Debug)]
pub struct Opened {
    file: File,
    stat: Stat,
    path: PathBuf,
    real: PathBuf,
    loose: Option<Fault>,
}

impl Opened {
    /// Opens a plain file. A pipe or a device is not opened at all, since that alone could block or have
    /// effects; nor is a file that SQLite has open in this process, whose locks would end with it.
    ///
    /// # Errors
    ///
    /// When there is none, it is something else, or the way leads over a stranger's link.
    pub fn file(path: &Path) -> Result<Self, Fault> {
        let way = walk(path)?;
        if held::is_held(FileId::of(&way.stat)) {
            return Err(Fault { is_on_loose_way: way.loose.is_some(), ..Fault::new(path, Reason::Held) });
        }
        Self::open(path, way, (FileType::RegularFile, OFlags::RDONLY), Reason::NotPlain)
    }

    /// Finds a plain file and looks at it, without being able to read it: its descriptor is none by which it is open.
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
    /// When there is none, it is something else, or the way leads over a stranger's link.
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
        // By name again, since what `walk` holds can't be read. It doesn't wait: the name may lead to a pipe
        // by now.
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

    /// Takes a descriptor that was opened elsewhere, by way of `path`.
    ///
    /// # Errors
    ///
    /// When the system can't tell of it.
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

    /// Path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path without links, as the way went. It names the file; it doesn't open it.
    #[must_use]
    pub fn real_path(&self) -> &Path {
        &self.real
    }

    /// Whether others may have put it there: a folder on the way is theirs, or they may write to it.
    #[must_use]
    pub fn is_on_loose_way(&self) -> bool {
        self.loose.is_some()
    }

    /// Number of names that the file has.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.stat.st_nlink
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Bytes in the file when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Whether its mode lets users other than its owner do anything with it.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        self.mode() & 0o077 != 0
    }

    /// Wants a file of root or of the server's user.
    ///
    /// # Errors
    ///
    /// When it belongs to another user.
    pub fn owned(&self) -> Result<(), Fault> {
        let owner = self.stat.st_uid;
        if walk::is_stranger(owner) { Err(Fault::new(&self.path, Reason::Owner { owner })) } else { Ok(()) }
    }

    /// Descriptor, to be mapped or hashed.
    #[must_use]
    pub fn descriptor(&self) -> &File {
        &self.file
    }

    /// Gives the descriptor away.
    #[must_use]
    pub fn into_descriptor(self) -> File {
        self.file
    }

    /// Wants a file or a folder by whose content the server works (config, component, list, state): written
    /// by nobody but root and the server's user. Its group may write to it, which [`Opened::warnings`] tells.
    ///
    /// # Errors
    ///
    /// When it belongs to another user, or when others may write to it.
    pub fn trusted(self) -> Result<Self, Fault> {
        self.owned()?;
        // In a folder like `/tmp` others may add something, and not replace what is there.
        let is_sticky = self.is_folder() && self.mode() & 0o1000 != 0;
        if self.mode() & 0o002 != 0 && !is_sticky {
            return Err(Fault::new(&self.path, Reason::Writable { mode: self.mode() }));
        }
        Ok(self)
    }

    /// Wants a file that the server itself wrote and nobody else can have changed: of the server's user,
    /// writable for it alone, with one name.
    ///
    /// # Errors
    ///
    /// When any of that isn't so.
    pub fn own(self) -> Result<Self, Fault> {
        let (owner, mode, names) = (self.stat.st_uid, self.mode(), self.links());
        let is_own = owner == rustix::process::geteuid().as_raw() && mode & 0o022 == 0;
        if !is_own || (names != 1 && !self.is_folder()) {
            return Err(Fault::new(&self.path, Reason::NotOwn { owner, mode, names }));
        }
        Ok(self)
    }

    /// Who else may write to it by its mode.
    fn other_writers(&self) -> Option<Fault> {
        let reason = match self.mode() {
            mode if mode & 0o002 != 0 => Reason::Writable { mode },
            mode if mode & 0o020 != 0 => Reason::GroupWritable { mode },
            _ => return None,
        };
        Some(Fault::new(&self.path, reason))
    }

    /// What an operator should look at: a group that may write to it, a folder on the way in which others may
    /// put something else in its place.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        let group = self.other_writers().filter(|fault| matches!(fault.reason, Reason::GroupWritable { .. }));
        group.into_iter().chain(self.loose.clone()).collect()
    }

    /// Reads the whole file, which has at most `most` bytes.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is larger.
    pub fn bytes(&self, most: u64) -> Result<Vec<u8>, Fault> {
        let fault = |reason| Fault::new(&self.path, reason);
        let mut bytes = Vec::new();
        // One that is too large is not read first, to be refused then.
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
    /// Root and the server's user, since the server does what stands there.
    #[default]
    Trusted,
    /// Any user: it is only looked at.
    Anybody,
}

impl Authors {
    /// Wants a file that one of these wrote.
    ///
    /// # Errors
    ///
    /// When somebody else may have; see [`Opened::trusted`].
    pub fn want(self, opened: Opened) -> Result<Opened, Fault> {
        match self {
            Self::Trusted => opened.trusted(),
            Self::Anybody => Ok(opened),
        }
    }
}

/// The debug file that goes with a component's file.
#[must_use]
pub fn debug_file(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".debug");
    path.into()
}

/// What others may do with a file that [`read_named`] reads and by which its owner is told from others: write to it.
#[must_use]
pub fn other_writers(path: &Path) -> Option<Fault> {
    Opened::unread(path).ok()?.other_writers()
}

/// Reads what a person names on the command line: whoever wrote it, and be it a pipe, as of `<(command)`.
///
/// # Errors
///
/// When it can't be read, or is larger than `most` bytes.
pub fn read_named(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    let fault = |reason| Fault::new(path, reason);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| fault(Reason::from(&error)))?;
    if bytes.len() as u64 > most { Err(fault(Reason::TooLarge { most })) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
