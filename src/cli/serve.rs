//! `lictor serve`: serves until stopped.

use super::Failure;
use super::config_file::{ConfigFile, load_by};
use crate::app;
use crate::config;

/// Serve the clients and plugins of a config file
///
/// Runs until SIGTERM or Ctrl-C, then waits for running commands to finish. A second signal stops it
/// immediately.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor serve
  lictor serve --config /etc/lictor/server.toml")]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let usage = |error: anyhow::Error| Failure::usage(format!("{error:#}"));
        // First of all: a signal may arrive at any time.
        let mut supervisor = app::Supervisor::new().map_err(usage)?;
        let load = move || load_by(config::load, &self.config.path);
        match supervisor.unless_stopped(load).map_err(usage)? {
            Some(loaded) => supervisor.serve(loaded?).map_err(usage),
            None => Ok(()),
        }
    }
}
