//! `lictor plugin rm`: takes a plugin's section out of the config.

use super::Failure;
use crate::cli::revision::{RevisionOptions, SectionKind, plugin_name};
use crate::config::PluginName;

/// Remove a plugin from the config file
///
/// Removes its section, the tables in it, and the comments directly above it; other comments and the order
/// stay. Shows the change and asks before it writes. A running server reloads the config. The component's
/// file and the plugin's stores stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin rm echo
  lictor plugin rm echo --config /etc/lictor/server.toml --yes")]
pub(in crate::cli) struct Remove {
    /// Name of the plugin
    #[arg(value_parser = plugin_name)]
    name: PluginName,
    #[command(flatten)]
    revision: RevisionOptions,
}

impl Remove {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.revision.remove(SectionKind::Plugin, self.name.as_ref())
    }
}
