//! Triggers and outcomes of config reloads: by SIGHUP, by an operator's request, or by a file change.
//!
//! One reload at a time, and the newest counts: a request that arrives while plugins are loading supersedes
//! that reload, since the file may have changed. The caller defines the work of a reload.
//!
//! Invariant: whatever the requests and however many, anything that one of them takes away is gone at once,
//! and anything that one adds comes in the end. So reading and taking away wait for nothing, and among
//! reloads that supersede one another each has twice the time of the one before.

mod changes;
mod inotify;
mod outcome;
mod status;
mod watch;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

pub use self::inotify::watch_fault;
pub use self::outcome::{Failed, Outcome};
use self::outcome::{Why, with};
pub use self::status::Status;
use self::status::UnderWay;
pub use self::watch::Watch;
use crate::config::Change;
use crate::files::Sightings;
use crate::sync::locked;

/// Maximum queued requests for reloads; further callers wait.
const MAX_ASKED: usize = 64;

/// Time for which a second reload in a row loads before a third supersedes it. The first has none: an
/// operator may correct a config that loads for minutes.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Maximum doublings of that time, which make half an hour.
const MAX_DOUBLED: u32 = 10;

/// A reload after its first step: everything that the new config takes away is gone.
pub struct Begun {
    /// The changes that took something away.
    pub narrowed: Vec<Change>,
    /// The second step, which returns the changes. Dropped before its end, it changes nothing.
    pub loading: Loading,
}

/// The second step of a reload.
pub type Loading = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Change>>> + Send>>;

/// Requests reloads, and reports on the last.
#[derive(Clone)]
pub struct Handle {
    asked: mpsc::Sender<oneshot::Sender<Outcome>>,
    status: Arc<Mutex<Status>>,
}

/// Reports the progress of a reload.
#[derive(Clone)]
pub struct Stage {
    status: Arc<Mutex<Status>>,
    read: Arc<Mutex<Option<Sightings>>>,
}

/// The reloads of one server.
pub struct Reloads {
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hangup: Signal,
    watch: Option<Watch>,
    status: Arc<Mutex<Status>>,
}

/// A request for a reload.
struct Asked {
    cause: &'static str,
    by: Option<oneshot::Sender<Outcome>>,
    /// Changes by which it has taken something away.
    narrowed: Vec<Change>,
}

impl Asked {
    fn new(cause: &'static str, by: Option<oneshot::Sender<Outcome>>) -> Self {
        Self { cause, by, narrowed: Vec::new() }
    }

    fn failed(&mut self, why: Why) -> Outcome {
        Err(Failed { why, narrowed: std::mem::take(&mut self.narrowed) })
    }

    fn answer(self, outcome: Outcome) {
        // The requester may be gone.
        let _ = self.by.map(|by| by.send(outcome));
    }
}

impl Handle {
    /// Reloads the config, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// All faults that prevented it.
    pub async fn reload(&self) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let stopping = || Failed { why: Why::Stopping, narrowed: Vec::new() };
        self.asked.send(answer).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// The reloads so far.
    #[must_use]
    pub fn status(&self) -> Status {
        locked(&self.status).clone()
    }
}

impl Stage {
    /// Records that the reload is now at `stage`.
    pub fn set(&self, stage: &str) {
        if let Some(under_way) = &mut locked(&self.status).under_way {
            under_way.stage = stage.to_owned();
        }
    }

    /// Records the files that the reload depends on, as they were before it read them: a change of any causes
    /// a further reload.
    pub fn has_read(&self, files: &Sightings) {
        *locked(&self.read) = Some(files.clone());
    }
}

impl Reloads {
    /// Reloads on `hangup`, and on changes of the files in `read`, if watching is wanted.
    pub fn new(hangup: Signal, read: Option<Sightings>) -> (Self, Handle) {
        let watch = read.map(|read| {
            let mut watch = Watch::new();
            watch.follow(Some(read));
            watch
        });
        let (sender, asked) = mpsc::channel(MAX_ASKED);
        let status = Arc::<Mutex<Status>>::default();
        let handle = Handle { asked: sender, status: Arc::clone(&status) };
        (Self { asked, hangup, watch, status }, handle)
    }

    /// Starts each reload by `begin`, until all handles are gone.
    pub async fn run<B>(mut self, mut begin: impl FnMut(Stage) -> B)
    where
        B: Future<Output = anyhow::Result<Begun>>,
    {
        let mut superseded = 0;
        let mut next = self.next().await;
        while let Some(mut asked) = next.take() {
            let cause = asked.cause;
            tracing::info!(target: "lictor::reload", cause, "reloading");
            let stage = "reading the config".to_owned();
            locked(&self.status).under_way = Some(UnderWay { since: Instant::now(), cause, stage });
            let taken = std::mem::take(&mut asked.narrowed);
            let outcome = match self.take_away(&mut asked, &mut begin).await {
                Ok(loading) => {
                    let superseding = Instant::now() + undisturbed(superseded);
                    let loaded;
                    (loaded, next) = self.load(loading, superseding, &mut begin).await;
                    superseded = loaded.as_ref().map_or(superseded + 1, |_| 0);
                    loaded.unwrap_or(Err(Why::Superseded))
                }
                Err(error) => Err(fault(&error)),
            };
            let outcome = match outcome {
                Ok(changes) => Ok(with(changes, taken)),
                Err(why) => {
                    asked.narrowed = with(taken, std::mem::take(&mut asked.narrowed));
                    asked.failed(why)
                }
            };
            locked(&self.status).keep(&outcome);
            asked.answer(outcome);
            if next.is_none() {
                next = self.next().await;
            }
        }
    }

    /// Performs the first step of a reload; returns the second one.
    async fn take_away<B>(
        &mut self,
        asked: &mut Asked,
        begin: &mut impl FnMut(Stage) -> B,
    ) -> anyhow::Result<Loading>
    where
        B: Future<Output = anyhow::Result<Begun>>,
    {
        let stage = Stage { status: Arc::clone(&self.status), read: Arc::default() };
        let begun = begin(stage.clone()).await;
        if let Some(watch) = &mut self.watch {
            watch.follow(locked(&stage.read).take());
        }
        let Begun { narrowed, loading } = begun?;
        locked(&self.status).narrow(&narrowed);
        asked.narrowed.extend(narrowed);
        Ok(loading)
    }

    /// Waits for the end of `loading`, or returns no outcome once a newer reload supersedes it; also returns
    /// the reload requested meanwhile, which only takes away until it is time to supersede.
    async fn load<B>(
        &mut self,
        mut loading: Loading,
        superseding: Instant,
        begin: &mut impl FnMut(Stage) -> B,
    ) -> (Option<Result<Vec<Change>, Why>>, Option<Asked>)
    where
        B: Future<Output = anyhow::Result<Begun>>,
    {
        let mut next: Option<Asked> = None;
        loop {
            tokio::select! {
                biased;
                done = &mut loading => return (Some(done.map_err(|error| fault(&error))), next),
                () = sleep_until(superseding.into()), if next.is_some() => return (None, next),
                asked = self.next() => {
                    let Some(mut asked) = asked else { return (None, None) };
                    if Instant::now() < superseding {
                        // A fault is reported when this reload runs.
                        let _ = self.take_away(&mut asked, begin).await;
                    }
                    if let Some(mut older) = next.replace(asked) {
                        locked(&self.status).superseded += 1;
                        let outcome = older.failed(Why::Superseded);
                        older.answer(outcome);
                    }
                }
            }
        }
    }

    /// The next request for a reload; `None` once nobody can send one. Cancel safe.
    async fn next(&mut self) -> Option<Asked> {
        tokio::select! {
            asked = self.asked.recv() => asked.map(|by| Asked::new("a command", Some(by))),
            _ = self.hangup.recv() => Some(Asked::new("SIGHUP", None)),
            () = watch::changed(&mut self.watch) => Some(Asked::new("a file changed", None)),
        }
    }
}

/// Time for which a reload loads undisturbed after `superseded` superseded ones.
fn undisturbed(superseded: u32) -> Duration {
    match superseded.checked_sub(1) {
        Some(doubled) => UNDISTURBED * 2_u32.pow(doubled.min(MAX_DOUBLED)),
        None => Duration::ZERO,
    }
}

fn fault(error: &anyhow::Error) -> Why {
    Why::Fault(format!("{error:#}"))
}
