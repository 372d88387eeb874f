//! Core dumps: what an instance's memory and stack held as it trapped, in files for a debugger.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;

use super::call::Call;
use super::folder::{Held, open_private, write_whole};
use super::load::Plugin;
use super::warm::Warm;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;

/// Dumps that are kept. One may have as many bytes as its plugin's memory.
const MAX_DUMPS: usize = 16;

/// What core dumps' names end in.
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

/// Writes the core dump that is in `error`, where the server keeps them: `call` broke off in `instance` by it.
///
/// It takes its time, tenths of a second for a large memory, so it is done aside, on a thread that serves nobody, and
/// the call is answered meanwhile. The instance is kept until then, so there is one at a time: traps in a row leave
/// fewer dumps than there were traps.
pub(super) fn keep(plugin: &Plugin, call: &Call, instance: Warm, error: wasmtime::Error) {
    let Some(dumps) = plugin.sandbox().dumps() else { return };
    let debug = Arc::clone(&plugin.debug);
    let (plugin, client, request) = (plugin.name().to_owned(), call.caller.name_shared(), call.id());
    if dumps.is_writing.swap(true, Ordering::Acquire) {
        tracing::info!(target: "lictor::plugin", plugin, client = &*client, %request, "no core dump: another is being written");
        return;
    }
    let writing = Writing(Arc::clone(dumps));
    tokio::task::spawn_blocking(move || {
        let Some(dump) = instance.into_core_dump(&error, &plugin, debug.places()) else { return };
        let name = file_name(&plugin, &request.to_string(), Timestamp::now());
        let kept = writing.0.keep(&name, &dump);
        // Whoever reads that there is a dump may make the next one.
        drop(writing);
        match kept {
            Ok(path) => {
                let (path, bytes) = (path.display(), dump.len());
                tracing::warn!(target: "lictor::plugin", plugin, client = &*client, %request, %path, bytes, "core dump");
            }
            Err(error) => {
                tracing::error!(
                    name: LASTING, target: "lictor::plugin", plugin, client = &*client, %request, %error,
                    "no core dump"
                )
            }
        }
    });
}

/// The one dump that is being written; however that ends, there may be another.
struct Writing(Arc<Dumps>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.is_writing.store(false, Ordering::Release);
    }
}

/// The name of a dump without its extension. A plugin's name has letters, digits, `.`, `_` and `-`; the extension is
/// added after the whole.
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
