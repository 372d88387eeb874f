//! A folder of the server's alone, and files that are written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a file that is being written ends in.
pub(super) const TEMPORARY: &str = "tmp";

/// Makes the folder where it is missing, and wants that it is the server's alone.
pub(super) fn open_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::symlink_metadata(folder)?;
    let of_others = metadata.mode() & 0o022 != 0;
    if !metadata.is_dir() || of_others || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(
            "it must be a folder that belongs to the server's user, and that nobody else may write to (chmod 700)",
        ));
    }
    Ok(())
}

/// Writes a file for the server's user alone, in the place of what is there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{TEMPORARY}", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over from a process of the same number that was killed.
    let _ = fs::remove_file(path);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
