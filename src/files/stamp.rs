//! What paths lead to, told apart without reading a byte.
//!
//! A name says little: a link on the way, a folder that was renamed, or a mount changes what a path leads to, and leaves no trace
//! in the folder that the path names. So two looks at the path's end are compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::FileId;

/// As far as a path's end matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// The bytes of the file.
    Content,
    /// Which names there are in the folder.
    Entries,
    /// Only which file or folder it is, whose it is, and who may use it.
    Place,
}

/// What a path led to when it was looked at; two that are equal show the same file, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    matters: Matters,
    found: Option<Found>,
}

/// The end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    id: FileId,
    owner: u32,
    mode: u32,
    content: Option<Content>,
}

/// Where the bytes matter: how many they are, and when they were written. The time of the last change of the entry as a whole shows
/// a write after which somebody put back the other time, as `cp -p` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Matters {
    /// Whether size and times of what was found matter.
    fn of(self, end: &fs::Metadata) -> bool {
        match self {
            Self::Content => !end.is_dir(),
            Self::Entries => end.is_dir(),
            Self::Place => false,
        }
    }
}

impl Stamp {
    /// Looks at what `path` leads to.
    #[must_use]
    pub fn of(path: &Path, matters: Matters) -> Self {
        let found = fs::metadata(path).ok().map(|end| Found {
            id: FileId { device: end.dev(), inode: end.ino() },
            owner: end.uid(),
            mode: end.mode(),
            // The times of a folder are those of its entries, which are other files.
            content: matters.of(&end).then(|| Content {
                bytes: end.size(),
                modified: (end.mtime(), end.mtime_nsec()),
                changed: (end.ctime(), end.ctime_nsec()),
            }),
        });
        Self { matters, found }
    }

    /// Whether it shows which names there are in a folder, of which none is half there.
    #[must_use]
    pub fn is_of_entries(&self) -> bool {
        self.matters == Matters::Entries
    }

    /// Looks at `path` again.
    #[must_use]
    pub fn again(self, path: &Path) -> Self {
        Self::of(path, self.matters)
    }
}

/// What the files that a config names were before they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<PathBuf, Stamp>);

impl Sightings {
    /// Looks at `path`, which is about to be read or looked into. The first look at its content counts.
    pub fn note(&mut self, path: &Path, matters: Matters) {
        let is_noted = |stamp: &Stamp| matters == Matters::Place || stamp.matters == Matters::Content;
        if !self.0.get(path).is_some_and(is_noted) {
            self.0.insert(path.to_owned(), Stamp::of(path, matters));
        }
    }

    /// Adds those of `later`, which were made afterwards.
    pub fn extend(&mut self, later: Self) {
        later.0.into_iter().for_each(|(path, stamp)| {
            self.0.entry(path).or_insert(stamp);
        });
    }

    /// The paths that are not the same in `later`, or are only there; then those that are not there any more.
    pub fn others<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'a Path> {
        let changed = later.0.iter().filter(|(path, stamp)| self.0.get(*path) != Some(*stamp));
        let gone = self.0.iter().filter(|(path, _)| !later.0.contains_key(*path));
        changed.chain(gone).map(|(path, _)| path.as_path())
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those of files whose bytes matter.
    #[must_use]
    pub fn of_content(mut self) -> Self {
        self.0.retain(|_, stamp| stamp.matters == Matters::Content);
        self
    }
}

impl IntoIterator for Sightings {
    type Item = (PathBuf, Stamp);
    type IntoIter = std::collections::btree_map::IntoIter<PathBuf, Stamp>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
