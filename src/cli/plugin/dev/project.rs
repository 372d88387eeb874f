//! The folder of a plugin's project.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cli::Failure;
use crate::config::PluginName;
use crate::files::{self, Opened};
use crate::text::{InvalidText, shown};

/// Maximum characters of a folder's name shown.
const MAX_NAME_CHARS: usize = 64;

/// A project in the form that `lictor plugin new` makes.
pub(super) struct Project {
    /// Its folder, without links.
    pub(super) folder: PathBuf,
    /// The folder as named by the user.
    pub(super) named: PathBuf,
    /// The folder's name, which is also the component's.
    pub(super) name: String,
}

impl Project {
    /// The project in `folder`.
    pub(super) fn at(folder: &Path) -> Result<Self, Failure> {
        let usage = |what: String| Failure::usage(format!("{}: {what}", folder.display()));
        let real = fs::canonicalize(folder).map_err(|error| usage(format!("no such project: {error}")))?;
        let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let project = Self { folder: real, named: folder.to_owned(), name };
        if project.has("build.sh") {
            return Ok(project);
        }
        Err(usage(
            "there is no build.sh, the script that builds a project; `lictor plugin new NAME --lang LANG` creates a project with one".to_owned(),
        ))
    }

    /// The plugin's name in a generated config: the folder's, if valid for a plugin.
    pub(super) fn plugin_name(&self) -> Result<PluginName, Failure> {
        let refused = |invalid: InvalidText| {
            let advice = invalid.advice.map(|advice| format!(" ({advice})")).unwrap_or_default();
            Failure::usage(format!(
                "{}: no plugin can have the name of this folder, {:?}: {}{advice}. Rename the folder; or name the plugin in a config, \
                 and serve that: --config server.toml",
                self.named.display(),
                shown(&self.name, MAX_NAME_CHARS).to_string(),
                invalid.what
            ))
        };
        self.name.parse().map_err(refused)
    }

    /// Locks the folder against other processes like this one until the result is dropped.
    pub(super) fn locked(&self) -> Result<Opened, Failure> {
        let cannot = |what: String| Failure::failed(format!("{}: {what}", self.named.display()));
        let folder = Opened::folder(&self.folder).map_err(|fault| cannot(fault.what()))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(folder),
            Err(Errno::WOULDBLOCK) => {
                let process = holder(&self.folder).map(|id| format!(", process {id}")).unwrap_or_default();
                Err(Failure::usage(format!(
                    "{}: another `lictor plugin dev` is running in this folder{process}: use that one, or stop it",
                    self.named.display()
                )))
            }
            Err(error) => Err(cannot(format!("the folder can't be locked: {error}"))),
        }
    }

    /// Returns true if the project has this file.
    pub(super) fn has(&self, file: &str) -> bool {
        self.folder.join(file).is_file()
    }

    /// Returns true if a file, by its path in the project, belongs to the tests only: the component does not
    /// depend on it.
    pub(super) fn is_of_tests(path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let is_test = ["test.sh", "test.toml"].contains(&&*name) || name.contains(".test.");
        is_test || path.starts_with("tests") || (name.starts_with("test_") && name.ends_with(".py"))
    }

    /// The result of build.sh: a component of the folder's name, or the only one.
    pub(super) fn component(&self) -> Result<PathBuf, Failure> {
        let own = self.folder.join(format!("{}.wasm", self.name));
        if own.is_file() {
            return Ok(own);
        }
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let made: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
        match <[PathBuf; 1]>::try_from(made) {
            Ok([only]) => Ok(only),
            Err(_) => Err(Failure::failed(format!("build.sh made no {}.wasm", self.name))),
        }
    }

    /// A file of the project, as a path for commands in the current folder.
    pub(super) fn as_named(&self, file: &str) -> PathBuf {
        let here = Path::new(".");
        if self.named == here { PathBuf::from(file) } else { self.named.join(file) }
    }
}

/// The process that holds the lock on `folder`, if the kernel reports it.
fn holder(folder: &Path) -> Option<u32> {
    let inode = fs::metadata(folder).ok()?.ino().to_string();
    let locks = files::read_named(Path::new("/proc/locks"), MOST_LOCKS_BYTES).ok()?;
    // Example: `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`.
    String::from_utf8_lossy(&locks).lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else { return None };
        let process = process.parse::<u32>().ok().filter(|process| *process > 0)?;
        file.ends_with(&format!(":{inode}")).then_some(process)
    })
}

/// Maximum bytes read of the kernel's list of locks.
const MOST_LOCKS_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_tests_are_known_by_their_names() {
        for path in [
            "test.toml",
            "test.sh",
            "test_plugin.py",
            "sub/test_x.py",
            "plugin.test.js",
            "plugin.test.ts",
            "tests/a.rs",
        ] {
            assert!(Project::is_of_tests(Path::new(path)), "{path}");
        }
        for path in ["plugin.py", "latest.py", "test_data.json", "src/tests.rs", "contest.js", "attest.toml"]
        {
            assert!(!Project::is_of_tests(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_component_is_the_folders_or_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("greet").join(name);
        fs::create_dir(at("")).unwrap();
        let refused = Project::at(&at("")).err().unwrap();
        assert!(refused.message().contains("there is no build.sh"), "{}", refused.message());
        fs::write(at("build.sh"), "").unwrap();
        let project = Project::at(&at("")).unwrap();
        assert!(project.component().unwrap_err().message().contains("made no greet.wasm"));
        fs::write(at("other.wasm"), "").unwrap();
        assert!(project.component().unwrap().ends_with("greet/other.wasm"));
        fs::write(at("third.wasm"), "").unwrap();
        assert!(project.component().is_err());
        fs::write(at("greet.wasm"), "").unwrap();
        assert!(project.component().unwrap().ends_with("greet/greet.wasm"));
    }
}
