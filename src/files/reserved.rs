//! Files that the server keeps for itself, so that no grant leads to them: by whatever path, link or hard
//! link.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{FileId, Opened};

/// Files and folders that the server keeps for itself, each with words for what it is.
///
/// They are looked up anew for each answer, as they may have been replaced since: a key is when it is
/// renewed.
#[derive(Debug, Default)]
pub struct Reserved(RwLock<Arc<[Entry]>>);

type Entry = (PathBuf, &'static str);

/// Places where the kernel shows the memory of processes, or devices: whoever reads there reads the server's
/// keys.
const OF_THE_KERNEL: [(&str, &str); 3] = [
    ("/proc/self", "the server's own process"),
    ("/dev", "the machine's devices"),
    ("/proc/kcore", "the machine's memory"),
];

impl Reserved {
    /// Reserves these, be they there or not.
    #[must_use]
    pub fn new(entries: Vec<(PathBuf, &'static str)>) -> Self {
        Self(RwLock::new(entries.into()))
    }

    /// Reserves those of `others` instead.
    pub fn replace(&self, others: &Self) {
        let entries = others.entries();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    /// Reserves those of `others` as well.
    pub fn extend(&self, others: &Self) {
        let (mut all, more) = (self.entries().to_vec(), others.entries());
        let new = more.iter().filter(|entry| !all.contains(entry)).cloned().collect::<Vec<_>>();
        all.extend(new);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all.into();
    }

    fn entries(&self) -> Arc<[Entry]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Words for what `opened` is or holds of the server's or the kernel's own things; nothing where it may
    /// be read.
    #[must_use]
    pub fn withholds(&self, opened: &Opened) -> Option<&'static str> {
        let (id, real) = (opened.id(), opened.real_path());
        let above: Vec<_> = real.ancestors().skip(1).filter_map(FileId::at).collect();
        let entries = self.entries();
        let is_in = |kept: FileId| kept == id || above.contains(&kept);
        let found = entries.iter().find(|(path, _)| FileId::at(path).is_some_and(is_in));
        let held = || opened.is_folder().then(|| held_in(id, &entries)).flatten();
        found.map(|(_, what)| *what).or_else(held).or_else(|| of_the_kernel(real))
    }

    /// The same of a path at which there is nothing yet.
    #[must_use]
    pub fn withholds_missing(&self, path: &Path) -> Option<&'static str> {
        let path = settled(path);
        let entries = self.entries();
        let found = entries.iter().find(|(kept, _)| path.starts_with(settled(kept)));
        found.map(|(_, what)| *what).or_else(|| of_the_kernel(&path))
    }
}

/// What of `entries` is, or will be once it is there, somewhere in the folder `id`. Most lie side by side,
/// and each instance asks that has a folder: so each folder is looked at once.
fn held_in(id: FileId, entries: &[Entry]) -> Option<&'static str> {
    let is_below = |folder: &Path| settled(folder).ancestors().any(|above| FileId::at(above) == Some(id));
    let mut seen = Vec::new();
    let mut is_new_and_below = |folder: &Path| {
        let is_new = !seen.iter().any(|seen| seen == folder);
        seen.extend(is_new.then(|| folder.to_owned()));
        is_new && is_below(folder)
    };
    let found = entries.iter().find(|(path, _)| {
        // The folder of the name, and that of what the name leads to.
        path.parent().is_some_and(&mut is_new_and_below)
            || (path.is_symlink() && settled(path).parent().is_some_and(&mut is_new_and_below))
    });
    found.map(|(_, what)| *what)
}

/// `path` without links, as far as it is there.
fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    real.unwrap_or(path)
}

fn of_the_kernel(real: &Path) -> Option<&'static str> {
    let touches = |kept: &Path| real.starts_with(kept) || kept.starts_with(real);
    let found = OF_THE_KERNEL.iter().find(|(kept, _)| touches(Path::new(kept)));
    let of_a_process = || {
        let mut parts = real.strip_prefix("/proc").ok()?.components();
        let number = parts.next()?.as_os_str().to_str()?;
        let is_own = number.parse() == Ok(std::process::id());
        let what = if is_own { "the server's own process" } else { "a process" };
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(what)
    };
    found.map(|(_, what)| *what).or_else(of_a_process)
}
