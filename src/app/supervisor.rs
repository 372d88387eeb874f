//! The thread that no plugin can hold: it hears signals, cuts off what has ended, tells the service manager, reloads and
//! stops.
//!
//! Clients are served, and plugins run, on the threads of another runtime, the workers. Whatever holds those up (a plugin
//! that is loaded or that does not yield, a slow disk), this thread goes on, and the process ends in bounded time.
//!
//! Invariant: nothing here waits for a lock that is held while something is loaded, nor, without a deadline, for a worker.

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
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::advice;
use super::dates;
use super::live::Live;
use super::trials::single_threaded;
use super::{Operator, privacy, raise_file_limit, start_log, systemd, workers};
use crate::config::{Config, Loaded};
use crate::files::Sightings;
use crate::reload::{Begun, Reloads, Stage};
use crate::server::{self, Control as _};

/// How often warm instances, ended certificates and the command log are looked after. What has ended is to be cut off
/// within a second.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// How often the log tells of certificates that end soon and lists that are out of date.
const DATES: Duration = Duration::from_secs(24 * 3600);

/// How long closing the state may take, and then how long what blocks a thread may go on.
const STOPPING: Duration = Duration::from_secs(2);

/// A server to be, which hears signals.
pub struct Supervisor {
    runtime: Runtime,
    stop: Stop,
    hangup: Signal,
}

/// The signals to stop.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Supervisor {
    /// Hears signals from now on, also as the first process of a container, for which the kernel has no defaults. SIGHUP is
    /// kept in mind until there is something to reload.
    ///
    /// # Errors
    ///
    /// When the system gives no handlers.
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

    /// Does `work` on a thread of its own, since a disk may take its time; gives nothing where a signal to stop comes first.
    ///
    /// # Errors
    ///
    /// When there is no thread, or `work` panicked.
    pub fn unless_stopped<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        let (give, given) = oneshot::channel();
        // Of no runtime, which would wait for its end.
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

    /// Serves until SIGINT or SIGTERM, then lets what is under way end; a second signal ends at once. One that comes before
    /// all is loaded ends the start.
    ///
    /// # Errors
    ///
    /// When anything in the config can't be had: a plugin, the server's certificate, an address. All of it is tried
    /// before the first socket is opened.
    pub fn serve(self, loaded: Loaded) -> anyhow::Result<()> {
        self.serve_for(loaded, None, |_| {})
    }

    /// The same; `ready` is given the server once it serves. What is compiled is kept in `cache`, or else where the config says.
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
        let Loaded { config, warnings, sightings } = loaded;
        let _log = start_log(&config);
        advice::log(&warnings);
        privacy::close_to_others();
        let workers = workers()?;
        let served =
            runtime.block_on(supervise((config, cache, sightings), workers.handle(), (stop, hangup), ready));
        // A look-up of a name can't be stopped, nor can a plugin that does not yield.
        workers.shutdown_timeout(STOPPING);
        runtime.shutdown_background();
        served
    }
}

/// A server that serves, for whoever started it in this process.
pub struct Running {
    operator: Arc<Operator>,
    /// Where it listens, in the order of the config.
    pub addresses: Vec<SocketAddr>,
}

impl Running {
    /// Loads the config anew, as `@reload` does.
    ///
    /// # Errors
    ///
    /// In words, all that was in its way.
    pub async fn reload(&self) -> Result<(), String> {
        self.operator.reload().await.map(drop)
    }

    /// Has it end, as `@drain` does.
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
    (config, cache, read): (Config, Option<PathBuf>, Sightings),
    workers: &Handle,
    (mut stop, hangup): (Stop, Signal),
    ready: impl FnOnce(Running),
) -> anyhow::Result<()> {
    raise_file_limit(&config);
    let (reloads, handle) = Reloads::new(hangup, config.server.watch.then_some(read));
    let operator = Arc::new(Operator { reloads: handle, drain: Notify::new() });
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
    let beat = Arc::new(Notify::new());
    on_workers.spawn_on(look_after(Arc::clone(&live), Arc::clone(&beat)), workers);
    on_workers.spawn_on(look_at_dates(Arc::clone(&live)), workers);
    let mut here = JoinSet::new();
    here.spawn(cut_off_expired(Arc::clone(&live)));
    here.spawn(tell_alive(beat));
    systemd::ready();
    let reloading = here.spawn(reload(reloads, Arc::clone(&live), workers.clone()));
    ready(Running { operator: Arc::clone(&operator), addresses });
    tokio::select! {
        () = stop.signal() => {}
        () = operator.drain.notified() => {}
    }
    // Whoever waits for a reload is told.
    reloading.abort();
    drained(&live, &mut stop).await;
    here.shutdown().await;
    on_workers.abort_all();
    let closed = timeout(STOPPING, live.close()).await;
    // The last of it may be its to close, and a disk be slow.
    workers.spawn_blocking(move || drop(live));
    closed.unwrap_or_else(|_elapsed| {
        tracing::warn!(target: "lictor::app", "the state could not be closed in good order in time");
        Ok(())
    })
}

/// Does all that comes before clients are served; gives the server, the tasks that accept, and where they do.
async fn start(
    config: Config,
    cache: Option<PathBuf>,
    operator: Arc<Operator>,
) -> anyhow::Result<(Arc<Live>, JoinSet<()>, Vec<SocketAddr>)> {
    let live = Arc::new(Live::start(config, cache, operator).await?);
    let (mut accepting, mut addresses) = (JoinSet::new(), Vec::new());
    for listener in listeners(&live.served().config)? {
        let address = listener.local_addr().context("a listening socket has no address")?;
        tracing::info!(target: "lictor::app", %address, "listening");
        addresses.push(address);
        let live = Arc::clone(&live);
        accepting.spawn(async move { live.server.accept(listener).await });
    }
    Ok((live, accepting, addresses))
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

/// Looks after what the workers use, and beats as long as they run tasks.
async fn look_after(live: Arc<Live>, beat: Arc<Notify>) {
    let mut rounds = interval(HOUSEKEEPING);
    loop {
        let now = rounds.tick().await;
        live.look_after(now);
        beat.notify_one();
    }
}

/// Tells of dates that come near while the server runs. A start and each reload tell of theirs.
async fn look_at_dates(live: Arc<Live>) {
    every(DATES, || advice::log(&dates::advice(&live.served().config, SystemTime::now()))).await;
}

/// Does `work` each time after `pause`.
async fn every(pause: Duration, mut work: impl FnMut()) {
    loop {
        sleep(pause).await;
        work();
    }
}

/// Tells the service manager that the server is alive, which takes this thread and the workers.
async fn tell_alive(beat: Arc<Notify>) {
    loop {
        beat.notified().await;
        systemd::alive();
    }
}

async fn cut_off_expired(live: Arc<Live>) {
    let mut rounds = interval(HOUSEKEEPING);
    loop {
        rounds.tick().await;
        live.server.cut_off_expired(SystemTime::now());
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

/// Takes nothing more, and lets what is under way end for as long as the config says, or until there is another signal.
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
