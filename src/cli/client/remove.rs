//! `lictor client rm`: takes a client's section out of the config.

use crate::cli::Failure;
use crate::cli::revision::{RevisionOptions, SectionKind, client_name};
use crate::config::ClientName;

/// Remove a client from the config file
///
/// Removes its section, the tables in it, and the comments directly above it; other comments and the order
/// stay. Shows the change and asks before it writes. A running server reloads the config, closes the client's
/// connections and stops its commands. Files of certificates and keys stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor client rm laptop
  lictor client rm laptop --config /etc/lictor/server.toml --yes")]
pub(in crate::cli) struct Remove {
    /// Name of the client
    #[arg(value_parser = client_name)]
    name: ClientName,
    #[command(flatten)]
    revision: RevisionOptions,
}

impl Remove {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.revision.remove(SectionKind::Client, self.name.as_ref())
    }
}
