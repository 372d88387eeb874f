//! The check of a config, without serving it.

use std::time::SystemTime;

use super::plugins::Plugins;
use super::runtimes::workers;
use super::service::tls_files;
use super::usage::Watched;
use super::{advice, state, summary};
use crate::config::{self, Config};
use crate::server::tls_acceptor;
use crate::state::MemoryEngine;

/// A config that may be served.
pub struct Checked {
    /// Description of the config, in lines.
    pub summary: String,
    /// Further advice to the operator, beyond the warnings from loading the config.
    pub warnings: Vec<config::Fault>,
}

/// Does everything that [`Supervisor::serve`](super::Supervisor::serve) does before it opens a socket, and
/// returns the findings.
///
/// # Errors
///
/// As for [`Supervisor::serve`](super::Supervisor::serve).
pub fn check(config: &Config) -> anyhow::Result<Checked> {
    workers()?.block_on(async {
        tls_acceptor(&tls_files(config))?;
        state::look(config)?;
        let plugins =
            Plugins::load(config, &config.server.cache, &MemoryEngine::new(), &Watched::default()).await?;
        let warnings = advice::advice(config, &plugins, SystemTime::now());
        Ok(Checked { summary: summary::summary(config, &plugins), warnings })
    })
}
