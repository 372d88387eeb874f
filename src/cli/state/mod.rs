//! `lictor state …`: operators' tools for plugins' state.

mod entries;

use std::path::PathBuf;

use clap::Subcommand;

use super::config_file::{ConfigFile, load_of_state};
use super::{Failure, output};
use crate::app::{self, Existing, Progress};

/// Back up, inspect and edit the plugins' state
#[derive(Debug, Subcommand)]
pub(super) enum State {
    Backup(Backup),
    List(entries::List),
    Get(entries::Get),
    Delete(entries::Delete),
}

/// Copy the state to a file, even while the server is running
///
/// The copy is a consistent snapshot, verified, readable by this user only, and gets its name when it is
/// complete. It is a state file itself: to restore it, see docs/state.md.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor state backup /var/backups/lictor-$(date +%F).db
  lictor state backup --replace --config /etc/lictor/server.toml latest.db")]
pub(super) struct Backup {
    /// File for the copy
    #[arg(value_name = "FILE")]
    target: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl State {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Backup(verb) => verb.run(),
            Self::List(verb) => verb.run(),
            Self::Get(verb) => verb.run(),
            Self::Delete(verb) => verb.run(),
        }
    }
}

impl Backup {
    fn run(self) -> Result<(), Failure> {
        let config = load_of_state(&self.config)?;
        let mut pages = 0;
        let existing = if self.replace { Existing::Replace } else { Existing::Keep };
        app::back_up(&config, &self.target, existing, &mut |progress: Progress| pages = progress.total)
            .map_err(|error| Failure::failed(format!("{error:#}")))?;
        output::diagnostics(&format!("{}: {pages} pages copied and checked", self.target.display()));
        Ok(())
    }
}
