//! `lictor check`: everything that serving does before it opens a socket.

use super::{ConfigFile, Failure, load_config_with_warnings, output};
use crate::app;

/// Check a config file and load all that it names, without serving
///
/// Reads the certificates, compiles every plugin and looks at what it imports; opens no socket.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor check
  lictor check --config /etc/lictor/server.toml && systemctl restart lictor")]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = load_config_with_warnings(&self.config.path)?;
        let summary = app::check(&loaded.config).map_err(|error| Failure::usage(format!("{error:#}")))?;
        output::line(summary.trim_end_matches('\n'))
    }
}
