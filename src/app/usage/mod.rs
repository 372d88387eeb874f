//! The record of use: since when each entry of the config is observed, and when it was last used.
//!
//! **Rows.** An entry has a row, found by its list and text, with the [`LastUse`](crate::usage::LastUse) that
//! requests note. [`Usage::watched`] hands these out when a config is loaded: to each client's patterns
//! (`authz`), each command (`route`) and each grant (`plugin`). A row stays while anything holds its
//! `LastUse`, so the same entry has the same row over reloads, and no use is noted where nobody looks.
//! [`Usage::serve`] begins the observation of entries that come into force, and ends that of others.
//!
//! **Roles.** A role's pattern is recorded for the role as a whole, and the role for each client, since these
//! are the texts that can be deleted. So there are no more rows than the config has entries. A request counts
//! for the first pattern that allows it, the client's own before its roles'. Therefore all unused entries can
//! be deleted at once, and everything that was used is still allowed.
//!
//! **Pauses.** Time in which the server does not run is no time without use. It is recorded, and subtracted.

mod file;
mod report;
mod table;
mod watched;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use self::file::Kept;
pub use self::report::Unused;
use self::table::Table;
pub(super) use self::watched::Watched;
use crate::config::{Config, Entry, TimeSpan};
use crate::sync::locked;

/// Interval at which the clock is set: a use is noted with the minute that it shows.
pub(super) const TICK: Duration = Duration::from_secs(10);

/// The record of use of a running server.
pub(super) struct Usage {
    table: Mutex<Table>,
    /// Locked while the file is written.
    kept: Mutex<Kept>,
}

impl Usage {
    /// Continues the record in the file `path`. A file that can't be used is set aside.
    pub(super) fn open(path: PathBuf) -> Self {
        let (kept, record) = Kept::open(path);
        let table = Table::of(record.unwrap_or_default(), minute(SystemTime::now()));
        Self { table: Mutex::new(table), kept: Mutex::new(kept) }
    }

    /// Returns the notes for `entries`, which are about to come into force.
    pub(super) fn watched(&self, entries: &[Entry]) -> Watched {
        let mut table = locked(&self.table);
        entries.iter().map(|entry| (entry, table.row(entry))).collect()
    }

    /// Observes `entries` from now on, and no others. To be called before anything is permitted by them.
    pub(super) fn serve(&self, entries: &Arc<[Entry]>) {
        locked(&self.table).serve(entries);
    }

    /// Sets the clock, which stands still between two calls.
    pub(super) fn tick(&self) {
        locked(&self.table).tick(minute(SystemTime::now()));
    }

    /// Writes the file if that is due. Blocks.
    pub(super) fn save_if_due(&self) {
        let mut kept = locked(&self.kept);
        let due = locked(&self.table).due();
        if let Some(record) = due
            && kept.write(&record).is_err()
        {
            locked(&self.table).not_written();
        }
    }

    /// Writes the file. Blocks.
    pub(super) fn save(&self) {
        let mut kept = locked(&self.kept);
        let record = locked(&self.table).record();
        // Logged.
        let _ = kept.write(&record);
    }

    /// Returns the entries that were not used for `period`.
    pub(super) fn unused(&self, period: TimeSpan) -> Unused {
        locked(&self.table).unused(period)
    }
}

/// Returns the entries of `config` that were not used for `period`, by the file of the server that serves it.
///
/// # Errors
///
/// If there is no such file, or it can't be used.
pub fn unused(config: &Config, period: TimeSpan) -> anyhow::Result<Unused> {
    let path = config.usage_file(&config.server.cache);
    let record = file::read(&path).with_context(|| format!("{} cannot be used", path.display()))?;
    let record = record.with_context(|| {
        format!(
            "there is no {}: a server writes it within some minutes of its start, and when it stops",
            path.display()
        )
    })?;
    let mut table = Table::of(record, minute(SystemTime::now()));
    table.serve(&config.entries);
    Ok(table.unused(period))
}

/// Returns the minute of `time` since 1970, at least 1.
fn minute(time: SystemTime) -> u32 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds / 60).unwrap_or(u32::MAX).max(1)
}
