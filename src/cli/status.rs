//! `lictor status`: a server's status.

use std::time::Duration;

use super::Failure;
use super::call::ask;
use super::nagios::{self, Notice};
use super::request::time_span;
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
  lictor status --nagios --warning 30d --critical 7d
  lictor status --server cmd.example.com --cert operator.pem")]
pub(super) struct Status {
    #[command(flatten)]
    target: TargetOptions,
    /// Print one JSON object
    #[arg(long, conflicts_with_all = ["ready", "nagios"])]
    json: bool,
    /// Only try whether the server takes commands: print pong and exit with 0, or exit with 3 if it is
    /// starting, stopping or absent
    #[arg(long)]
    ready: bool,
    /// Print one line as a monitoring plugin does, and exit with 0 (OK), 1 (WARNING), 2 (CRITICAL) or
    /// 3 (UNKNOWN)
    #[arg(long, conflicts_with = "ready")]
    nagios: bool,
    /// Warn of certificates that end within this time
    #[arg(long, value_name = "TIME", value_parser = time_span, default_value = "14d", requires = "nagios")]
    warning: Duration,
    /// Within this time the end of a certificate of the server or an authority is critical
    #[arg(long, value_name = "TIME", value_parser = time_span, default_value = "3d", requires = "nagios")]
    critical: Duration,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.nagios {
            return nagios::run(self.target, Notice { warning: self.warning, critical: self.critical });
        }
        let (command, headers): (_, &[_]) = match (self.ready, self.json) {
            (true, _) => ("@ping", &[]),
            (false, true) => ("@status", &[("Format", "json")]),
            (false, false) => ("@status", &[]),
        };
        ask(self.target, command, headers)
    }
}
