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
mod watch;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

pub use self::watch::Watch;
use crate::config::{Applies, Change};
use crate::files::Sightings;
use crate::sync::locked;
use crate::text::block;

/// Maximum queued requests for reloads; further callers wait.
const MAX_ASKED: usize = 64;

/// Maximum keys named in a reply; all of them are in the log and in the status.
const MAX_NAMED: usize = 8;

/// Time for which a second reload in a row loads before a third supersedes it. The first has none: an
/// operator may correct a config that loads for minutes.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Maximum doublings of that time, which make half an hour.
const MAX_DOUBLED: u32 = 10;

/// The changes of a reload, or the reason why it failed.
pub type Outcome = Result<Vec<Change>, Failed>;

/// A reload after its first step: everything that the new config takes away is gone.
pub struct Begun {
    /// The changes that took something away.
    pub narrowed: Vec<Change>,
    /// The second step, which returns the changes. Dropped before its end, it changes nothing.
    pub loading: Loading,
}

/// The second step of a reload.
pub type Loading = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Change>>> + Send>>;

/// A reload that did not put its config into force.
#[derive(Clone, Debug)]
pub struct Failed {
    why: Why,
    /// The changes that took something away all the same.
    narrowed: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Why {
    Fault(String),
    Superseded,
    Stopping,
}

/// Message for an operator; the first line states the present situation.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.why, self.narrowed.len()) {
            (Why::Stopping, _) => return f.write_str("Not reloaded: the server is stopping"),
            (_, 0) => f.write_str("Not reloaded, and nothing was changed: ")?,
            (_, named) => {
                let keys: Vec<_> = self.narrowed.iter().take(MAX_NAMED).map(taken).collect();
                write!(f, "Not reloaded, but what was taken away holds ({}", keys.join(", "))?;
                if named > MAX_NAMED {
                    write!(f, " and {} more", named - MAX_NAMED)?;
                }
                f.write_str("): ")?;
            }
        }
        match &self.why {
            Why::Fault(fault) => f.write_str(fault),
            Why::Superseded => f.write_str("superseded by a newer reload"),
            Why::Stopping => Ok(()),
        }
    }
}

/// Shows a change that took something away.
fn taken(change: &Change) -> String {
    format!("{} {}", change.key, change.kind)
}

/// Requests reloads, and reports on the last.
#[derive(Clone)]
pub struct Handle {
    asked: mpsc::Sender<oneshot::Sender<Outcome>>,
    books: Arc<Mutex<Books>>,
}

/// The reload in progress, the last one, and the number of reloads.
#[derive(Clone, Debug, Default)]
struct Books {
    under_way: Option<UnderWay>,
    succeeded: u64,
    failed: u64,
    at: Option<SystemTime>,
    /// The fault of the last reload, if it failed.
    fault: Option<String>,
    /// Everything taken away since the last successful reload.
    narrowed: Vec<Change>,
    /// Keys whose new values need a restart.
    pending: Vec<String>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    since: Instant,
    cause: &'static str,
    stage: String,
}

/// Reports the progress of a reload.
#[derive(Clone)]
pub struct Stage {
    books: Arc<Mutex<Books>>,
    read: Arc<Mutex<Option<Sightings>>>,
}

/// The reloads of one server.
pub struct Reloads {
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hangup: Signal,
    watch: Option<Watch>,
    books: Arc<Mutex<Books>>,
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

    /// Status of the reloads so far, in lines.
    #[must_use]
    pub fn status(&self) -> String {
        let Books { under_way, succeeded, failed, at, fault, narrowed, pending } =
            locked(&self.books).clone();
        let at = at.map_or_else(String::new, |at| {
            let ago = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
            format!(", the last {ago} s ago")
        });
        let mut lines = vec![format!("reloads {succeeded} done, {failed} failed{at}")];
        lines.extend(under_way.map(|UnderWay { since, cause, stage }| {
            format!("reloading for {} s, because of {cause}: {stage}", since.elapsed().as_secs())
        }));
        lines.extend(fault.map(|fault| match narrowed.is_empty() {
            true => format!("the last reload failed, and nothing was changed:\n  | {}", block(&fault)),
            false => format!("the last reload failed:\n  | {}", block(&fault)),
        }));
        if !narrowed.is_empty() {
            let taken: Vec<_> = narrowed.iter().map(taken).collect();
            lines.push(format!("taken away since the last reload that succeeded: {}", taken.join(", ")));
        }
        if !pending.is_empty() {
            lines.push(format!("waiting for a restart: {}", pending.join(" ")));
        }
        lines.join("\n")
    }
}

impl Stage {
    /// Records that the reload is now at `stage`.
    pub fn set(&self, stage: &str) {
        if let Some(under_way) = &mut locked(&self.books).under_way {
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
        let books = Arc::<Mutex<Books>>::default();
        let handle = Handle { asked: sender, books: Arc::clone(&books) };
        (Self { asked, hangup, watch, books }, handle)
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
            locked(&self.books).under_way = Some(UnderWay { since: Instant::now(), cause, stage });
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
            locked(&self.books).keep(&outcome);
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
        let stage = Stage { books: Arc::clone(&self.books), read: Arc::default() };
        let begun = begin(stage.clone()).await;
        if let Some(watch) = &mut self.watch {
            watch.follow(locked(&stage.read).take());
        }
        let Begun { narrowed, loading } = begun?;
        locked(&self.books).narrow(&narrowed);
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

/// `changes`, plus those of `others` that are not among them.
fn with(mut changes: Vec<Change>, others: Vec<Change>) -> Vec<Change> {
    let new: Vec<_> = others.into_iter().filter(|other| !changes.contains(other)).collect();
    changes.extend(new);
    changes
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

impl Books {
    fn narrow(&mut self, narrowed: &[Change]) {
        if narrowed.is_empty() {
            return;
        }
        // Several failing reloads may each narrow the same key.
        self.narrowed = with(std::mem::take(&mut self.narrowed), narrowed.to_vec());
        let taken = narrowed.iter().map(taken).collect::<Vec<_>>().join(", ");
        tracing::info!(target: "lictor::reload", taken, "taken away");
    }

    fn keep(&mut self, outcome: &Outcome) {
        self.under_way = None;
        match outcome {
            Ok(changes) => {
                self.at = Some(SystemTime::now());
                self.succeeded += 1;
                (self.fault, self.narrowed) = (None, Vec::new());
                let waits = |change: &&Change| change.applies == Applies::Restart;
                self.pending = changes.iter().filter(waits).map(|change| change.key.clone()).collect();
                let changed = changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(" ");
                let pending = self.pending.join(" ");
                tracing::info!(target: "lictor::reload", changed, pending, "reloaded");
            }
            Err(Failed { why: Why::Fault(fault), narrowed }) => {
                self.at = Some(SystemTime::now());
                self.failed += 1;
                self.fault = Some(fault.clone());
                let fault = fault.as_str();
                if narrowed.is_empty() {
                    tracing::error!(target: "lictor::reload", fault, "not reloaded, and nothing was changed");
                } else {
                    tracing::error!(target: "lictor::reload", fault, "not reloaded, but what was taken away holds");
                }
            }
            Err(_) => tracing::info!(target: "lictor::reload", "superseded by a newer reload"),
        }
    }
}
