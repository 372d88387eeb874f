//! Files reserved for the server: no grant leads to them, by whatever path, link or hard link.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{FileId, Opened};
use crate::sync::locked;
use crate::text::Glob;

/// Files and folders that the server reserves for itself, each with a description.
///
/// Their paths are looked up repeatedly, as each may lead to another file by now: a renewed key is a new
/// file. One lookup serves all files opened within 100 ms, so that a guest that opens files in a loop does
/// not cost a system call for each reserved file each time.
#[derive(Debug, Default)]
pub struct Reserved {
    entries: RwLock<Arc<[Entry]>>,
    /// Locked during a lookup, so that concurrent opens wait for its result.
    last_look: Mutex<Option<Arc<Look>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    path: PathBuf,
    what: &'static str,
    names: Names,
}

/// The names that the last part of a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Names {
    /// Itself.
    One,
    /// Those that match it as a pattern.
    Matching,
}

/// Maximum age of a usable lookup.
const LOOK_HOLDS: Duration = Duration::from_millis(100);

/// Seconds by which a file's change time may lag behind the clock: some file systems count in steps of two.
const CHANGE_LAG: i64 = 3;

/// Places where the kernel exposes processes' memory, or devices: reading there would reveal the server's
/// keys.
const OF_THE_KERNEL: [(&str, &str); 3] = [
    ("/proc/self", "the server's own process"),
    ("/dev", "the machine's devices"),
    ("/proc/kcore", "the machine's memory"),
];

impl Reserved {
    /// Reserves these paths, existing or not.
    #[must_use]
    pub fn new(entries: Vec<(PathBuf, &'static str)>) -> Self {
        let entries = entries.into_iter().map(|(path, what)| Entry { path, what, names: Names::One });
        Self { entries: RwLock::new(entries.collect()), last_look: Mutex::default() }
    }

    /// Also reserves the files whose paths match `patterns`, existing or not. In the name of the file, `*`
    /// stands for any characters.
    #[must_use]
    pub fn with_patterns(self, patterns: impl Iterator<Item = (PathBuf, &'static str)>) -> Self {
        let entries = patterns.map(|(path, what)| Entry { path, what, names: Names::Matching });
        self.add(entries.collect());
        self
    }

    /// Reserves the paths of `others` instead.
    pub fn replace(&self, others: &Self) {
        let entries = others.entries();
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    /// Reserves the paths of `others` as well.
    pub fn extend(&self, others: &Self) {
        self.add(others.entries().to_vec());
    }

    fn add(&self, more: Vec<Entry>) {
        let mut all = self.entries().to_vec();
        let known: HashSet<_> = all.iter().cloned().collect();
        all.extend(more.into_iter().filter(|entry| !known.contains(entry)));
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = all.into();
    }

    fn entries(&self) -> Arc<[Entry]> {
        Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a lookup recent enough for `opened`: the last one, or a new one.
    fn look_for(&self, opened: &Opened) -> Arc<Look> {
        let mut last = locked(&self.last_look);
        let entries = self.entries();
        if let Some(look) = &*last
            && Arc::ptr_eq(&look.entries, &entries)
            && look.serves(opened.stat.st_ctime, Instant::now())
        {
            return Arc::clone(look);
        }
        let look = Arc::new(Look::take(entries));
        *last = Some(Arc::clone(&look));
        look
    }

    /// Describes the reserved or kernel object that `opened` is or contains; `None` if it may be read.
    /// Blocks: makes a system call for each folder above, and now and then for each reserved file.
    #[must_use]
    pub fn withholds(&self, opened: &Opened) -> Option<&'static str> {
        let (id, real) = (opened.id(), opened.real_path());
        let look = self.look_for(opened);
        let kept = |id: FileId| look.kept.get(&id).copied();
        let above = || real.ancestors().skip(1).filter_map(FileId::at).find_map(kept);
        let held = || opened.is_folder().then(|| look.around.get(&id).copied()).flatten();
        kept(id).or_else(above).or_else(held).or_else(|| look.matching(real)).or_else(|| of_the_kernel(real))
    }

    /// Like `withholds`, for a path that does not exist yet.
    #[must_use]
    pub fn withholds_missing(&self, path: &Path) -> Option<&'static str> {
        let path = settled(path);
        let entries = self.entries();
        let is_kept = |entry: &&Entry| match entry.pattern() {
            Some((folder, names)) => {
                let named = path.file_name().is_some_and(|name| names.matches(&name.to_string_lossy()));
                named && path.parent() == Some(&settled(folder))
            }
            None => path.starts_with(settled(&entry.path)),
        };
        entries.iter().find(is_kept).map(|entry| entry.what).or_else(|| of_the_kernel(&path))
    }
}

impl Entry {
    /// Returns the folder of a pattern, and the names that it matches there.
    fn pattern(&self) -> Option<(&Path, Glob)> {
        if self.names == Names::One {
            return None;
        }
        let mut names = Glob::default();
        names.push_wild(&self.path.file_name()?.to_string_lossy());
        Some((self.path.parent()?, names))
    }
}

/// Targets of the reserved paths at one moment.
#[derive(Debug)]
struct Look {
    entries: Arc<[Entry]>,
    began: Instant,
    /// Wall-clock time of `began`, in seconds.
    began_at: i64,
    /// The reserved files and folders that existed.
    kept: HashMap<FileId, &'static str>,
    /// Folders above them, and above those that do not exist yet.
    around: HashMap<FileId, &'static str>,
    /// Folders of patterns, and the names that match there.
    patterns: Vec<(FileId, Glob, &'static str)>,
}

impl Look {
    fn take(entries: Arc<[Entry]>) -> Self {
        let (began, began_at) = (Instant::now(), seconds(SystemTime::now()));
        let (mut kept, mut around) = (HashMap::new(), HashMap::new());
        // Most are siblings, so look up each folder once.
        let mut seen = HashSet::new();
        let mut note_above = |folder: &Path, what| {
            if !seen.insert(folder.to_owned()) {
                return;
            }
            for above in settled(folder).ancestors().filter_map(FileId::at) {
                around.entry(above).or_insert(what);
            }
        };
        let mut patterns = Vec::new();
        for entry in entries.iter() {
            let Entry { path, what, .. } = entry;
            let what = *what;
            let pattern = entry.pattern();
            patterns.extend(
                pattern.and_then(|(folder, names)| Some((FileId::at(&settled(folder))?, names, what))),
            );
            if let Some(id) = FileId::at(path) {
                kept.entry(id).or_insert(what);
            }
            // The folder of the name, and that of its target.
            path.parent().into_iter().for_each(|folder| note_above(folder, what));
            if path.is_symlink() {
                settled(path).parent().into_iter().for_each(|folder| note_above(folder, what));
            }
        }
        Self { entries, began, began_at, kept, around, patterns }
    }

    /// Describes the pattern that the path `real`, without links, matches.
    fn matching(&self, real: &Path) -> Option<&'static str> {
        if self.patterns.is_empty() {
            return None;
        }
        let (folder, name) = (FileId::at(real.parent()?)?, real.file_name()?.to_string_lossy());
        let found = self.patterns.iter().find(|(at, names, _)| *at == folder && names.matches(&name));
        found.map(|(_, _, what)| *what)
    }

    /// Returns true if this lookup is valid for a file last changed at `changed`, in wall-clock seconds.
    /// Renaming or linking a file changes it, so a renewed key causes a new lookup, however recent the last
    /// one is.
    ///
    /// Two cases are detected up to [`LOOK_HOLDS`] late: a link redirected to an older file, which was
    /// readable until then, and a key on a file server whose clock is seconds behind.
    fn serves(&self, changed: i64, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < LOOK_HOLDS
            && changed < self.began_at.saturating_sub(CHANGE_LAG)
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `path` without links, as far as it exists.
fn settled(path: &Path) -> PathBuf {
    // The folder of a name alone.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn look(began_at: i64) -> Look {
        Look { began_at, ..Look::take(Vec::new().into()) }
    }

    #[test]
    fn a_look_serves_for_a_moment_and_for_what_did_not_change_since() {
        let look = look(1_000);
        for (changed, millis, serves) in [
            (0, 0, true),
            (996, 99, true),
            (996, 100, false),
            (997, 0, false),
            (1_000, 0, false),
            (2_000, 0, false),
            (i64::MAX, 0, false),
        ] {
            assert_eq!(
                look.serves(changed, look.began + Duration::from_millis(millis)),
                serves,
                "{changed} {millis}"
            );
        }
    }

    #[test]
    fn many_openings_share_a_look_until_other_files_are_reserved() {
        let reserved = Reserved::new(vec![("/nowhere/key".into(), "a key")]);
        // Not changed within the last seconds.
        let old = Opened::folder(Path::new("/sys")).unwrap();
        assert!(old.stat.st_ctime < seconds(SystemTime::now()) - CHANGE_LAG);
        let is_shared = || Arc::ptr_eq(&reserved.look_for(&old), &reserved.look_for(&old));
        assert!((0..100).any(|_| is_shared()));
        let before = reserved.look_for(&old);
        reserved.replace(&Reserved::new(vec![("/sys".into(), "the system")]));
        assert!(!Arc::ptr_eq(&before, &reserved.look_for(&old)));
        assert_eq!(reserved.withholds(&old), Some("the system"));
    }

    #[test]
    fn the_folder_of_a_name_alone_holds_it() {
        let reserved = Reserved::new(vec![("Cargo.toml".into(), "the manifest")]);
        assert_eq!(reserved.withholds(&Opened::folder(Path::new(".")).unwrap()), Some("the manifest"));
        assert_eq!(reserved.withholds(&Opened::folder(Path::new("src")).unwrap()), None);
    }
}
