//! File faults in words: the file, the fault, the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::owner::is_stranger;
use crate::text::{shell_word, shown};
use crate::units::size;

/// Maximum characters of a path shown: the kernel's limit.
const MAX_SHOWN_PATH: usize = 4096;

/// The reason why a file is not used, or a warning to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or folder.
    pub path: PathBuf,
    /// The fault.
    pub reason: Reason,
    /// Set if others may replace the file through a folder on the way.
    pub(super) is_on_loose_way: bool,
}

/// A file's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such file.
    Missing,
    /// No such folder.
    NoFolder,
    /// This process may not read the file or search its folder.
    Denied,
    /// A folder where a file is required.
    Folder,
    /// A pipe, a socket or a device.
    NotPlain,
    /// Not a folder.
    NotFolder,
    /// A link on the way belongs to a user whose links are not followed.
    Link {
        /// The link.
        link: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Too many nested links.
    Links,
    /// Replaced while being opened.
    Changed,
    /// Opened by SQLite in this process: the plugins' state.
    Held,
    /// Owned by a user who may not be its author.
    Owner {
        /// Its owner.
        owner: u32,
    },
    /// Writable by users who must not write to it.
    Writable {
        /// Its permission bits.
        mode: u32,
    },
    /// Not as the server itself creates such a file: others may have put it there, or can change it.
    NotOwn {
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// The number of its hard links.
        names: u64,
    },
    /// Writable by its group.
    GroupWritable {
        /// Its permission bits.
        mode: u32,
    },
    /// Others may replace the file: they own this folder on the way, or may write to it.
    LooseFolder {
        /// The folder.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
    /// Larger than allowed.
    TooLarge {
        /// Maximum size, in bytes.
        most: u64,
    },
    /// The system's message.
    Other(String),
}

impl Fault {
    pub(crate) fn new(path: &Path, reason: Reason) -> Self {
        Self { path: path.to_owned(), reason, is_on_loose_way: false }
    }

    /// Returns true if the file merely does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, Reason::Missing | Reason::NoFolder)
    }

    /// Returns true if a user other than root and the server's may have caused this: by a link, by the object
    /// found, or by their rights in a folder on the way.
    #[must_use]
    pub fn is_strangers_work(&self) -> bool {
        let is_strangers = |path: &Path| {
            let found = rustix::fs::lstat(path);
            found.is_ok_and(|found| is_stranger(found.st_uid))
        };
        match self.reason {
            Reason::Link { .. } => true,
            _ if self.is_on_loose_way => true,
            _ if self.is_missing() => self.path.parent().is_some_and(is_strangers),
            _ => is_strangers(&self.path),
        }
    }

    /// The outcome as a predicate: a file that others could have written "is refused", any other "can't be
    /// read".
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.reason {
            Reason::Writable { .. } | Reason::Owner { .. } | Reason::Link { .. } => "is refused",
            _ => "can't be read",
        }
    }

    /// The fault, without the path.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.reason {
            Reason::Missing => "there is no such file".to_owned(),
            Reason::NoFolder => "there is no such folder".to_owned(),
            Reason::Denied => "this process may not read it".to_owned(),
            Reason::Folder => "this is a folder".to_owned(),
            Reason::NotPlain => "this is not a plain file".to_owned(),
            Reason::NotFolder => "this is not a folder".to_owned(),
            Reason::Link { link, owner } => {
                format!("the link {} on the way belongs to user {owner}", named(link))
            }
            Reason::Links => "too many links lead to it".to_owned(),
            Reason::Changed => "it was replaced while it was being opened".to_owned(),
            Reason::Held => "it is all plugins' state, which this server has open".to_owned(),
            Reason::Owner { owner } => {
                format!("it belongs to user {owner}, and this process runs as user {}", user())
            }
            Reason::Writable { mode } => {
                format!("users other than its owner can write to it: its mode is {mode:03o}")
            }
            Reason::NotOwn { owner, .. } if *owner != user() => {
                format!("it belongs to user {owner}, and was not made by this process's user {}", user())
            }
            Reason::NotOwn { mode, .. } if mode & 0o022 != 0 => {
                format!("users other than its owner can write to it: its mode is {mode:03o}")
            }
            Reason::NotOwn { names, .. } => format!("it has {names} names, by which others may reach it"),
            Reason::GroupWritable { mode } => format!("its group may write to it: its mode is {mode:03o}"),
            Reason::LooseFolder { folder, mode, owner } => {
                let folder = named(folder);
                if is_stranger(*owner) {
                    format!("user {owner} can replace it, to whom the folder {folder} belongs")
                } else {
                    format!(
                        "others can replace it: they may write to the folder {folder}, of mode {mode:03o}"
                    )
                }
            }
            Reason::TooLarge { most } => format!("this file is larger than {}", size(*most)),
            Reason::Other(words) => words.clone(),
        }
    }

    /// A remedy, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let path = shell_word(&named(&self.path));
        Some(match &self.reason {
            Reason::Link { .. } => {
                "only links of root or of the server's user are followed; name what it leads to".to_owned()
            }
            Reason::Owner { owner } => format!(
                "only what root or the server's user wrote is trusted; if that is the server's user, run this as that one: \
                 {}; if not, find out who wrote it, then `chown root {path}`",
                runuser(*owner)
            ),
            Reason::Writable { .. } => format!("find out who changed it, then `chmod go-w {path}`"),
            Reason::GroupWritable { .. } => format!("`chmod g-w {path}`"),
            Reason::LooseFolder { folder, owner, .. } if is_stranger(*owner) => {
                format!("`chown root {}`", shell_word(&named(folder)))
            }
            Reason::LooseFolder { folder, .. } => format!("`chmod go-w {}`", shell_word(&named(folder))),
            Reason::NotOwn { owner, .. } if *owner != user() => {
                let as_owner = runuser(*owner);
                format!(
                    "if that is the server's user, run this as that one: {as_owner}; if not, remove {path}, which is made anew"
                )
            }
            Reason::NotOwn { .. } => format!("remove {path}, which is made anew"),
            Reason::Changed => "try again".to_owned(),
            Reason::Held => "name another file".to_owned(),
            _ => return None,
        })
    }
}

/// Shows path, fault and remedy on one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", named(&self.path), self.what())?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Errno> for Reason {
    fn from(error: Errno) -> Self {
        Self::from(&io::Error::from(error))
    }
}

impl From<&io::Error> for Reason {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::IsADirectory => Self::Folder,
            // The error on opening a socket, or a device that does not exist.
            _ if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Self::NotPlain,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A path on one line: others may have chosen names in it.
fn named(path: &Path) -> String {
    shown(&path.to_string_lossy(), MAX_SHOWN_PATH).to_string()
}

/// The command by which root runs Lictor as another user.
fn runuser(user: u32) -> String {
    format!("`runuser -u \"$(id -nu {user})\" -- lictor …`")
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
