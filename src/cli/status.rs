//! `lictor status`: a server's status.

use super::Failure;
use super::call::ask;
use super::target::TargetOptions;

/// Show a server's status and its last config reload
///
/// Sends the command @status, which the client must be allowed to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor status
  lictor status --server cmd.example.com --cert operator.pem")]
pub(super) struct Status {
    #[command(flatten)]
    target: TargetOptions,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        ask(self.target, "@status")
    }
}
