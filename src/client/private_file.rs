//! Files that only their owner may read: keys, and the list of trusted servers.
//!
//! The mode is set on creation: a file restricted afterwards can be opened in between.

use std::fs;
use std::io;
use std::path::Path;

use crate::files;

/// Mode of files for their owner alone.
const MODE: u32 = 0o600;

/// Creates `path` with `bytes`, or fails with [`io::ErrorKind::AlreadyExists`]; does not follow a link at
/// `path`.
pub(crate) fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::make(path, MODE, bytes)
}

/// Replaces `path` by `bytes` atomically.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::put(path, MODE, bytes)
}

/// Creates a folder, and its missing parents, for the owner alone; leaves an existing folder unchanged.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_folders_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        create_folder(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        create_new(&inner.join("key"), b"secret").unwrap();
        assert_eq!(mode(&inner.join("key")), 0o600);
        let again = create_new(&inner.join("key"), b"other").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(inner.join("key")).unwrap(), b"secret");
    }
}
