//! Disks that the server writes to: their space, and the right to write there.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::io::Errno;

use super::finding::Finding;
use crate::app::state;
use crate::config::Config;
use crate::units::size;

const SUBJECT: &str = "disk";

/// Free space below which writes are about to fail.
const LEAST: u64 = 16 << 20;

/// Free space below which somebody should make room.
const FEW: u64 = 256 << 20;

/// Examines each place that the server writes to.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let state = state::file(config).map(|path| ("the state", path.to_owned()));
    let folders =
        [("compiled plugins", Some(&config.server.cache)), ("core dumps", config.server.core_dumps.as_ref())];
    let folders = folders.into_iter().filter_map(|(what, path)| Some((what, path?.join("any"))));
    state.into_iter().chain(folders).map(|(what, path)| place(what, &path)).collect()
}

/// Examines the place of a file, which need not exist, nor its folder.
fn place(what: &str, file: &Path) -> Finding {
    let folder = existing(file);
    let shown = folder.display();
    let advice = "make it writable for the server's user, or name another place in the config";
    if let Some(fault) = denied(file).or_else(|| denied(&folder)) {
        return Finding::fault(SUBJECT, format!("{what} cannot be written in {shown}: {fault}")).help(advice);
    }
    let space = match statvfs(&folder) {
        Ok(space) => space,
        Err(error) => return Finding::fault(SUBJECT, format!("{shown}, for {what}: {error}")),
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let words = format!("{shown}, for {what}, has {} free", size(free >> 20 << 20));
    let help = format!("make room: `df -h {shown}` shows the disk");
    if space.f_files > 0 && space.f_favail == 0 {
        let words = format!("{shown}, for {what}, is on a disk that takes no more files");
        return Finding::fault(SUBJECT, words).help(format!("`df -i {shown}` shows them"));
    }
    match free {
        ..LEAST => Finding::fault(SUBJECT, words).help(help),
        LEAST..FEW => Finding::warning(SUBJECT, words).help(help),
        FEW.. => Finding::good(SUBJECT, words),
    }
}

/// Returns the folder of a file, or the nearest above it that exists.
fn existing(file: &Path) -> PathBuf {
    let above = file.ancestors().skip(1).find(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    let above = above.filter(|folder| !folder.as_os_str().is_empty());
    above.unwrap_or(Path::new(".")).to_owned()
}

/// Returns the reason why this user may not write to a path, if it exists.
fn denied(path: &Path) -> Option<Errno> {
    let wanted = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    accessat(CWD, path, wanted, AtFlags::EACCESS).err().filter(|error| *error != Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::finding::Verdict;

    #[test]
    fn the_place_of_a_file_that_is_not_there_is_examined() {
        let folder = tempfile::tempdir().unwrap();
        let (real, deep) = (folder.path(), folder.path().join("a/b/state.db"));
        assert_eq!(existing(&deep), real);
        assert_eq!(existing(Path::new("state.db")), Path::new("."));
        let found = place("the state", &deep);
        assert_ne!(found.verdict, Verdict::Fault, "{found:?}");
        assert!(found.what.contains(" free"), "{found:?}");
    }
}
