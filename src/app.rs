//! The composition root: from a config to a running server. The only file that sees everything.

use std::time::SystemTime;

use anyhow::Context as _;
use tokio::sync::Notify;
use tracing::Level;

mod addresses;
mod advice;
mod company;
mod conformance;
mod dates;
mod live;
mod memory;
mod plugins;
mod privacy;
mod reload;
mod service;
mod sources;
mod state;
mod summary;
mod supervisor;
mod systemd;
mod trial_call;
mod trials;

pub use conformance::{Fault, Report, SuiteLimits, Verdict, test};
pub use sources::{Round, Sources};
pub use state::{ByHand, Entry, Key, Listed, Namespace, Progress, StateError, back_up, state_file};
pub use supervisor::{Running, Supervisor};
pub use trial_call::TrialCall;
pub use trials::{
    Inspected, TrialRun, Tried, codes, inspect, log_for_authors, name_faults, own_cache, try_all, try_out,
};

pub use crate::plugin::{Compilation, Compiling, HttpGrant, Standing, Work, compile_alone, grant_lines};

use self::plugins::Plugins;
use self::service::tls_files;
use crate::config::{self, Config, LogFormat, LogLevel};
use crate::plugin;
use crate::reload::Handle;
use crate::server::{Control, Done, tls_acceptor};
use crate::state::MemoryEngine;
use crate::telemetry::{self, Format};

/// Tasks that a busy thread runs before it polls the sockets. A connection may work for a quarter of a
/// millisecond each time, so at tokio's default of 61 a quiet client would wait tens of milliseconds beside
/// busy ones; see `benches/neighbours.rs`. Polling costs a microsecond, a tenth of a small command.
const TASKS_BETWEEN_EVENTS: u32 = 8;

/// File descriptors that the process needs besides its connections.
const OTHER_FILES: u64 = 64;

/// A config that may be served.
pub struct Checked {
    /// Description of the config, in lines.
    pub summary: String,
    /// Further advice to the operator, beyond the warnings from loading the config.
    pub warnings: Vec<config::Fault>,
}

/// Does everything that [`Supervisor::serve`] does before it opens a socket, and returns the findings.
///
/// # Errors
///
/// As for [`Supervisor::serve`].
pub fn check(config: &Config) -> anyhow::Result<Checked> {
    workers()?.block_on(async {
        tls_acceptor(&tls_files(config))?;
        state::look(config)?;
        let plugins = Plugins::load(config, &config.server.cache, &MemoryEngine::new()).await?;
        let warnings = advice::advice(config, &plugins, SystemTime::now());
        Ok(Checked { summary: summary::summary(config, &plugins), warnings })
    })
}

/// Starts the runtime that serves clients and runs plugins.
fn workers() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(TASKS_BETWEEN_EVENTS).build().context("cannot start the runtime")
}

fn start_log(config: &Config) -> telemetry::Log {
    telemetry::init(level(config.log.level), format(config.log.format))
}

/// Operations on this server for operators.
struct Operator {
    reloads: Handle,
    drain: Notify,
}

impl Control for Operator {
    fn reload(&self) -> Done {
        let reloads = self.reloads.clone();
        Box::pin(async move {
            let changes = reloads.reload().await.map_err(|failed| failed.to_string())?;
            let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
            Ok(if lines.is_empty() { "nothing has changed".to_owned() } else { lines.join("\n") })
        })
    }

    fn status(&self) -> String {
        self.reloads.status()
    }

    fn drain(&self) {
        self.drain.notify_one();
    }
}

/// Raises the soft limit of open files, usually 1024: every connection takes a file descriptor,
/// as do the requests that plugins send and the files that they hold open.
fn raise_file_limit(config: &Config) {
    let limits = &config.limits;
    let have_folders = config.plugins.values().any(|plugin| !plugin.grants.directories.is_empty());
    let instances = if have_folders { 2 * limits.concurrent_commands as u64 } else { 0 };
    let of_plugins = limits.http_requests as u64 + instances * plugin::MAX_OPEN_FILES as u64;
    let wanted = limits.connections as u64 + of_plugins + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                target: "lictor::app", limit, wanted,
                "the limit of open files is below what may be needed; raise it (ulimit -n)"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(target: "lictor::app", %error, "cannot raise the limit of open files"),
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    }
}

fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Auto => Format::fitting(),
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    }
}
