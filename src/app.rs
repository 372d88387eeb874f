//! The composition root: from a config to a running server. The only file that sees everything.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::Level;

mod conformance;
mod plugins;
mod state;
mod summary;
mod trials;

pub use conformance::{Fault, Report, SuiteLimits, Verdict, test};
pub use state::{Progress, back_up};
pub use trials::{Inspected, TrialRun, inspect, try_out};

pub use crate::plugin::{HttpGrant, Standing};

use crate::authz::Policy;
use crate::config::{self, Config, Loaded, LogFormat, LogLevel};
use crate::identity::Roster;
use crate::plugin::{self, Plugin, Shares};
use crate::route::Routes;
use crate::server::{
    self, AdmissionLimits, ConnectionLimits, Server, Service, TlsFiles, TlsVersion, tls_acceptor,
};
use crate::state::MemoryEngine;
use crate::telemetry::{self, CommandLog, Format};

/// How often warm instances and the command log are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// After so many tasks a busy thread looks whether sockets became ready. A connection may work for half a millisecond
/// each time, so at tokio's 61 a quiet client would wait for tens of milliseconds beside busy ones; see
/// `benches/neighbours.rs`. To look costs less than a microsecond.
const TASKS_BETWEEN_EVENTS: u32 = 4;

/// How long what blocks a thread may go on when all else has ended.
const STOPPING: Duration = Duration::from_secs(2);

/// File descriptors that the process needs beside its connections.
const OTHER_FILES: u64 = 64;

/// Serves until SIGINT or SIGTERM, then lets what is under way end; a second signal ends at once.
///
/// # Errors
///
/// When anything in the config can't be had: a plugin, the server's certificate, an address. All of it is tried
/// before the first socket is opened.
pub fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    let _log = telemetry::init(level(config.log.level), format(config.log.format));
    let runtime = runtime()?;
    let served = runtime.block_on(run(&config));
    // A look-up of a name can't be stopped, and takes as long as the resolver likes.
    runtime.shutdown_timeout(STOPPING);
    served
}

/// Does all that [`serve`] does before it opens a socket, and says what it found.
///
/// # Errors
///
/// The same as for [`serve`].
pub fn check(config: &Config) -> anyhow::Result<String> {
    runtime()?.block_on(async {
        tls_acceptor(&tls_files(config))?;
        state::look(config)?;
        let plugins = plugins::load(config, &MemoryEngine::new()).await?;
        Ok(summary::summary(config, &plugins))
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(TASKS_BETWEEN_EVENTS).build().context("cannot start the runtime")
}

async fn run(config: &Config) -> anyhow::Result<()> {
    raise_file_limit(config);
    let acceptor = tls_acceptor(&tls_files(config))?;
    let state = state::open(config)?;
    let plugins = plugins::load(config, &*state).await?;
    let service = Arc::new(service(config, &plugins));
    let listeners = config.server.listen.iter().map(|address| server::bind(*address));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let server = Arc::new(Server::new(
        Arc::clone(&service),
        acceptor,
        admission_limits(config),
        config.limits.handshake_timeout,
    ));
    let mut tasks = accept(&server, listeners)?;
    tasks.spawn(housekeep(service, plugins));
    stop_at_signal(&server, config.server.drain_timeout).await?;
    tasks.shutdown().await;
    state.close().await.context("the plugins' state was not closed in good order")
}

fn accept(server: &Arc<Server>, listeners: Vec<TcpListener>) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr().context("a listening socket has no address")?;
        tracing::info!(%address, "listening");
        let server = Arc::clone(server);
        tasks.spawn(async move { server.accept(listener).await });
    }
    Ok(tasks)
}

async fn housekeep(service: Arc<Service>, plugins: Vec<(config::PluginName, Arc<Plugin>)>) {
    let mut rounds = tokio::time::interval(HOUSEKEEPING);
    loop {
        let now = rounds.tick().await;
        plugins.iter().for_each(|(_, plugin)| plugin.retire_idle(now));
        service.log.report_unlogged();
    }
}

async fn stop_at_signal(server: &Server, patience: Duration) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!(patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), "stopping");
    tokio::select! {
        ended = server.stop(patience) => {
            let words = if ended { "stopped" } else { "stopped with connections still open" };
            tracing::info!("{words}");
        }
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
        _ = terminate.recv() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

fn service(config: &Config, plugins: &[(config::PluginName, Arc<Plugin>)]) -> Service {
    let pins = config.clients.iter().flat_map(|(name, client)| {
        let name: Arc<str> = name.as_ref().into();
        client.thumbprints.iter().map(move |pin| (pin.thumbprint, Arc::clone(&name)))
    });
    let policies =
        config.clients.iter().map(|(name, client)| (name.as_ref().into(), client.commands.clone()));
    let commands = plugins.iter().flat_map(|(name, plugin)| {
        let commands = config.plugins.get(name).map(|plugin| plugin.commands.as_slice()).unwrap_or_default();
        commands.iter().map(move |command| (Arc::from(command.as_ref()), Arc::clone(plugin)))
    });
    Service {
        roster: pins.collect::<Roster>(),
        policy: policies.collect::<Policy>(),
        routes: commands.collect::<Routes<_>>(),
        shares: Shares::new(
            config.clients.keys().map(|name| name.as_ref().into()),
            config.limits.concurrent_commands_per_client,
            // One client does not fill the queue in which the others wait for a plugin or a slot.
            config.limits.queue.div_ceil(2),
        ),
        limits: connection_limits(config),
        close_on_error: config.protocol.close_on_error,
        log: CommandLog::new(config.log.commands_per_second, config.log.arguments),
    }
}

/// Long enough for some hundred small commands, short beside what a client notices.
const CONNECTION_SLICE: Duration = Duration::from_micros(500);

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    ConnectionLimits {
        in_flight: limits.in_flight,
        in_flight_bytes: limits.in_flight_bytes,
        body_bytes: limits.body_bytes,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        idle_timeout: limits.idle_timeout,
        write_timeout: limits.write_timeout,
        slice: CONNECTION_SLICE,
    }
}

fn admission_limits(config: &Config) -> AdmissionLimits {
    let limits = &config.limits;
    AdmissionLimits {
        connections: limits.connections,
        per_address: limits.connections_per_address,
        unauthenticated: limits.unauthenticated_connections,
        unauthenticated_per_address: limits.unauthenticated_per_address,
    }
}

fn tls_files(config: &Config) -> TlsFiles {
    TlsFiles {
        certificate: config.server.certificate.clone(),
        private_key: config.server.private_key.clone(),
        min_version: match config.server.min_tls {
            config::TlsVersion::V1_2 => TlsVersion::V1_2,
            config::TlsVersion::V1_3 => TlsVersion::V1_3,
        },
    }
}

/// Every connection takes a file descriptor, as do the requests that plugins send and the files that they hold open; and
/// the usual soft limit of 1024 is older than that idea.
fn raise_file_limit(config: &Config) {
    let limits = &config.limits;
    let have_folders = config.plugins.values().any(|plugin| !plugin.grants.directories.is_empty());
    let instances = if have_folders { 2 * limits.concurrent_commands as u64 } else { 0 };
    let of_plugins = limits.http_requests as u64 + instances * plugin::MAX_OPEN_FILES as u64;
    let wanted = limits.connections as u64 + of_plugins + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                limit,
                wanted,
                "the limit of open files is below what `limits` and folders may need; raise it (ulimit -n)"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
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
