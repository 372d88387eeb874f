//! The composition root: from a config to a running server. The only file that sees everything.

mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::Level;

pub use crate::plugin::Standing;

use crate::authz::Policy;
use crate::config::{self, Config, Loaded, LogFormat, LogLevel};
use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    self, Call, CommandGate, CommandInfo, CoreDumps, Grants, HttpGrant, Inspection, Instances, Kept, Plugin,
    Sandbox, SandboxLimits, Shares, Spec, Stores, Trial, VolumeLimits,
};
use crate::route::Routes;
use crate::server::{
    self, AdmissionLimits, ConnectionLimits, Server, Service, TlsFiles, TlsVersion, tls_acceptor,
};
use crate::telemetry::{self, CommandLog, ConnectionId, Format, RequestId};
use crate::wire::Decoder;

/// How often warm instances and the command log are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

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
    runtime()?.block_on(run(&config))
}

/// Does all that [`serve`] does before it opens a socket, and says what it found.
///
/// # Errors
///
/// The same as for [`serve`].
pub fn check(config: &Config) -> anyhow::Result<String> {
    runtime()?.block_on(async {
        tls_acceptor(&tls_files(config))?;
        let plugins = load_plugins(config).await?;
        Ok(summary::summary(config, &plugins))
    })
}

/// What is said of a component by its type alone, and its commands, or why it does not load with everything granted.
type Inspected = (Inspection, anyhow::Result<Vec<CommandInfo>>);

/// Looks at the component in the file `path`, and asks it for its commands.
///
/// # Errors
///
/// When it can't be read, or is no component.
pub fn inspect(path: &Path) -> anyhow::Result<Inspected> {
    let grants = Grants { config: Some(BTreeMap::new()), logging: true, ..Grants::default() };
    let spec = unserved(path, grants, DESCRIBE_MEMORY_BYTES, DESCRIBE_TIME);
    let inspected = single_threaded()?.block_on(plugin::inspect(small_sandbox(CoreDumps::None)?, spec));
    let (inspection, plugin) = inspected.map_err(anyhow::Error::msg)?;
    Ok((inspection, plugin.map(|plugin| plugin.commands().to_vec()).map_err(Into::into)))
}

/// How long an inspected component may take to describe itself, and the most memory that it may use for that.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;

/// One command of a component, to be run without a server.
#[derive(Clone, Debug)]
pub struct TrialRun {
    /// The component's file.
    pub component: PathBuf,
    /// The client that it sees.
    pub client: String,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// The most memory that it may use, in bytes.
    pub memory_bytes: usize,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether a core dump is wanted if it traps.
    pub core_dump: bool,
    /// The request, as a client sends it.
    pub request: Vec<u8>,
}

/// Runs one command of a component in this process. What the plugin prints and logs goes to the log, in lines for
/// people.
///
/// # Errors
///
/// When the component does not load, or no instance can be made.
pub fn try_out(run: &TrialRun) -> anyhow::Result<Trial> {
    let _log = telemetry::init(Level::INFO, Format::Human);
    let grants = Grants { config: Some(run.config.clone()), logging: true, ..Grants::default() };
    let spec = unserved(&run.component, grants, run.memory_bytes, run.timeout);
    let core_dumps = if run.core_dump { CoreDumps::HandedOver } else { CoreDumps::None };
    single_threaded()?.block_on(async {
        let plugin = Plugin::load(small_sandbox(core_dumps)?, spec).await?;
        let mut bytes = BytesMut::from(&run.request[..]);
        let request = Decoder::new(usize::MAX).decode(&mut bytes)?.context("the request is incomplete")?;
        let caller = stand_in(&run.client)?;
        let id = RequestId { connection: ConnectionId(0), number: 1 };
        let call = Arc::new(Call::new(request, caller, id, tokio::time::Instant::now() + run.timeout));
        plugin::try_out(&plugin, &call).await.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

/// A client for when there is none: it holds a certificate that was made for it and is forgotten after. Identities are
/// only ever made of certificates, here too.
fn stand_in(name: &str) -> anyhow::Result<PeerIdentity> {
    let certificate = rcgen::generate_simple_self_signed([name.to_owned()])?.cert;
    let roster: Roster = [(Thumbprint::sha256_of(certificate.der()), Arc::from(name))].into_iter().collect();
    let identity = identity::authenticate(&[certificate.der().clone()], &roster, SystemTime::now());
    identity.map_err(|rejection| anyhow::anyhow!("{rejection}"))
}

/// A plugin that no config file names.
fn unserved(path: &Path, grants: Grants, memory_bytes: usize, timeout: Duration) -> Spec {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Spec {
        name: name.into(),
        component: path.to_owned(),
        sha256: None,
        instances: Instances::PerRequest,
        timeout,
        cpu_time: None,
        volume: VolumeLimits { calls: u64::MAX, bytes: u64::MAX },
        memory_bytes,
        reply_bytes: 64 << 20,
        concurrency: None,
        max_calls: 1,
        idle: Duration::ZERO,
        grants,
    }
}

fn small_sandbox(core_dumps: CoreDumps<'_>) -> anyhow::Result<Arc<Sandbox>> {
    let limits = SandboxLimits {
        concurrent_calls: 2,
        waiting_calls: 0,
        max_wait: Duration::ZERO,
        // The plugin's own bound holds.
        memory_bytes: usize::MAX,
    };
    Ok(Arc::new(Sandbox::new(limits, Kept { compiled: None, core_dumps })?))
}

fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

async fn run(config: &Config) -> anyhow::Result<()> {
    raise_file_limit(config);
    let acceptor = tls_acceptor(&tls_files(config))?;
    let plugins = load_plugins(config).await?;
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
    Ok(())
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

/// Loads all plugins, one after the other: each compilation uses all cores. Reports every plugin that can't be loaded, not
/// the first only.
async fn load_plugins(config: &Config) -> anyhow::Result<Vec<(config::PluginName, Arc<Plugin>)>> {
    let limits = &config.limits;
    let bounds = SandboxLimits {
        concurrent_calls: u32::try_from(limits.concurrent_commands).unwrap_or(u32::MAX),
        waiting_calls: limits.queue,
        max_wait: limits.queue_timeout,
        memory_bytes: limits.plugin_memory_bytes,
    };
    let core_dumps = config.server.core_dumps.as_deref().map_or(CoreDumps::None, CoreDumps::In);
    let kept = Kept { compiled: Some(&config.server.cache), core_dumps };
    let sandbox = Arc::new(Sandbox::new(bounds, kept)?);
    let mut plugins = Vec::new();
    let mut faults = Vec::new();
    for (name, plugin) in &config.plugins {
        let began = Instant::now();
        match Plugin::load(Arc::clone(&sandbox), spec(name, plugin)).await {
            Ok(plugin) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(target: "lictor::plugin", plugin = %name, millis, "loaded");
                plugins.push((name.clone(), Arc::new(plugin)));
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    // The process does not end before it is done, and nobody waits for it else.
    tokio::task::spawn_blocking(move || sandbox.prune_cache());
    Ok(plugins)
}

fn spec(name: &config::PluginName, plugin: &config::Plugin) -> Spec {
    Spec {
        name: name.as_ref().into(),
        component: plugin.component.clone(),
        sha256: plugin.sha256,
        instances: match plugin.instances {
            config::Instances::PerRequest => Instances::PerRequest,
            config::Instances::PerClient => Instances::PerClient,
            config::Instances::Shared => Instances::Shared,
        },
        timeout: plugin.timeout,
        cpu_time: plugin.cpu_time,
        volume: VolumeLimits { calls: plugin.host_calls, bytes: plugin.host_bytes },
        memory_bytes: plugin.memory_bytes,
        reply_bytes: plugin.reply_bytes,
        concurrency: plugin.concurrency,
        max_calls: plugin.max_calls,
        idle: plugin.idle,
        grants: grants(plugin),
    }
}

fn grants(plugin: &config::Plugin) -> Grants {
    let granted = &plugin.grants;
    let commands = granted.commands.clone();
    let allows = move |command: &str| commands.iter().any(|pattern| pattern.allows(command));
    let http = HttpGrant { urls: granted.http.clone(), networks: granted.http_networks.clone() };
    Grants {
        config: plugin.config.clone(),
        logging: granted.logging,
        stores: Stores::default(),
        files: granted.files.iter().cloned().collect(),
        directories: granted.directories.clone(),
        commands: (!granted.commands.is_empty()).then(|| CommandGate(Arc::new(allows))),
        http: (!granted.http.is_empty()).then_some(http),
    }
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

/// Every connection takes a file descriptor, and the usual soft limit of 1024 is older than that idea.
fn raise_file_limit(config: &Config) {
    let wanted = config.limits.connections as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                limit,
                wanted,
                "the limit of open files is below `limits.connections`; raise it (ulimit -n)"
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
