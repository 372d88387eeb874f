//! The sources of a plugin's project: which files they are, and that one of them has changed.
//!
//! All files of the folder are sources but those that tools and editors make there, which have known names. The watch tells that
//! something is another than it was; what it is decides whether that counts, since a build makes files beside its sources.
//!
//! A file that has the same bytes again has not changed. One that has others after each round (a build and its tests) is no source but
//! what the round makes: if each change of it began the next round, there would be no end. Nobody tells who wrote a file, so one is
//! taken for that only after [`MADE_AFTER`] rounds in a row, of which the last have run to their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use crate::files::{Matters, Opened, Sightings};
use crate::reload::Watch;

/// Rounds that a change of the same file breaks off: whoever writes a source does not wait for one that is out of date. The next
/// ones run to their ends, and begin anew.
const BROKEN_OFF: u32 = 2;

/// Rounds in a row after which a file that has changed in each is taken for what they make; those after the first
/// [`BROKEN_OFF`] are whole.
const MADE_AFTER: u32 = 4;

/// The largest file whose bytes are compared; of a larger one a write is a change.
const MOST_COMPARED_BYTES: u64 = 1 << 20;

/// The most files and folders that are looked at: a look takes some microseconds for each, four times a second.
const MOST: usize = 10_000;

/// Folders that builds make, and those of their tools.
const MADE_FOLDERS: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];

/// Files that builds and editors make, by their ends; logs, and the files of SQLite's databases, which a server of the project writes.
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

/// The same by their names; with the last, vi tries out whether it can write.
const MADE_FILES: [&str; 3] = ["Cargo.lock", "package-lock.json", "4913"];

/// The sources of a project, which are watched.
pub struct Sources {
    folder: PathBuf,
    without: Vec<PathBuf>,
    also: Option<PathBuf>,
    seen: Sightings,
    watch: Watch,
    /// Hashes of what the files hold.
    contents: BTreeMap<PathBuf, u64>,
    /// The files that have changed in this round.
    changed: BTreeSet<PathBuf>,
    /// Those that have changed in each of the last rounds, and in how many.
    rounds: BTreeMap<PathBuf, u32>,
    is_in_round: bool,
    /// Whether there are more than can be watched.
    is_too_many: bool,
}

/// What has changed in a round that has run to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// A file for which another round is to begin.
    pub changed: Option<PathBuf>,
    /// Those that are taken for what rounds make from now on.
    pub made: Vec<PathBuf>,
}

impl Sources {
    /// Watches the project in `folder`, whose path has no links, from now on, and the file `also`; but not the files and folders
    /// `without`.
    ///
    /// # Errors
    ///
    /// When there are more files than can be watched.
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

    /// A round begins: what changes from now on may be of its making.
    pub fn begin_round(&mut self) {
        self.is_in_round = true;
    }

    /// A round has run to its end.
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

    /// A round has ended before it could make all that it makes.
    fn break_off(&mut self) {
        self.is_in_round = false;
        for path in std::mem::take(&mut self.changed) {
            let rounds = self.rounds.entry(path).or_default();
            *rounds = (*rounds).max(BROKEN_OFF.min(*rounds + 1));
        }
    }

    /// Waits for another change, which breaks off the round that is under way, if one is. Names a file that is another one, or gone.
    /// Nothing is lost where the future is dropped.
    ///
    /// # Errors
    ///
    /// Once when there come to be more files than can be watched. Until there are fewer, no change is one.
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

    /// The files that hold something else than before, or are gone.
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
        Ok(others.into_iter().filter(|path| self.holds_other(path)).collect())
    }

    fn holds_other(&mut self, path: &Path) -> bool {
        let before = self.contents.remove(path);
        let now = hash(path);
        self.contents.extend(now.map(|hash| (path.to_owned(), hash)));
        before.is_none() || before != now
    }

    /// A file by its path in the project.
    fn named(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).unwrap_or(path).to_owned()
    }
}

/// What a file holds, and what may be done with it; nothing where it can't be read, or is large.
fn hash(path: &Path) -> Option<u64> {
    let opened = Opened::file(path).ok()?;
    let bytes = opened.bytes(MOST_COMPARED_BYTES).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write_u32(opened.mode());
    hasher.write(&bytes);
    Some(hasher.finish())
}

/// What was found below a folder.
struct Looked {
    /// The sources.
    files: Sightings,
    /// They, and the folders in which others may come to be.
    all: Sightings,
    /// Whether that is all there is: no more than [`MOST`].
    is_whole: bool,
}

fn too_many(folder: &Path) -> String {
    format!(
        "there are more than {MOST} files below {}, which are too many to watch: what is made or brought belongs into `build` or \
         `target`, where it is not looked at",
        folder.display()
    )
}

/// Looks at what sources there are now. A link's end is looked at, and no folder is entered by one.
fn look(folder: &Path, without: &[PathBuf], also: Option<&Path>) -> Looked {
    let (mut files, mut all) = (Sightings::default(), Sightings::default());
    if let Some(also) = also {
        files.note(also, Matters::Content);
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        all.note(&inner, Matters::Entries);
        // One that is gone by now is a change of the one above it.
        for entry in fs::read_dir(&inner).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_made(&entry.file_name(), is_folder) || without.contains(&entry.path()) {
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

/// Whether tools or editors make what has this name.
fn is_made(name: &OsStr, is_folder: bool) -> bool {
    let name = name.to_string_lossy();
    match is_folder {
        true => MADE_FOLDERS.contains(&&*name) || (name.starts_with('.') && name != ".cargo"),
        false => {
            MADE_FILES.contains(&&*name)
                || name.starts_with(['.', '#'])
                || MADE_ENDS.iter().any(|end| name.ends_with(end))
        }
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
