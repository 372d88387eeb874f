//! The file of the record, `usage.json`: read at the start, and replaced whole.
//!
//! It holds nothing that the server needs. So a file that can't be used is set aside, and one that can't be
//! written is logged: the server goes on.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::config::set_aside;
use crate::files::{self, Opened};

/// The form of the file that this version reads and writes.
const VERSION: u32 = 1;

/// The largest file. The largest config has fewer entries than fit.
const MAX_BYTES: u64 = 256 << 20;

/// The content of the file. Times are minutes since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// The last minute in which the server surely ran.
    pub(super) alive: u32,
    pub(super) pauses: Vec<Pause>,
    pub(super) entries: Entries,
}

/// Entries by their lists and texts.
type Entries = BTreeMap<String, BTreeMap<String, Row>>;

/// An entry's observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Its beginning.
    pub(super) since: u32,
    /// The last use since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<u32>,
}

/// A time in which the server did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Record {
    pub(super) fn new(alive: u32, pauses: Vec<Pause>, entries: Entries) -> Self {
        Self { version: VERSION, alive, pauses, entries }
    }
}

/// A record of nothing.
impl Default for Record {
    fn default() -> Self {
        Self::new(0, Vec::new(), Entries::new())
    }
}

/// Reads the record in the file `path`; `None` if there is none.
///
/// # Errors
///
/// The file can't be read, others may have written it, or it is not such a record.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Record>> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bytes = match Opened::file(path).and_then(Opened::trusted).and_then(|file| file.bytes(MAX_BYTES)) {
        Ok(bytes) => bytes,
        Err(fault) if fault.is_missing() => return Ok(None),
        Err(fault) => match fault.advice() {
            Some(advice) => bail!("{}; {advice}", fault.what()),
            None => bail!("{}", fault.what()),
        },
    };
    let Versioned { version } = serde_json::from_slice(&bytes).context("it is not a record of use")?;
    anyhow::ensure!(version == VERSION, "it has the form {version}, and this version knows {VERSION}");
    Ok(Some(serde_json::from_slice(&bytes).context("it is not a record of use")?))
}

/// The file to which a server writes its record.
pub(super) struct Kept {
    /// `None` if it can't be written without losing what stands there.
    path: Option<PathBuf>,
    is_failing: bool,
}

impl Kept {
    /// Opens the file `path`, and returns its record if there is one.
    pub(super) fn open(path: PathBuf) -> (Self, Option<Record>) {
        let error = match read(&path) {
            Ok(record) => return (Self { path: Some(path), is_failing: false }, record),
            Err(error) => error,
        };
        let aside = set_aside(&path);
        let moved = fs::rename(&path, &aside);
        let (file, aside) = (path.display().to_string(), aside.display().to_string());
        let error = format!("{error:#}");
        let path = match moved {
            Ok(()) => {
                tracing::warn!(target: "lictor::app", path = file, error, aside, "the record of use cannot be used; it was set aside, and begins anew");
                Some(path)
            }
            Err(failed) => {
                tracing::warn!(target: "lictor::app", path = file, error, %failed, "the record of use can be neither used nor set aside; it is kept in memory");
                None
            }
        };
        (Self { path, is_failing: false }, None)
    }

    /// Replaces the file. Logs an error if the last write succeeded.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), ()> {
        let Some(path) = &self.path else { return Ok(()) };
        let written = put(path, record);
        let (was_failing, path) = (self.is_failing, path.display());
        self.is_failing = written.is_err();
        match &written {
            Err(error) if !was_failing => {
                tracing::warn!(target: "lictor::app", %path, %error, "the record of use cannot be written; it is kept in memory until it can");
            }
            Ok(()) if was_failing => {
                tracing::info!(target: "lictor::app", %path, "the record of use can be written again");
            }
            _ => {}
        }
        written.map_err(drop)
    }
}

fn put(path: &Path, record: &Record) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    files::put(path, 0o600, &bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record() -> Record {
        let rows = BTreeMap::from([("echo".to_owned(), Row { since: 7, last: Some(9) })]);
        Record::new(
            9,
            vec![Pause { from: 1, to: 5 }],
            BTreeMap::from([("clients.a.commands".to_owned(), rows)]),
        )
    }

    #[test]
    fn a_file_that_can_not_be_used_is_set_aside_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.json");
        let whole = serde_json::to_string(&record()).unwrap();
        let newer = whole.replace("\"version\":1", "\"version\":2");
        let more = whole.replace("\"since\":7", "\"since\":7,\"more\":1");
        let negative = whole.replace("\"since\":7", "\"since\":-7");
        let half = &whole[..whole.len() / 2];
        for bad in ["", "null", "{}", "[1]", "not JSON", "\u{feff}{}", half, &newer, &more, &negative] {
            fs::write(&path, bad).unwrap();
            assert!(read(&path).is_err(), "{bad}");
            let (mut kept, found) = Kept::open(path.clone());
            assert_eq!((found, path.exists()), (None, false), "{bad}");
            assert_eq!(fs::read_to_string(set_aside(&path)).unwrap(), bad);
            kept.write(&record()).unwrap();
            assert_eq!(read(&path).unwrap(), Some(record()));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_file_that_others_may_write_to_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.json");
        let (mut kept, _) = Kept::open(path.clone());
        kept.write(&record()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let refused = format!("{:#}", read(&path).unwrap_err());
        assert!(refused.contains("its mode is 666; find out who changed it, then `chmod go-w "), "{refused}");
        let (mut kept, found) = Kept::open(path.clone());
        assert_eq!((found, path.exists(), set_aside(&path).exists()), (None, false, true));
        kept.write(&record()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(record()));
    }

    #[test]
    fn what_is_no_file_is_left_alone_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.json");
        fs::create_dir(&path).unwrap();
        // Renaming a folder over a file fails.
        fs::write(set_aside(&path), "").unwrap();
        let (mut kept, found) = Kept::open(path.clone());
        assert_eq!(found, None);
        kept.write(&record()).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn a_file_that_can_not_be_written_now_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (mut kept, _) = Kept::open(state.join("usage.json"));
        fs::write(&state, "in the way").unwrap();
        assert!(kept.write(&record()).is_err() && kept.write(&record()).is_err());
        fs::remove_file(&state).unwrap();
        kept.write(&record()).unwrap();
        assert_eq!(read(&state.join("usage.json")).unwrap(), Some(record()));
    }
}
