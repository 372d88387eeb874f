//! `lictor reload`: makes a server reload its config.

use super::Failure;
use super::call::ask;
use super::target::TargetOptions;

/// Make a server reload its config, certificates and plugins
///
/// If the config or a certificate has an error, nothing changes. Otherwise removed permissions end
/// immediately, and additions take effect when every plugin is loaded, or not at all. Prints each changed
/// key, and whether it is in effect or needs a restart. Sends the command @reload, which the client must be
/// allowed to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor reload
  lictor check && lictor reload
  lictor reload --server cmd.example.com --cert operator.pem")]
pub(super) struct Reload {
    #[command(flatten)]
    target: TargetOptions,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        ask(self.target, "@reload", &[])
    }
}
