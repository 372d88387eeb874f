//! Files that this program creates. Each is new, so its content and mode are the program's; and the way to it
//! follows no stranger's link, so no other user chooses its location.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::Opened;
use super::fault::{Fault, Reason};
use super::walk::walk;

/// Resolves the location of a new file: its folder without links, and its name.
///
/// # Errors
///
/// The path has no name, there is no such folder, or the way leads over a stranger's link.
pub fn place(path: &Path) -> Result<PathBuf, Fault> {
    let Some(name) = path.file_name() else { return Err(Fault::new(path, Reason::NotPlain)) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(walk(folder)?.real.join(name))
}

/// Creates the file `path` with `bytes`, and `mode` as far as the umask allows. The name appears once the
/// file is complete: after a full disk or a power failure no partial file has it.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if the name is taken; otherwise as [`place`], or the file cannot be
/// written.
pub fn make(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    make_ready(path, mode, bytes, |_| Ok(()))
}

/// [`make`] for a file that gets the mode, owner and group of the file `like`: readers of that can read the
/// new one.
///
/// # Errors
///
/// As for [`make`]; also if `like` can't be opened, or the new file cannot be given its owner.
pub fn make_alike(path: &Path, like: &Path, bytes: &[u8]) -> io::Result<()> {
    let like = Opened::file(like).map_err(in_words)?;
    make_ready(path, 0o600, bytes, |new| resemble(new, &like))
}

/// Creates the file `path` once `ready` has run on it.
fn make_ready(
    path: &Path,
    mode: u32,
    bytes: &[u8],
    ready: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let path = place(path).map_err(in_words)?;
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let temporary = write_beside(&path, mode, bytes)?;
    let named = ready(&temporary).and_then(|()| name_new(&temporary, &path));
    named.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_folder(&path)
}

/// Renames a file to `path`, which must not exist.
fn name_new(temporary: &Path, path: &Path) -> io::Result<()> {
    let (from, to) = ((CWD, temporary), (CWD, path));
    match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        // File systems without a rename that does not replace, such as NFS, have hard links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(temporary, path).and_then(|()| fs::remove_file(temporary))
        }
        renamed => Ok(renamed?),
    }
}

/// Syncs the folder, so that the name of a new file is on disk, if the folder can be opened and its file
/// system supports that.
fn sync_folder(path: &Path) -> io::Result<()> {
    let Ok(folder) = Opened::folder(path.parent().unwrap_or(Path::new("/"))) else { return Ok(()) };
    folder.descriptor().sync_all().or_else(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    })
}

/// Writes a file for `target` under a unique name in the same folder.
fn write_beside(target: &Path, mode: u32, bytes: &[u8]) -> io::Result<PathBuf> {
    let process = std::process::id();
    // A killed process with the same number may have left one.
    for number in 0..100 {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{process}.{number}.new"));
        let path = target.with_file_name(name);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        return written.map(|()| path.clone()).inspect_err(|_| drop(fs::remove_file(&path)));
    }
    Err(io::Error::other(format!("files that end in .{process}.NUMBER.new are in the way; remove them")))
}

/// Creates the file and replaces `path` atomically: a reader sees all of the old or all of the new. A link of
/// this user or root stays (people keep such files elsewhere); its target is replaced.
///
/// # Errors
///
/// `path` is not a plain file, the way leads over a stranger's link, or the file cannot be written.
pub fn put(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let target = match walk(path) {
        Ok(way) if FileType::from_raw_mode(way.stat.st_mode) == FileType::RegularFile => way.real,
        Ok(_) => return Err(in_words(Fault::new(path, Reason::NotPlain))),
        Err(fault) if fault.is_missing() => place(path).map_err(in_words)?,
        Err(fault) => return Err(in_words(fault)),
    };
    put_at(&target, mode, bytes, |_| Ok(()))
}

/// [`put`] for an existing file whose content is `old`, and which keeps its mode, owner and group: readers of
/// the old file can read the new one.
///
/// # Errors
///
/// As for [`put`]; also if the file has changed, if another process is replacing it in this way, or if the
/// new file cannot be given the old one's owner.
pub fn put_alike(path: &Path, old: &[u8], bytes: &[u8]) -> io::Result<()> {
    let opened = locked(path, old)?;
    put_at(&opened.real, 0o600, bytes, |new| resemble(new, &opened))
}

/// Removes the file at `path`, whose content is `old`.
///
/// # Errors
///
/// The file has changed, another process is replacing it, or it can't be removed.
pub fn remove_unchanged(path: &Path, old: &[u8]) -> io::Result<()> {
    let _opened = locked(path, old)?;
    fs::remove_file(path)?;
    sync_folder(path)
}

/// Opens the file at `path`, whose content is `old`, and locks it against others that replace it in this way.
fn locked(path: &Path, old: &[u8]) -> io::Result<Opened> {
    let opened = Opened::file(path).map_err(in_words)?;
    // Held until the new file has the name, so that of two processes the second sees the first one's file.
    flock(&opened, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => io::Error::other("another program is changing it"),
        error => error.into(),
    })?;
    let is_in_place = Opened::unread(path).is_ok_and(|now| now.id() == opened.id());
    if !is_in_place || opened.bytes(old.len() as u64).ok().as_deref() != Some(old) {
        return Err(io::Error::other("it has changed meanwhile"));
    }
    Ok(opened)
}

/// Gives the file at `new` the owner, group and mode of another.
fn resemble(new: &Path, other: &Opened) -> io::Result<()> {
    let (owner, group) = (other.stat.st_uid, other.stat.st_gid);
    let made = new.metadata()?;
    if (made.uid(), made.gid()) != (owner, group) {
        chown(new, Some(owner), Some(group))?;
    }
    fs::set_permissions(new, Permissions::from_mode(other.mode()))
}

/// Writes a file beside `target`, runs `ready` on it, and renames it; the name is on disk afterwards.
fn put_at(
    target: &Path,
    mode: u32,
    bytes: &[u8],
    ready: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = write_beside(target, mode, bytes)?;
    let renamed = ready(&temporary).and_then(|()| fs::rename(&temporary, target));
    renamed.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_folder(target)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn in_words(fault: Fault) -> io::Error {
    io::Error::other(fault.what())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    const STRANGER: Option<u32> = Some(65534);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_keeps_its_link_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        put(&link, 0o600, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(mode(&file), 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_is_edited_only_as_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        for other in ["ol", "", "olde", "OLD"] {
            let error = put_alike(&link, other.as_bytes(), b"new").unwrap_err();
            assert_eq!(error.to_string(), "it has changed meanwhile", "{other}");
        }
        let other = fs::File::open(&file).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        let error = put_alike(&link, b"old", b"new").unwrap_err();
        assert_eq!(error.to_string(), "another program is changing it");
        assert_eq!(fs::read(&file).unwrap(), b"old");
        drop(other);

        put_alike(&link, b"old", b"new").unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"new".to_vec(), 0o640));
        let made = folder.path().join("made");
        make_alike(&made, &link, b"text").unwrap();
        assert_eq!((fs::read(&made).unwrap(), mode(&made)), (b"text".to_vec(), 0o640));
        assert_eq!(make_alike(&made, &link, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(remove_unchanged(&made, b"tex").unwrap_err().to_string(), "it has changed meanwhile");
        remove_unchanged(&made, b"text").unwrap();
        assert!(!made.exists());

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
            put(path, 0o600, b"new").unwrap_err();
        }
        assert_eq!(make(folder.path(), 0o600, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_that_can_not_be_written_whole_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        make(&at("whole"), 0o600, b"bytes").unwrap();
        assert_eq!(make(&at("whole"), 0o600, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(at("whole")).unwrap(), b"bytes");
        // Left by a process with the same number.
        let left = at(&format!("next.{}.0.new", std::process::id()));
        fs::write(&left, "half").unwrap();
        make(&at("next"), 0o600, b"bytes").unwrap();
        assert_eq!(
            (fs::read(at("next")).unwrap(), fs::read(&left).unwrap()),
            (b"bytes".to_vec(), b"half".to_vec())
        );
        symlink(at("nowhere"), at("dangling")).unwrap();
        assert_eq!(make(&at("dangling"), 0o600, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn nothing_is_written_through_a_strangers_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), "old").unwrap();
        for (link, to) in [("link", "inner/file"), ("dangling", "inner/new"), ("folder", "inner")] {
            symlink(at(to), at(link)).unwrap();
            if lchown(at(link), STRANGER, None).is_err() {
                println!("SKIPPED: root alone gives files away");
                return;
            }
        }
        for path in ["link", "dangling", "folder/file", "folder/new"] {
            put(&at(path), 0o600, b"new").unwrap_err();
            make(&at(path), 0o600, b"new").unwrap_err();
        }
        assert_eq!(fs::read(at("inner/file")).unwrap(), b"old");
        assert_eq!(fs::read_dir(at("inner")).unwrap().count(), 1);
    }
}
