//! The sources of a plugin's project: which files they are, and which of them have changed.
//!
//! All files in the folder are sources, except those made by tools and editors, which have known names. The
//! watch reports that something has changed; this module decides if that counts, since a build makes files
//! beside its sources.
//!
//! A file rewritten with the same bytes has not changed. A file that differs after each round (a build and
//! its tests) is the round's output, not a source: otherwise its changes would start new rounds for ever. The
//! system does not say who wrote a file, so it is taken for output only after [`MADE_AFTER`] consecutive
//! rounds, of which the last ran to their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use crate::files::{Matters, Opened, Sightings};
use crate::reload::Watch;

/// Rounds that changes of the same file break off: an author saving a source does not wait for an outdated
/// round. Later rounds run to their ends before the next begins.
const BROKEN_OFF: u32 = 2;

/// Consecutive rounds after which a file that has changed in each is taken for their output; those after the
/// first [`BROKEN_OFF`] ran to their ends.
const MADE_AFTER: u32 = 4;

/// The largest file whose bytes are compared; for a larger one every write is a change.
const MOST_COMPARED_BYTES: u64 = 1 << 20;

/// Most files and folders that are watched: each costs some microseconds per look, four times a second.
const MOST: usize = 10_000;

/// Folders of build output and of build tools.
const MADE_FOLDERS: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];

/// Endings of files that builds and editors make, of logs, and of SQLite files, which a project's server
/// writes.
const MADE_ENDS: [&str; 14] = [
    "~",
    ".wasm",
    ".wasm.debug",
    ".swp",
    ".swx",
    ".tmp",
    ".new",
    ".log",
    ".db",
    ".db-wal",
    ".db-shm",
    ".sqlite",
    ".sqlite-wal",
    ".sqlite-shm",
];

/// Names of such files; vi writes the last to test if it can write.
const MADE_FILES: [&str; 3] = ["Cargo.lock", "package-lock.json", "4913"];

/// A project's sources, under watch.
pub struct Sources {
    folder: PathBuf,
    without: Vec<PathBuf>,
    also: Option<PathBuf>,
    seen: Sightings,
    watch: Watch,
    /// Hashes of the files' contents.
    contents: BTreeMap<PathBuf, u64>,
    /// Files that have changed in this round.
    changed: BTreeSet<PathBuf>,
    /// Files that have changed in each of the last rounds, and the number of these rounds.
    rounds: BTreeMap<PathBuf, u32>,
    is_in_round: bool,
    /// Set while there are more files than can be watched.
    is_too_many: bool,
}

/// Changes during a round that ran to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// A file that calls for another round.
    pub changed: Option<PathBuf>,
    /// Files that are taken for the rounds' output from now on.
    pub made: Vec<PathBuf>,
}

impl Sources {
    /// Starts watching the project in `folder`, whose path has no links, and the file `also`, except the
    /// files and folders `without`.
    ///
    /// # Errors
    ///
    /// If there are more files than can be watched.
    pub fn of(folder: &Path, without: Vec<PathBuf>, also: Option<PathBuf>) -> anyhow::Result<Self> {
        let Looked { files: seen, all, is_whole } = look(folder, &without, also.as_deref());
        anyhow::ensure!(is_whole, "{}", too_many(folder));
        let mut watch = Watch::new();
        watch.follow(Some(all));
        let contents = seen.paths().filter_map(|path| Some((path.to_owned(), hash(path)?))).collect();
        Ok(Self {
            folder: folder.to_owned(),
            without,
            also,
            seen,
            watch,
            contents,
            changed: BTreeSet::new(),
            rounds: BTreeMap::new(),
            is_in_round: false,
            is_too_many: false,
        })
    }

    /// Begins a round: later changes may be its own.
    pub fn begin_round(&mut self) {
        self.is_in_round = true;
    }

    /// Ends a round that ran to its end.
    ///
    /// # Errors
    ///
    /// As for [`changed`](Self::changed).
    pub fn end_round(&mut self) -> anyhow::Result<Round> {
        self.is_in_round = false;
        let changed = self.look()?;
        self.changed.extend(changed);
        let before = std::mem::take(&mut self.rounds);
        let rounds = |path: &PathBuf| before.get(path).map_or(1, |rounds| rounds.saturating_add(1));
        self.rounds = std::mem::take(&mut self.changed)
            .into_iter()
            .map(|path| {
                let rounds = rounds(&path);
                (path, rounds)
            })
            .collect();
        let named = |(path, _): (&PathBuf, &u32)| self.named(path);
        Ok(Round {
            changed: self.rounds.iter().find(|(_, rounds)| **rounds < MADE_AFTER).map(named),
            made: self.rounds.iter().filter(|(_, rounds)| **rounds == MADE_AFTER).map(named).collect(),
        })
    }

    /// Ends a round before it could write all of its output.
    fn break_off(&mut self) {
        self.is_in_round = false;
        for path in std::mem::take(&mut self.changed) {
            let rounds = self.rounds.entry(path).or_default();
            *rounds = (*rounds).max(BROKEN_OFF.min(*rounds + 1));
        }
    }

    /// Waits for another change and breaks off the current round, if there is one. Returns a file that has
    /// changed or is gone. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Once, when there are more files than can be watched. Until there are fewer, no change counts.
    pub async fn changed(&mut self) -> anyhow::Result<PathBuf> {
        loop {
            self.watch.changed().await;
            let changed = self.look()?;
            let first = match self.is_in_round {
                true => changed
                    .iter()
                    .find(|path| self.rounds.get(*path).is_none_or(|rounds| *rounds < BROKEN_OFF)),
                false => changed.first(),
            };
            let first = first.map(|path| self.named(path));
            if self.is_in_round {
                self.changed.extend(changed);
            }
            if let Some(path) = first {
                self.break_off();
                return Ok(path);
            }
        }
    }

    /// Returns the files whose contents have changed, or which are gone.
    fn look(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        let Looked { files: now, all, is_whole } = look(&self.folder, &self.without, self.also.as_deref());
        self.watch.follow(Some(all));
        let was_told = std::mem::replace(&mut self.is_too_many, !is_whole);
        if !is_whole {
            let told = format!("{}. Until there are fewer, no change begins a build", too_many(&self.folder));
            return if was_told { Ok(Vec::new()) } else { Err(anyhow::anyhow!(told)) };
        }
        let others: Vec<_> = self.seen.others(&now).map(Path::to_owned).collect();
        self.seen = now;
        Ok(others.into_iter().filter(|path| self.note_content(path)).collect())
    }

    /// Notes the content of a file; returns true if it differs from the last one.
    fn note_content(&mut self, path: &Path) -> bool {
        let before = self.contents.remove(path);
        let now = hash(path);
        self.contents.extend(now.map(|hash| (path.to_owned(), hash)));
        before.is_none() || before != now
    }

    /// Returns a file's path within the project.
    fn named(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).unwrap_or(path).to_owned()
    }
}

/// Hashes a file's contents and mode; `None` if it can't be read or is large.
fn hash(path: &Path) -> Option<u64> {
    let opened = Opened::file(path).ok()?;
    let bytes = opened.bytes(MOST_COMPARED_BYTES).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write_u32(opened.mode());
    hasher.write(&bytes);
    Some(hasher.finish())
}

/// Files and folders found below a folder.
struct Looked {
    /// The sources.
    files: Sightings,
    /// The sources, and the folders in which new ones may appear.
    all: Sightings,
    /// False if there are more than [`MOST`].
    is_whole: bool,
}

fn too_many(folder: &Path) -> String {
    format!(
        "there are more than {MOST} files below {}, which are too many to watch: what is made or brought belongs into `build` or \
         `target`, where it is not looked at",
        folder.display()
    )
}

/// Lists the current sources. A link's target is looked at, but no folder is entered through a link.
fn look(folder: &Path, without: &[PathBuf], also: Option<&Path>) -> Looked {
    let (mut files, mut all) = (Sightings::default(), Sightings::default());
    if let Some(also) = also {
        files.note(also, Matters::Content);
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        all.note(&inner, Matters::Entries);
        // A folder that has just disappeared counts as a change of its parent.
        for entry in fs::read_dir(&inner).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_made = if is_folder { is_made_folder } else { is_made_file };
            if is_made(&entry.file_name().to_string_lossy()) || without.contains(&entry.path()) {
                continue;
            }
            match is_folder {
                true => folders.push(entry.path()),
                false => files.note(&entry.path(), Matters::Content),
            }
            if files.count() + all.count() + folders.len() > MOST {
                all.extend(files.clone());
                return Looked { files, all, is_whole: false };
            }
        }
    }
    all.extend(files.clone());
    Looked { files, all, is_whole: true }
}

/// Returns true if tools or editors make folders of this name.
fn is_made_folder(name: &str) -> bool {
    MADE_FOLDERS.contains(&name) || (name.starts_with('.') && name != ".cargo")
}

/// Returns true if tools or editors make files of this name.
fn is_made_file(name: &str) -> bool {
    MADE_FILES.contains(&name)
        || name.starts_with(['.', '#'])
        || MADE_ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests;
