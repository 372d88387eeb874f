//! Core dumps: the memory and stack of instances that trapped, in files for a debugger.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;

use super::load::folder::{Held, open_private, write_whole};
use crate::telemetry::metrics::Counter;

/// Most dumps that are kept. One may have as many bytes as its plugin's memory.
const MAX_DUMPS: usize = 16;

/// Extension of core dumps.
const EXTENSION: &str = "core";

/// A folder of core dumps.
#[derive(Debug)]
pub(super) struct Dumps {
    folder: PathBuf,
    is_writing: AtomicBool,
}

impl Dumps {
    /// Opens the folder, or makes it.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        open_private(folder)?;
        Ok(Self { folder: folder.to_owned(), is_writing: AtomicBool::new(false) })
    }

    /// Begins to write a dump, unless another is being written.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Writing> {
        let is_free = !self.is_writing.swap(true, Ordering::Acquire);
        is_free.then(|| Writing(Arc::clone(self)))
    }

    fn keep(&self, name: &str, dump: &[u8]) -> io::Result<PathBuf> {
        let path = self.folder.join(name).with_extension(EXTENSION);
        write_whole(&path, dump)?;
        self.remove_oldest()?;
        Ok(path)
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut dumps: Vec<(SystemTime, PathBuf)> = Vec::new();
        let folder = Held::of(&self.folder)?;
        for entry in fs::read_dir(folder.path())? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
                dumps.push((metadata.modified()?, path));
            }
        }
        dumps.sort();
        let surplus = dumps.len().saturating_sub(MAX_DUMPS);
        for (_, path) in &dumps[..surplus] {
            fs::remove_file(path)?;
            Counter::DumpsRemoved.count();
        }
        Ok(())
    }
}

/// The dump that is being written; the next may begin once this is dropped.
pub(super) struct Writing(Arc<Dumps>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.is_writing.store(false, Ordering::Release);
    }
}

impl Writing {
    /// Writes `dump` of a `request` to `plugin`, and removes the oldest ones.
    pub(super) fn finish(self, plugin: &str, request: &str, dump: &[u8]) -> io::Result<PathBuf> {
        self.0.keep(&file_name(plugin, request, Timestamp::now()), dump)
    }
}

/// The name of a dump without its extension. A plugin's name has letters, digits, `.`, `_` and `-`; the
/// extension is added after the whole.
fn file_name(plugin: &str, request: &str, at: Timestamp) -> String {
    // The last dot is not of the name: what follows a name's last dot would be taken for its extension.
    format!("{plugin}-{request}-{}.", at.strftime("%Y%m%dT%H%M%S%3f"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let dumps = Dumps::open(&folder.path().join("dumps")).unwrap();
        assert_eq!(fs::metadata(&dumps.folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dumps.folder.join("notes.txt"), "mine").unwrap();
        let mut paths = Vec::new();
        for number in 0..MAX_DUMPS + 4 {
            let path = dumps.keep(&format!("p-c1-{number}."), b"\0asm").unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            fs::File::open(&path).unwrap().set_modified(at).unwrap();
            paths.push(path);
        }
        dumps.remove_oldest().unwrap();
        let there: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(there, [vec![false; 4], vec![true; MAX_DUMPS]].concat());
        assert!(dumps.folder.join("notes.txt").exists());
        assert_eq!(fs::metadata(paths.last().unwrap()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// By whoever owns a folder above.
    #[test]
    fn a_folder_that_was_swapped_is_not_used() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("dumps");
        let dumps = Dumps::open(&folder).unwrap();
        dumps.keep("p-c1-1.", b"\0asm").unwrap();
        fs::rename(&folder, above.path().join("away")).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(dumps.keep("p-c1-2.", b"\0asm").is_err() && dumps.remove_oldest().is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_name_tells_plugin_request_and_time() {
        let at: Timestamp = "2026-11-23T03:04:05.678Z".parse().unwrap();
        let path = Path::new("d").join(file_name("a.b", "c12-3", at)).with_extension(EXTENSION);
        assert_eq!(path, Path::new("d/a.b-c12-3-20261123T030405678.core"));
    }
}
