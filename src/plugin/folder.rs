//! A folder of the server's alone, and files that are written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{Fault, Opened};

/// What a file that is being written ends in.
pub(super) const TEMPORARY: &str = "tmp";

/// Makes the folder where it is missing, and wants that it is the server's alone. The log tells of a folder above in which
/// others could put another in its place.
pub(super) fn open_private(folder: &Path) -> io::Result<()> {
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

/// Such a folder, looked at anew. Whoever owns a folder above may have put another one in its place since, or a link.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self(own_folder(folder)?.into_descriptor()))
    }

    /// A path that leads to this folder, whatever is put in its place meanwhile.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Opens a file of such a folder: one that the server made, and nobody else can have changed.
pub(super) fn open_own(path: &Path) -> Result<Opened, Fault> {
    Opened::file(path).and_then(Opened::own)
}

/// A file for the server's user alone that is being written, and is gone with this value unless it is kept.
#[derive(Debug)]
pub(super) struct Unkept {
    temporary: PathBuf,
    path: PathBuf,
    is_kept: bool,
    /// Where both are.
    _folder: Held,
}

impl Unkept {
    /// Makes the file, which is to be `path`.
    pub(super) fn begin(path: &Path) -> io::Result<(Self, File)> {
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
        // Left over from a process of the same number that was killed.
        let _ = fs::remove_file(&temporary);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok((Self { temporary, path, is_kept: false, _folder: folder }, file))
    }

    /// Puts the file, which is whole now, in the place of what is there. Never waits for the disk: on a busy one that takes half a
    /// minute, in which no plugin would start. What a power cut leaves of an entry of the cache does not have its hash.
    pub(super) fn keep(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may not even be there.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file for the server's user alone, in the place of what is there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (unkept, mut file) = Unkept::begin(path)?;
    file.write_all(bytes)?;
    drop(file);
    unkept.keep()
}
