//! The thread that no plugin can block: it handles signals, disconnects clients whose certificates have
//! expired, notifies the service manager, reloads and stops.
//!
//! Clients are served, and plugins run, on the threads of another runtime, the workers. Even if these are
//! blocked (by a plugin that is loading or does not yield, or by a slow disk), this thread goes on, and the
//! process ends in bounded time.
//!
//! Invariant: nothing here waits for a lock held during loading, nor, without a deadline, for a worker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, sleep, timeout};

use super::admin::Admin;
use super::advice;
use super::dates;
use super::descriptors::raise_file_limit;
use super::in_force::InForce;
use super::live::Live;
use super::log::start_log;
use super::operator::Operator;
use super::readiness::Readiness;
use super::runtimes::{single_threaded, workers};
use super::usage::{self, Usage};
use super::{privacy, systemd};
use crate::config::{Config, Loaded};
use crate::files::Sightings;
use crate::reload::{Begun, Reloads, Stage};
use crate::server::{self, Control as _};

/// Interval at which warm instances, expired certificates and the command log are looked after. An expired
/// client is to be cut off within a second.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Interval at which the log warns of certificates that expire soon and of outdated lists.
const DATES: Duration = Duration::from_secs(24 * 3600);

/// Longest time for closing the state, and then for threads that are still blocked.
const STOPPING: Duration = Duration::from_secs(2);

/// A server before its start, which already handles signals.
pub struct Supervisor {
    runtime: Runtime,
    stop: Stop,
    hangup: Signal,
}

/// Signals to stop.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Supervisor {
    /// Handles signals from now on, even as the first process of a container, for which the kernel has no
    /// defaults. SIGHUP is kept until there is something to reload.
    ///
    /// # Errors
    ///
    /// If the system refuses a handler.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = single_threaded()?;
        let entered = runtime.enter();
        let listen = |kind, name: &str| signal(kind).with_context(|| format!("cannot listen for {name}"));
        let stop = Stop {
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
        };
        let hangup = listen(SignalKind::hangup(), "SIGHUP")?;
        drop(entered);
        Ok(Self { runtime, stop, hangup })
    }

    /// Does `work` on a separate thread, since a disk may be slow; returns `None` if a signal to stop comes
    /// first.
    ///
    /// # Errors
    ///
    /// If the thread can't be started, or `work` panicked.
    pub fn unless_stopped<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        let (give, given) = oneshot::channel();
        // Outside any runtime, which would wait for the thread's end.
        let thread = thread::Builder::new().name("lictor-start".to_owned());
        thread.spawn(move || give.send(work())).context("cannot start a thread")?;
        let Self { runtime, stop, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.signal() => Ok(None),
                given = given => given.map(Some).context("the start broke off"),
            }
        })
    }

    /// Serves until SIGINT or SIGTERM, then lets running requests end; a second signal ends them at once. A
    /// signal before everything is loaded ends the start.
    ///
    /// # Errors
    ///
    /// If anything in the config is unavailable: a plugin, the server's certificate, an address. Everything
    /// is tried before the first socket for clients is opened.
    pub fn serve(self, loaded: Loaded) -> anyhow::Result<()> {
        self.serve_for(loaded, None, |_| {})
    }

    /// Like [`serve`](Self::serve); calls `ready` with the server once it serves. Compiled plugins are kept
    /// in `cache`, or by default in the config's cache folder.
    ///
    /// # Errors
    ///
    /// As for [`serve`](Self::serve).
    pub fn serve_for(
        self,
        loaded: Loaded,
        cache: Option<PathBuf>,
        ready: impl FnOnce(Running),
    ) -> anyhow::Result<()> {
        let Self { runtime, stop, hangup } = self;
        let Loaded { config, warnings, digest, sightings } = loaded;
        let _log = start_log(&config);
        advice::log(&warnings);
        privacy::close_to_others();
        let workers = workers()?;
        let served = runtime.block_on(supervise(
            (config, digest, cache, sightings),
            workers.handle(),
            (stop, hangup),
            ready,
        ));
        // A name lookup can't be stopped, nor can a plugin that does not yield.
        workers.shutdown_timeout(STOPPING);
        runtime.shutdown_background();
        served
    }
}

/// A serving server, for code in this process that started it.
pub struct Running {
    operator: Arc<Operator>,
    /// Its listening addresses, in the config's order.
    pub addresses: Vec<SocketAddr>,
}

impl Running {
    /// Reloads the config, as `@reload` does.
    ///
    /// # Errors
    ///
    /// In words, all reasons for the failure.
    pub async fn reload(&self) -> Result<(), String> {
        self.operator.reload().await.map(drop)
    }

    /// Stops the server, as `@drain` does.
    pub fn stop(&self) {
        self.operator.drain();
    }
}

impl Stop {
    /// Waits for the next signal to stop.
    async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn supervise(
    (config, digest, cache, read): (Config, String, Option<PathBuf>, Sightings),
    workers: &Handle,
    (mut stop, hangup): (Stop, Signal),
    ready: impl FnOnce(Running),
) -> anyhow::Result<()> {
    raise_file_limit(&config);
    let (reloads, handle) = Reloads::new(hangup, config.server.watch.then(|| read.clone()));
    let cache = cache.unwrap_or_else(|| config.server.cache.clone());
    let readiness = Arc::new(Readiness::new(handle.clone()));
    let mut admin = Admin::open(&config.admin, readiness, workers)?;
    let usage = Arc::new(Usage::open(config.usage_file(&cache)));
    let in_force = Arc::<InForce>::default();
    in_force.loaded(digest, read);
    let operator = Arc::new(Operator { reloads: handle, drain: Notify::new(), usage, in_force });
    let starting = workers.spawn(start(config, cache, Arc::clone(&operator)));
    let (live, mut on_workers, addresses) = tokio::select! {
        biased;
        () = stop.signal() => {
            systemd::stopping();
            tracing::info!(target: "lictor::app", "stopped before anything was served");
            return Ok(());
        }
        started = starting => started.context("the start broke off")??,
    };
    admin.serve(&live, workers);
    let beat = Arc::new(Notify::new());
    on_workers.spawn_on(look_after(Arc::clone(&live), Arc::clone(&beat)), workers);
    on_workers.spawn_on(look_at_dates(Arc::clone(&live)), workers);
    on_workers.spawn_on(record_use(Arc::clone(&live.usage)), workers);
    let mut here = JoinSet::new();
    here.spawn(cut_off_expired(Arc::clone(&live)));
    here.spawn(tell_alive(beat));
    // Whoever waits for this may stop the server next, and that has to be in good order from here on.
    for address in &addresses {
        tracing::info!(target: "lictor::app", %address, "listening");
    }
    systemd::ready();
    let reloading = here.spawn(reload(reloads, Arc::clone(&live), workers.clone()));
    ready(Running { operator: Arc::clone(&operator), addresses });
    tokio::select! {
        () = stop.signal() => {}
        () = operator.drain.notified() => {}
    }
    // Clients waiting for a reload are told.
    reloading.abort();
    admin.stop();
    drained(&live, &mut stop).await;
    here.shutdown().await;
    on_workers.abort_all();
    drop(admin);
    let (closed, ()) = tokio::join!(timeout(STOPPING, live.close()), live.exporting.finish(STOPPING));
    // This may be the last reference, and closing takes long on a slow disk.
    workers.spawn_blocking(move || drop(live));
    closed.unwrap_or_else(|_elapsed| {
        tracing::warn!(target: "lictor::app", "the state could not be closed in good order in time");
        Ok(())
    })
}

/// Does everything that precedes serving; returns the server, the accepting tasks, and their addresses.
async fn start(
    config: Config,
    cache: PathBuf,
    operator: Arc<Operator>,
) -> anyhow::Result<(Arc<Live>, JoinSet<()>, Vec<SocketAddr>)> {
    let live = Arc::new(Live::start(config, &cache, operator).await?);
    let (mut accepting, mut addresses) = (JoinSet::new(), Vec::new());
    for listener in listeners(&live.served().config)? {
        let address = listener.local_addr().context("a listening socket has no address")?;
        addresses.push(address);
        let live = Arc::clone(&live);
        accepting.spawn(async move { live.server.accept(listener).await });
    }
    Ok((live, accepting, addresses))
}

/// Returns the service manager's sockets, or, without them, those of the config.
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

/// Does the workers' housekeeping, and beats as long as they run tasks.
async fn look_after(live: Arc<Live>, beat: Arc<Notify>) {
    let mut rounds = interval(HOUSEKEEPING);
    loop {
        let now = rounds.tick().await;
        live.look_after(now);
        beat.notify_one();
    }
}

/// Logs dates that come near while the server runs. The start and each reload log theirs.
async fn look_at_dates(live: Arc<Live>) {
    every(DATES, || advice::log(&dates::advice(&live.served().config, SystemTime::now()))).await;
}

/// Sets the clock of the record of use, and has its file written.
async fn record_use(usage: Arc<Usage>) {
    every(usage::TICK, || {
        usage.tick();
        let usage = Arc::clone(&usage);
        spawn_blocking(move || usage.save_if_due());
    })
    .await;
}

/// Does `work` repeatedly, each time after `pause`.
async fn every(pause: Duration, mut work: impl FnMut()) {
    loop {
        sleep(pause).await;
        work();
    }
}

/// Reports the server alive to the service manager, which proves that this thread and the workers run.
async fn tell_alive(beat: Arc<Notify>) {
    loop {
        beat.notified().await;
        systemd::alive();
    }
}

async fn cut_off_expired(live: Arc<Live>) {
    let mut rounds = interval(HOUSEKEEPING);
    let mut since = SystemTime::now();
    loop {
        rounds.tick().await;
        let now = SystemTime::now();
        live.server.cut_off_expired(now);
        live.server.end_reporting(since, now);
        since = now;
    }
}

async fn reload(reloads: Reloads, live: Arc<Live>, workers: Handle) {
    reloads.run(move |stage| begin_reload(Arc::clone(&live), workers.clone(), stage)).await;
}

async fn begin_reload(live: Arc<Live>, workers: Handle, stage: Stage) -> anyhow::Result<Begun> {
    systemd::reloading();
    match live.reload(workers, stage).await {
        Ok(Begun { narrowed, loading }) => {
            let loading = Box::pin(async move {
                let done = loading.await;
                systemd::ready();
                done
            });
            Ok(Begun { narrowed, loading })
        }
        Err(error) => {
            systemd::ready();
            Err(error)
        }
    }
}

/// Stops accepting, and lets running requests end within the config's time, or until another signal.
async fn drained(live: &Live, stop: &mut Stop) {
    let patience = live.served().config.server.drain_timeout;
    systemd::stopping();
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(target: "lictor::app", patience_ms, "stopping");
    tokio::select! {
        ended = live.server.stop(patience) => {
            if ended {
                tracing::info!(target: "lictor::app", "stopped");
            } else {
                tracing::info!(target: "lictor::app", "stopped with connections still open");
            }
        }
        () = stop.signal() => tracing::warn!(target: "lictor::app", "stopped at once"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn dates_are_looked_at_each_day_and_not_at_the_start() {
        let (start, mut looks) = (Instant::now(), Vec::new());
        let looking = every(DATES, || looks.push(start.elapsed().as_secs() / 3600));
        assert!(timeout(Duration::from_secs(80 * 3600), looking).await.is_err());
        assert_eq!(looks, [24, 48, 72]);
    }
}
