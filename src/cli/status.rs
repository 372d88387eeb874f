//! `lictor status`: a server's status.

use super::Failure;
use super::call::ask;
use super::target::TargetOptions;

/// Show a server's status and its last config reload
///
/// Sends the command @status, which the client must be allowed to run; with --ready @ping.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor status
  lictor status --json | jq .config.fault
  lictor status --ready && echo it takes commands
  lictor status --server cmd.example.com --cert operator.pem")]
pub(super) struct Status {
    #[command(flatten)]
    target: TargetOptions,
    /// Print one JSON object
    #[arg(long, conflicts_with = "ready")]
    json: bool,
    /// Only try whether the server takes commands: print pong and exit with 0, or exit with 3 if it is
    /// starting, stopping or absent
    #[arg(long)]
    ready: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (command, headers): (_, &[_]) = match (self.ready, self.json) {
            (true, _) => ("@ping", &[]),
            (false, true) => ("@status", &[("Format", "json")]),
            (false, false) => ("@status", &[]),
        };
        ask(self.target, command, headers)
    }
}
