//! When the config is loaded anew, and what became of it: by SIGHUP, when an operator asks, or when a file changes.
//!
//! One reload at a time, of which the newest counts: what is asked for while one loads plugins supersedes it, since the file
//! may be another one by then. What a reload does is the caller's.

mod watch;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use self::watch::Watch;
use crate::config::{Applies, Change};
use crate::sync::locked;
use crate::text::block;

/// Reloads that may be asked for before the next is looked at; whoever asks beyond that waits.
const MAX_ASKED: usize = 64;

/// Keys that an answer names; all of them are in the log and in the status.
const MAX_NAMED: usize = 8;

/// What a reload changed, or why it did not.
pub type Outcome = Result<Vec<Change>, Failed>;

/// A reload whose first step is done: what the new config takes away is gone.
pub struct Begun {
    /// What that was.
    pub narrowed: Vec<Change>,
    /// The second step. Dropped before its end, it changes nothing.
    pub loading: Pin<Box<dyn Future<Output = anyhow::Result<Done>> + Send>>,
}

/// A reload that is done.
pub struct Done {
    /// What it changed.
    pub changes: Vec<Change>,
    /// The files to follow from now on.
    pub files: Vec<PathBuf>,
}

/// A reload that did not put its config in force.
#[derive(Clone, Debug)]
pub struct Failed {
    why: Why,
    /// What it took away all the same.
    narrowed: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Why {
    Fault(String),
    Superseded,
    Stopping,
}

/// In words for an operator; the first line says what holds now.
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

/// A change by which something was taken away.
fn taken(change: &Change) -> String {
    format!("{} {}", change.key, change.kind)
}

/// Asks for reloads, and tells of the last.
#[derive(Clone)]
pub struct Handle {
    asked: mpsc::Sender<oneshot::Sender<Outcome>>,
    books: Arc<Mutex<Books>>,
}

/// The reload that is under way, the last one, and how many there were.
#[derive(Clone, Debug, Default)]
struct Books {
    under_way: Option<UnderWay>,
    succeeded: u64,
    failed: u64,
    at: Option<SystemTime>,
    /// Why the last one failed, where it did.
    fault: Option<String>,
    /// All that was taken away since the last one that succeeded.
    narrowed: Vec<Change>,
    /// Keys whose new values wait for a restart.
    pending: Vec<String>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    since: Instant,
    cause: &'static str,
    stage: String,
}

/// Tells what a reload is at.
#[derive(Clone)]
pub struct Stage(Arc<Mutex<Books>>);

/// The reloads of one server.
pub struct Reloads {
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hangup: Signal,
    watch: Option<Watch>,
    books: Arc<Mutex<Books>>,
}

/// That a reload is wanted.
struct Asked {
    cause: &'static str,
    by: Option<oneshot::Sender<Outcome>>,
}

impl Handle {
    /// Loads the config anew, and waits for the end of it.
    ///
    /// # Errors
    ///
    /// All that was in its way.
    pub async fn reload(&self) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let stopping = || Failed { why: Why::Stopping, narrowed: Vec::new() };
        self.asked.send(answer).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// What there is to know of the reloads so far, in lines.
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
    /// From now on it is at `stage`.
    pub fn set(&self, stage: &str) {
        if let Some(under_way) = &mut locked(&self.0).under_way {
            under_way.stage = stage.to_owned();
        }
    }
}

impl Reloads {
    /// Reloads by `hangup`, a signal that is listened for, and by changes of files where `is_watching`.
    ///
    /// # Errors
    ///
    /// When the system has no watch to give.
    pub fn new(hangup: Signal, is_watching: bool) -> anyhow::Result<(Self, Handle)> {
        let watch = is_watching.then(Watch::new).transpose().context("cannot watch files")?;
        let (sender, asked) = mpsc::channel(MAX_ASKED);
        let books = Arc::<Mutex<Books>>::default();
        let handle = Handle { asked: sender, books: Arc::clone(&books) };
        Ok((Self { asked, hangup, watch, books }, handle))
    }

    /// Follows `files`, and no others any more.
    pub fn follow(&mut self, files: &[PathBuf]) {
        if let Some(watch) = &mut self.watch {
            watch.follow(files);
        }
    }

    /// Begins each reload by `begin`, until all handles are gone. Reading and taking away always come to their end, so that
    /// asking again and again does not hold up a revocation; loading is dropped once another reload is wanted.
    pub async fn run<B>(mut self, mut begin: impl FnMut(Stage) -> B)
    where
        B: Future<Output = anyhow::Result<Begun>>,
    {
        let mut next = self.next().await;
        while let Some(Asked { cause, by }) = next.take() {
            tracing::info!(target: "lictor::reload", cause, "reloading");
            let stage = String::new();
            locked(&self.books).under_way = Some(UnderWay { since: Instant::now(), cause, stage });
            let outcome = match begin(Stage(Arc::clone(&self.books))).await {
                Ok(Begun { narrowed, loading }) => {
                    locked(&self.books).narrow(&narrowed);
                    tokio::select! {
                        biased;
                        done = loading => done.map_err(|error| Failed { why: fault(&error), narrowed }),
                        wanted = self.next() => {
                            next = wanted;
                            Err(Failed { why: Why::Superseded, narrowed })
                        }
                    }
                }
                Err(error) => Err(Failed { why: fault(&error), narrowed: Vec::new() }),
            };
            let outcome = outcome.map(|Done { changes, files }| {
                self.follow(&files);
                changes
            });
            locked(&self.books).keep(&outcome);
            // Whoever asked may be gone.
            let _ = by.map(|by| by.send(outcome));
            if next.is_none() {
                next = self.next().await;
            }
        }
    }

    /// The next reload that is wanted; none once nobody can ask any more. Nothing is lost where the future is dropped.
    async fn next(&mut self) -> Option<Asked> {
        tokio::select! {
            asked = self.asked.recv() => asked.map(|by| Asked { cause: "a command", by: Some(by) }),
            _ = self.hangup.recv() => Some(Asked { cause: "SIGHUP", by: None }),
            () = watch::changed(&mut self.watch) => Some(Asked { cause: "a file changed", by: None }),
        }
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
        for change in narrowed {
            // One key may be narrowed by each of several reloads that fail.
            if !self.narrowed.contains(change) {
                self.narrowed.push(change.clone());
            }
        }
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
