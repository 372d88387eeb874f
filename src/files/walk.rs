//! Resolves a path name by name, so that each link on it can be checked before it is followed.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;

use super::fault::{Fault, Reason};
use super::id::FileId;
use super::owner::is_stranger;

/// Maximum links on one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Magic number of procfs, whose links may lead where no path does.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The result of resolving a path.
pub(super) struct Way {
    /// The folder that contains the target.
    pub(super) folder: OwnedFd,
    /// The name there.
    pub(super) name: OsString,
    /// Set for a magic link, by which a process shows its open files: only the kernel can follow the name.
    pub(super) is_magic: bool,
    /// Metadata of the target.
    pub(super) stat: Stat,
    /// The path without links.
    pub(super) real: PathBuf,
    /// The first folder on the way that others may write to.
    pub(super) loose: Option<Fault>,
}

/// Resolves `path`, whatever its target is.
pub(super) fn walk(path: &Path) -> Result<Way, Fault> {
    Walk::begin(path)?.go_on()
}

struct Walk<'a> {
    path: &'a Path,
    /// The folder reached so far.
    folder: OwnedFd,
    stat: Stat,
    real: PathBuf,
    /// The remaining names, in reverse order.
    rest: Vec<OsString>,
    links: usize,
    loose: Option<Fault>,
}

impl<'a> Walk<'a> {
    fn begin(path: &'a Path) -> Result<Self, Fault> {
        let fault = |error| Fault::new(path, Reason::from(error));
        if path.as_os_str().is_empty() {
            return Err(Fault::new(path, Reason::Missing));
        }
        let (start, real) = if path.is_absolute() {
            ("/", PathBuf::from("/"))
        } else {
            (".", std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")))
        };
        let folder = open_path(rustix::fs::CWD, OsStr::new(start)).map_err(fault)?;
        let stat = rustix::fs::fstat(&folder).map_err(fault)?;
        let mut walk = Self { path, folder, stat, real, rest: Vec::new(), links: 0, loose: None };
        walk.note_looseness();
        if !path.is_absolute() {
            walk.look_above();
        }
        walk.push(path);
        Ok(walk)
    }

    /// Puts the names of `path` before the remaining ones.
    fn push(&mut self, path: &Path) {
        let names = path.components().filter(|part| !matches!(part, Component::CurDir));
        let at = self.rest.len();
        self.rest.extend(names.map(|part| part.as_os_str().to_owned()));
        self.rest[at..].reverse();
    }

    fn go_on(mut self) -> Result<Way, Fault> {
        while let Some(name) = self.rest.pop() {
            let found = open_path(self.folder.as_fd(), &name).map_err(|error| self.fault(error))?;
            let stat = rustix::fs::fstat(&found).map_err(|error| self.fault(error))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    if let Some(way) = self.follow(&found, &name, &stat)? {
                        return Ok(way);
                    }
                }
                FileType::Directory => self.enter(&name, found, stat),
                _ if self.rest.is_empty() => {
                    self.real.push(&name);
                    return Ok(self.end(name, stat));
                }
                _ => return Err(self.fault(Reason::Missing)),
            }
        }
        let stat = self.stat;
        Ok(self.end(OsString::from("."), stat))
    }

    fn enter(&mut self, name: &OsStr, folder: OwnedFd, stat: Stat) {
        match name.to_str() {
            Some("/") => self.real = PathBuf::from("/"),
            Some("..") => drop(self.real.pop()),
            _ => self.real.push(name),
        }
        (self.folder, self.stat) = (folder, stat);
        self.note_looseness();
    }

    /// Follows a link, if permitted; returns the end of the way if only the kernel knows the link's target.
    fn follow(&mut self, link: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<Option<Way>, Fault> {
        if is_stranger(stat.st_uid) {
            let reason = Reason::Link { link: self.real.join(name), owner: stat.st_uid };
            return Err(self.fault(reason));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(self.fault(Reason::Links));
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new()).map_err(|error| self.fault(error))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if !is_of_processes(link) {
            self.push(&target);
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = rustix::fs::openat(&self.folder, name, flags, Mode::empty());
        let found = found.map_err(|error| self.fault(error))?;
        let stat = rustix::fs::fstat(&found).map_err(|error| self.fault(error))?;
        self.real.push(target);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            (self.folder, self.stat) = (found, stat);
            self.note_looseness();
            return Ok(None);
        }
        if !self.rest.is_empty() {
            return Err(self.fault(Reason::Missing));
        }
        let folder = self.folder.try_clone().map_err(|error| self.fault(&error))?;
        let (real, loose) = (self.real.clone(), self.loose.take());
        Ok(Some(Way { folder, name: name.to_owned(), is_magic: true, stat, real, loose }))
    }

    fn end(self, name: OsString, stat: Stat) -> Way {
        let Self { folder, real, loose, .. } = self;
        Way { folder, name, is_magic: false, stat, real, loose }
    }

    fn note_looseness(&mut self) {
        if self.loose.is_none() && is_loose(&self.folder, &self.stat) {
            let (mode, owner) = (self.stat.st_mode & 0o7777, self.stat.st_uid);
            let reason = Reason::LooseFolder { folder: self.real.clone(), mode, owner };
            self.loose = Some(Fault::new(self.path, reason));
        }
    }

    /// Checks the folders above the one in which a relative path begins. Folders that may not be opened are
    /// the system's business.
    fn look_above(&mut self) {
        let (mut real, mut below) = (self.real.clone(), FileId::of(&self.stat));
        let mut folder = open_path(self.folder.as_fd(), OsStr::new(".."));
        while let Ok(above) = folder {
            let Ok(stat) = rustix::fs::fstat(&above) else { return };
            if FileId::of(&stat) == below || self.loose.is_some() {
                return;
            }
            real.pop();
            if is_loose(&above, &stat) {
                let (mode, owner) = (stat.st_mode & 0o7777, stat.st_uid);
                self.loose = Some(Fault::new(self.path, Reason::LooseFolder { folder: real, mode, owner }));
                return;
            }
            below = FileId::of(&stat);
            folder = open_path(above.as_fd(), OsStr::new(".."));
        }
    }

    fn fault(&self, reason: impl Into<Reason>) -> Fault {
        Fault { is_on_loose_way: self.loose.is_some(), ..Fault::new(self.path, reason.into()) }
    }
}

/// Opens `name` in `folder` itself, even if it is a link, without the ability to read it.
fn open_path(folder: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Returns true if others may replace entries of a folder. With the sticky bit they may add entries but not
/// replace those of others; and on a read-only mount nobody may, as with Kubernetes' ConfigMaps.
fn is_loose(folder: &OwnedFd, stat: &Stat) -> bool {
    let is_shared = stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0;
    if !is_shared && !is_stranger(stat.st_uid) {
        return false;
    }
    let mount = rustix::fs::fstatvfs(folder);
    !mount.is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_of_processes(link: &OwnedFd) -> bool {
    rustix::fs::fstatfs(link).is_ok_and(|system| u64::try_from(system.f_type) == Ok(PROC_SUPER_MAGIC))
}
