//! The sources of a plugin's project: which files they are, and that one of them has changed.
//!
//! All files of the folder are sources but those that tools and editors make there, which have known names. The watch tells that
//! something is another than it was; what it is decides whether that counts, since a build makes files beside its sources.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{Matters, Sightings};
use crate::reload::Watch;

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
}

impl Sources {
    /// Watches the project in `folder`, whose path has no links, from now on, and the file `also`; but not the files and folders
    /// `without`.
    ///
    /// # Errors
    ///
    /// When there are more files than can be watched.
    pub fn of(folder: &Path, without: Vec<PathBuf>, also: Option<PathBuf>) -> anyhow::Result<Self> {
        let (seen, all) = look(folder, &without, also.as_deref())?;
        let mut watch = Watch::new();
        watch.follow(Some(all));
        Ok(Self { folder: folder.to_owned(), without, also, seen, watch })
    }

    /// Waits for another change, and names a file that is another one, or gone. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    ///
    /// When there are more files than can be watched.
    pub async fn changed(&mut self) -> anyhow::Result<PathBuf> {
        loop {
            self.watch.changed().await;
            let (now, all) = look(&self.folder, &self.without, self.also.as_deref())?;
            self.watch.follow(Some(all));
            let changed = self.seen.first_other(&now).map(Path::to_owned);
            if let Some(path) = changed {
                self.seen = now;
                return Ok(path.strip_prefix(&self.folder).map_or(path.clone(), Path::to_owned));
            }
        }
    }
}

/// What sources there are now, and they with the folders in which others may come to be. A link's end is looked at, and no folder is
/// entered by one.
fn look(folder: &Path, without: &[PathBuf], also: Option<&Path>) -> anyhow::Result<(Sightings, Sightings)> {
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
            anyhow::ensure!(
                files.count() + all.count() + folders.len() <= MOST,
                "there are more than {MOST} files below {}, which are too many to watch: what is made or brought belongs into \
                 `build` or `target`, where it is not looked at",
                folder.display()
            );
        }
    }
    all.extend(files.clone());
    Ok((files, all))
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
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_tools_and_editors_make_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let sources = [
            "plugin.c",
            "src/lib.rs",
            ".cargo/config.toml",
            "Cargo.toml",
            "src/build.rs",
            "test.toml",
            "link",
        ];
        let made = [
            "greet.wasm",
            "greet.wasm.20937.0.new",
            "greet.wasm.debug",
            "build/core.wasm",
            "target/x",
            "lictor/target/x",
            ".tools/x",
            ".git/HEAD",
            "node_modules/a/b.js",
            "lictor/__pycache__/x.pyc",
            "Cargo.lock",
            ".plugin.c.swp",
            ".#plugin.c",
            "#plugin.c#",
            "plugin.c~",
            "4913",
            "state.db-wal",
            "dev.log",
            "cache/x",
        ];
        for name in sources.iter().chain(&made).filter(|name| **name != "link") {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "").unwrap();
        }
        symlink("/", at("link")).unwrap();
        let (files, _) = look(folder.path(), &[at("cache")], None).unwrap();
        let mut found: Vec<_> = files.into_iter().map(|(path, _)| path).collect();
        found.sort();
        let mut expected = sources.map(at);
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn too_many_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MOST {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let error = look(folder.path(), &[], None).err().unwrap().to_string();
        assert!(error.contains("too many to watch"), "{error}");
    }

    #[tokio::test]
    async fn a_source_that_is_written_made_or_removed_is_named_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("src")).unwrap();
        fs::write(at("src/a.rs"), "1").unwrap();
        let mut sources = Sources::of(folder.path(), Vec::new(), None).unwrap();
        let mut next = async || sources.changed().await.unwrap();
        fs::write(at("src/a.rs"), "22").unwrap();
        assert_eq!(next().await, Path::new("src/a.rs"));
        fs::create_dir(at("src/deep")).unwrap();
        fs::write(at("src/deep/b.rs"), "").unwrap();
        assert_eq!(next().await, Path::new("src/deep/b.rs"));
        fs::write(at("new.rs"), "").unwrap();
        assert_eq!(next().await, Path::new("new.rs"));
        fs::remove_file(at("src/a.rs")).unwrap();
        assert_eq!(next().await, Path::new("src/a.rs"));
        // What is made is none: the next to be named is the next that is written.
        fs::create_dir(at("build")).unwrap();
        for made in ["greet.wasm", "build/x", ".x.swp"] {
            fs::write(at(made), "").unwrap();
        }
        fs::write(at("new.rs"), "more").unwrap();
        assert_eq!(next().await, Path::new("new.rs"));
    }
}
