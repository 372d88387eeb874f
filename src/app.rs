//! The composition root: from a config to a running server. The only file that sees everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Level;

mod conformance;
mod ending;
mod live;
mod plugins;
mod privacy;
mod state;
mod summary;
mod systemd;
mod trials;

pub use conformance::{Fault, Report, SuiteLimits, Verdict, test};
pub use state::{Progress, back_up};
pub use trials::{Inspected, TrialRun, inspect, try_out};

pub use crate::plugin::{Compilation, Compiling, HttpGrant, Standing, compile_alone};

use self::live::{Live, tls_files};
use self::plugins::Plugins;
use crate::config::{Change, Config, Loaded, LogFormat, LogLevel};
use crate::plugin;
use crate::reload::{Handle, Reloads};
use crate::server::{self, Control, Done, tls_acceptor};
use crate::state::MemoryEngine;
use crate::telemetry::{self, Format};

/// How often warm instances, ended certificates and the command log are looked after. What has ended is to be cut off
/// within a second.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// After so many tasks a busy thread looks whether sockets became ready. A connection may work for a quarter of a
/// millisecond each time, so at tokio's 61 a quiet client would wait for tens of milliseconds beside busy ones; see
/// `benches/neighbours.rs`. To look costs a microsecond, a tenth of a small command.
const TASKS_BETWEEN_EVENTS: u32 = 8;

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
    privacy::close_to_others();
    let runtime = runtime()?;
    let served = runtime.block_on(run(config));
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
        let plugins = Plugins::load(config, &MemoryEngine::new()).await?;
        Ok(summary::summary(config, &plugins, SystemTime::now()))
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(TASKS_BETWEEN_EVENTS).build().context("cannot start the runtime")
}

async fn run(config: Config) -> anyhow::Result<()> {
    raise_file_limit(&config);
    let drain = Arc::new(Notify::new());
    let (mut reloads, handle) = Reloads::new(config.server.watch)?;
    reloads.follow(&config.files());
    let control = Operator { reloads: handle, drain: Arc::clone(&drain) };
    let live = Arc::new(Live::start(config, Arc::new(control)).await?);
    let mut tasks = accept(&live, listeners(&live.config().await)?)?;
    tasks.spawn(housekeep(Arc::clone(&live)));
    let reloading = Arc::clone(&live);
    tasks.spawn(reloads.run(move || reload(Arc::clone(&reloading))));
    systemd::ready();
    stop_at_signal(&live, &drain).await?;
    tasks.shutdown().await;
    live.close().await
}

async fn reload(live: Arc<Live>) -> Result<(Vec<Change>, Vec<PathBuf>), String> {
    systemd::reloading();
    let reloaded = live.reload().await.map_err(|error| format!("{error:#}"));
    systemd::ready();
    reloaded
}

/// The sockets that the service manager handed over, or, where it did not, those of the config.
fn listeners(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let given = systemd::listeners()?;
    if given.is_empty() {
        return config.server.listen.iter().map(|address| server::bind(*address)).collect();
    }
    let given = given.into_iter().map(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    given.collect::<Result<_, _>>().context("a handed-over socket cannot be used")
}

/// What operators can do to this server.
struct Operator {
    reloads: Handle,
    drain: Arc<Notify>,
}

impl Control for Operator {
    fn reload(&self) -> Done {
        let reloads = self.reloads.clone();
        Box::pin(async move {
            let changes = reloads.reload().await?;
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

fn accept(live: &Arc<Live>, listeners: Vec<TcpListener>) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr().context("a listening socket has no address")?;
        tracing::info!(%address, "listening");
        let live = Arc::clone(live);
        tasks.spawn(async move { live.server.accept(listener).await });
    }
    Ok(tasks)
}

async fn housekeep(live: Arc<Live>) {
    let mut rounds = tokio::time::interval(HOUSEKEEPING);
    loop {
        let now = rounds.tick().await;
        live.server.cut_off_expired(SystemTime::now());
        live.look_after(now).await;
        systemd::alive();
    }
}

async fn stop_at_signal(live: &Live, drain: &Notify) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = drain.notified() => {}
    }
    let patience = live.config().await.server.drain_timeout;
    systemd::stopping();
    tracing::info!(patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), "stopping");
    tokio::select! {
        ended = live.server.stop(patience) => {
            if ended { tracing::info!("stopped") } else { tracing::info!("stopped with connections still open") }
        }
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
        _ = terminate.recv() => tracing::warn!("stopped at once"),
    }
    Ok(())
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
