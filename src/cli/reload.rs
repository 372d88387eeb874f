//! `lictor reload`: makes a server reload its config.

use super::Failure;
use super::call::ask;
use super::target::TargetOptions;

/// Have a server load its config, certificates and plugins anew
///
/// A fault in the config or a certificate changes nothing. Otherwise what the new config takes away is gone at once;
/// what it adds takes effect once every plugin is loaded, or not at all. Prints each key that changed, and whether it
/// applies or waits for a restart. Sends the command @reload, which the client must be allowed.
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
        ask(self.target, "@reload")
    }
}
