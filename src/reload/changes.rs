//! Detects files that differ from when they were read, and decides when to act on that. Pure.
//!
//! A file may be in the middle of being written, and several files may be written one after the other. So a
//! change counts once the file has been stable for a while, which is short if its writer is known to have
//! closed it. Neither a file that changes without end nor a series of them delays the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::files::{Sightings, Stamp};

/// Time for which a file must be stable before it counts as written.
const STANDS: Duration = Duration::from_secs(1);

/// The same for a file whose writer has closed it, or that was moved into place: another file may be about to
/// follow.
const CLOSED: Duration = Duration::from_millis(200);

/// Maximum time, from the first change, for which a stable file waits for others still being written. Even
/// with [`STANDS`] and the interval of looks the delay stays below two seconds.
const WAITS: Duration = Duration::from_millis(1500);

/// Maximum delay of a change if no file becomes stable.
const RESTLESS: Duration = Duration::from_secs(5);

/// The files that are watched.
#[derive(Debug, Default)]
pub(super) struct Changes {
    files: BTreeMap<PathBuf, File>,
    /// Time of the first difference.
    since: Option<Instant>,
}

#[derive(Debug)]
struct File {
    read: Stamp,
    seen: Stamp,
    /// Time of the last observed change.
    since: Instant,
    is_closed: bool,
}

impl File {
    fn is_changed(&self) -> bool {
        self.read != self.seen
    }

    /// Time from which the file counts as written, if it does not change until then.
    fn counts(&self) -> Instant {
        self.since + if self.is_closed { CLOSED } else { STANDS }
    }
}

impl Changes {
    /// Watches the files of `read`, which have since been read, and no others. Earlier observations of a file
    /// are kept: it may have changed while being read.
    pub(super) fn follow(&mut self, read: Sightings, now: Instant) {
        let mut known = std::mem::take(&mut self.files);
        let files = read.into_iter().map(|(path, read)| {
            let file = match known.remove(&path) {
                Some(file) => File { read, ..file },
                None => File { read, seen: read, since: now, is_closed: false },
            };
            (path, file)
        });
        self.files = files.collect();
        self.since = None;
    }

    /// Treats all files as read.
    pub(super) fn forget(&mut self) {
        self.files.values_mut().for_each(|file| file.read = file.seen);
        self.since = None;
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Checks all files by `look`. `is_closed` names those closed by their writers.
    pub(super) fn look(
        &mut self,
        look: impl Fn(&Path, Stamp) -> Stamp,
        is_closed: impl Fn(&Path) -> bool,
        now: Instant,
    ) {
        for (path, file) in &mut self.files {
            let seen = look(path, file.seen);
            if seen != file.seen {
                (file.seen, file.since, file.is_closed) = (seen, now, false);
            }
            file.is_closed |= seen.is_of_entries() || is_closed(path);
        }
        let is_any = self.files.values().any(File::is_changed);
        self.since = is_any.then(|| self.since.unwrap_or(now));
    }

    /// Time at which to act on the changes, if nothing happens until then; `None` without changes.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.since?;
        let counts = || self.files.values().filter(|file| file.is_changed()).map(File::counts);
        let (first, all) = (counts().min()?, counts().max()?);
        Some(all.min(first.max(since + WAITS)).min(since + RESTLESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Matters;

    /// Writes to either file: time, file, closed or not.
    type Writes = Vec<(u64, &'static str, bool)>;

    /// Time at which changes are acted on if two files are written, and perhaps closed, at these times, in ms
    /// from the beginning.
    fn acted_on(writes: &[(u64, &str, bool)]) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let mut sightings = Sightings::default();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), "").unwrap();
            sightings.note(&folder.path().join(name), Matters::Content);
        }
        let begin = Instant::now();
        let mut files = Changes::default();
        files.follow(sightings, begin);
        (0..10_000).step_by(100).find(|millis| {
            let writes = || writes.iter().filter(|(at, ..)| at == millis);
            writes().for_each(|(at, name, _)| {
                std::fs::write(folder.path().join(name), at.to_string()).unwrap();
            });
            let is_closed =
                |path: &Path| writes().any(|(_, name, is_closed)| path.ends_with(name) && *is_closed);
            let now = begin + Duration::from_millis(*millis);
            files.look(|path, stamp| stamp.again(path), is_closed, now);
            files.due().is_some_and(|due| due <= now)
        })
    }

    #[test]
    fn a_file_counts_once_it_is_written_and_no_file_holds_up_another() {
        let without_end = |name| (0..10_000).step_by(100).map(move |at| (at, name, false));
        let several = |name| (300..2500).step_by(500).map(move |at| (at, name, false));
        let cases: [(&str, Writes, Option<u64>); 8] = [
            ("nothing", vec![], None),
            ("one that stands still", vec![(500, "a", false)], Some(1500)),
            ("one that is closed", vec![(500, "a", true)], Some(700)),
            ("one that is written in pieces", several("a").collect(), Some(3300)),
            ("one that never stands still", without_end("a").collect(), Some(5000)),
            ("two, one after the other", vec![(500, "a", true), (600, "b", true)], Some(800)),
            (
                "a closed one beside one that is being written",
                several("a").chain([(400, "b", true)]).collect(),
                Some(1800),
            ),
            (
                "a closed one beside a restless one",
                without_end("a").chain([(3000, "b", true)]).collect(),
                Some(3200),
            ),
        ];
        for (what, writes, expected) in cases {
            assert_eq!(acted_on(&writes), expected, "{what}");
        }
    }
}
