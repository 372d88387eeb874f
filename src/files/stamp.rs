//! Detects changes of paths' targets without reading a byte.
//!
//! A name says little: a link on the way, a renamed folder, or a mount changes a path's target, and leaves no
//! trace in the folder that the path names. So the metadata of the target is compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::id::FileId;

/// The aspects of a path's target that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// The bytes of the file.
    Content,
    /// The names in the folder.
    Entries,
    /// Only the identity, owner and mode of the file or folder.
    Place,
}

/// Metadata of a path's target; equal stamps mean the same file, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    matters: Matters,
    found: Option<Found>,
}

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    id: FileId,
    owner: u32,
    mode: u32,
    content: Option<Content>,
}

/// Size and times of the content, where the bytes matter. The inode's change time reveals a write whose
/// modification time was reset, as `cp -p` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Matters {
    /// Returns true if size and times of the target matter.
    fn of(self, end: &fs::Metadata) -> bool {
        match self {
            Self::Content => !end.is_dir(),
            Self::Entries => end.is_dir(),
            Self::Place => false,
        }
    }
}

impl Stamp {
    /// Takes the stamp of the target of `path`.
    #[must_use]
    pub fn of(path: &Path, matters: Matters) -> Self {
        let found = fs::metadata(path).ok().map(|end| Found {
            id: FileId::of_metadata(&end),
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

    /// Returns true if the stamp shows the names in a folder. A name never appears half-written.
    #[must_use]
    pub fn is_of_entries(&self) -> bool {
        self.matters == Matters::Entries
    }

    /// Takes a new stamp of `path`.
    #[must_use]
    pub fn again(self, path: &Path) -> Self {
        Self::of(path, self.matters)
    }
}

/// Stamps of the files that a config names, taken before the files were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<PathBuf, Stamp>);

impl Sightings {
    /// Stamps `path`, which is about to be read or listed. The first stamp of its content counts.
    pub fn note(&mut self, path: &Path, matters: Matters) {
        let is_noted = |stamp: &Stamp| matters == Matters::Place || stamp.matters == Matters::Content;
        if !self.0.get(path).is_some_and(is_noted) {
            self.0.insert(path.to_owned(), Stamp::of(path, matters));
        }
    }

    /// Adds those of `later`, taken afterwards.
    pub fn extend(&mut self, later: Self) {
        later.0.into_iter().for_each(|(path, stamp)| {
            self.0.entry(path).or_insert(stamp);
        });
    }

    /// The paths that differ in `later` or exist only there; then those missing there.
    pub fn others<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'a Path> {
        let changed = later.0.iter().filter(|(path, stamp)| self.0.get(*path) != Some(*stamp));
        let gone = self.0.iter().filter(|(path, _)| !later.0.contains_key(*path));
        changed.chain(gone).map(|(path, _)| path.as_path())
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The number of paths.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Keeps only files whose bytes matter, and folders whose entries do.
    #[must_use]
    pub fn of_content(mut self) -> Self {
        self.0.retain(|_, stamp| stamp.matters != Matters::Place);
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
