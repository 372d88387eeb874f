//! The server's private folder, and files that are written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{Fault, Opened};

/// Ending of a file that is being written.
pub(in crate::plugin) const TEMPORARY: &str = "tmp";

/// Makes the folder if it is missing, and checks that it is the server's alone. Logs a folder above it in
/// which others could replace it.
pub(in crate::plugin) fn open_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for fault in own_folder(folder)?.warnings() {
        let (path, fault) = (folder.display(), fault.to_string());
        tracing::warn!(target: "lictor::plugin", %path, fault, "others can replace a folder of the server's");
    }
    Ok(())
}

fn own_folder(folder: &Path) -> io::Result<Opened> {
    Opened::folder(folder).and_then(Opened::own).map_err(io::Error::other)
}

/// Such a folder, checked anew. The owner of a folder above may have replaced it since, by another or by a
/// link.
#[derive(Debug)]
pub(in crate::plugin) struct Held(File);

impl Held {
    pub(in crate::plugin) fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self(own_folder(folder)?.into_descriptor()))
    }

    /// Returns a path that leads to this folder, whatever replaces it meanwhile.
    pub(in crate::plugin) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Opens a file of such a folder: the server made it, and nobody else can have changed it.
pub(in crate::plugin) fn open_own(path: &Path) -> Result<Opened, Fault> {
    Opened::file(path).and_then(Opened::own)
}

/// A file for the server's user alone, being written; removed when dropped, unless it is kept.
#[derive(Debug)]
pub(in crate::plugin) struct Unkept {
    temporary: PathBuf,
    path: PathBuf,
    is_kept: bool,
    /// The folder of both paths, held open.
    _folder: Held,
}

impl Unkept {
    /// Makes the file, which is to become `path`.
    pub(in crate::plugin) fn begin(path: &Path) -> io::Result<(Self, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = Held::of(folder)?;
        let path = folder.path().join(name);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{number}.{TEMPORARY}", std::process::id()));
        let temporary = PathBuf::from(name);
        // Left over from a killed process with the same number.
        let _ = fs::remove_file(&temporary);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok((Self { temporary, path, is_kept: false, _folder: folder }, file))
    }

    /// Renames the file, now complete, over the existing one. Never waits for the disk: on a busy one that
    /// takes half a minute, in which no plugin would start. A power cut can leave an incomplete cache entry,
    /// whose hash then does not match.
    pub(in crate::plugin) fn keep(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        if !self.is_kept {
            // The file may not exist.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file for the server's user alone, replacing the existing one.
pub(in crate::plugin) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (unkept, mut file) = Unkept::begin(path)?;
    file.write_all(bytes)?;
    drop(file);
    unkept.keep()
}
