//! When the config is loaded anew, and what became of it: by SIGHUP, when an operator asks, or when a file changes.
//!
//! One reload after the other; what is asked for while one runs is done by the next. What a reload does is the caller's.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::config::{Applies, Change};
use crate::text::block;

/// How long nothing has to change before a change is acted on: files are written in pieces, and several at a time.
const SETTLED: Duration = Duration::from_millis(200);

/// Reloads that may be asked for while one runs; whoever asks beyond that waits.
const MAX_WAITING: usize = 64;

/// What a reload changed, or all that was in its way.
pub type Outcome = Result<Vec<Change>, String>;

/// Asks for reloads, and tells of the last.
#[derive(Clone)]
pub struct Handle {
    asked: mpsc::Sender<oneshot::Sender<Outcome>>,
    last: Arc<Mutex<Last>>,
}

/// The last reload, and how many there were.
#[derive(Clone, Debug, Default)]
struct Last {
    succeeded: u64,
    failed: u64,
    at: Option<SystemTime>,
    fault: Option<String>,
    /// Keys whose new values wait for a restart.
    pending: Vec<String>,
}

/// The reloads of one server.
pub struct Reloads {
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hangup: Signal,
    watch: Option<Watch>,
    last: Arc<Mutex<Last>>,
}

impl Handle {
    /// Loads the config anew, and waits for the end of it.
    ///
    /// # Errors
    ///
    /// All that was in its way, in words for an operator.
    pub async fn reload(&self) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let stopped = || "the server is stopping".to_owned();
        self.asked.send(answer).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// What there is to know of the reloads so far, in lines.
    #[must_use]
    pub fn status(&self) -> String {
        let Last { succeeded, failed, at, fault, pending } = locked(&self.last).clone();
        let at = at.map_or_else(String::new, |at| {
            let ago = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
            format!(", the last {ago} s ago")
        });
        let mut lines = vec![format!("reloads {succeeded} done, {failed} failed{at}")];
        lines.extend(
            fault.map(|fault| {
                format!("the last reload failed, and nothing was changed:\n  | {}", block(&fault))
            }),
        );
        if !pending.is_empty() {
            lines.push(format!("waiting for a restart: {}", pending.join(" ")));
        }
        lines.join("\n")
    }
}

impl Reloads {
    /// Listens for SIGHUP from now on, and for changes of files where `is_watching`.
    ///
    /// # Errors
    ///
    /// When the system has no signal or no watch to give.
    pub fn new(is_watching: bool) -> anyhow::Result<(Self, Handle)> {
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let watch = is_watching.then(Watch::new).transpose().context("cannot watch files")?;
        let (sender, asked) = mpsc::channel(MAX_WAITING);
        let last = Arc::<Mutex<Last>>::default();
        let handle = Handle { asked: sender, last: Arc::clone(&last) };
        Ok((Self { asked, hangup, watch, last }, handle))
    }

    /// Follows `files`, and no others any more.
    pub fn follow(&mut self, files: &[PathBuf]) {
        if let Some(watch) = &mut self.watch {
            watch.follow(files);
        }
    }

    /// Does each reload by `reload`, which gives the files to follow as well, until all handles are gone.
    pub async fn run<R>(mut self, mut reload: impl FnMut() -> R)
    where
        R: Future<Output = Result<(Vec<Change>, Vec<PathBuf>), String>>,
    {
        loop {
            let (cause, asker) = tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(asker) => ("a command", Some(asker)),
                    None => return,
                },
                _ = self.hangup.recv() => ("SIGHUP", None),
                () = changed(&mut self.watch) => ("a file changed", None),
            };
            tracing::info!(target: "lictor::reload", cause, "reloading");
            let outcome = reload().await.map(|(changes, files)| {
                self.follow(&files);
                changes
            });
            keep(&mut locked(&self.last), &outcome);
            // Whoever asked may be gone.
            let _ = asker.map(|asker| asker.send(outcome));
        }
    }
}

fn keep(last: &mut Last, outcome: &Outcome) {
    last.at = Some(SystemTime::now());
    match outcome {
        Ok(changes) => {
            last.succeeded += 1;
            last.fault = None;
            let waits = |change: &&Change| change.applies == Applies::Restart;
            last.pending = changes.iter().filter(waits).map(|change| change.key.clone()).collect();
            let changed = changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(" ");
            let pending = last.pending.join(" ");
            tracing::info!(target: "lictor::reload", changed, pending, "reloaded");
        }
        Err(fault) => {
            last.failed += 1;
            last.fault = Some(fault.clone());
            tracing::error!(target: "lictor::reload", fault = fault.as_str(), "not reloaded, and nothing was changed");
        }
    }
}

/// Waits for a change, for ever where none is looked for.
async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Changes of files.
struct Watch {
    watcher: RecommendedWatcher,
    changed: mpsc::Receiver<()>,
    files: Arc<Mutex<Vec<PathBuf>>>,
    folders: Vec<PathBuf>,
}

impl Watch {
    fn new() -> notify::Result<Self> {
        let (sender, changed) = mpsc::channel(1);
        let files = Arc::<Mutex<Vec<PathBuf>>>::default();
        let followed = Arc::clone(&files);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &locked(&followed))) {
                // One that waits already is as good.
                let _ = sender.try_send(());
            }
        })?;
        Ok(Self { watcher, changed, files, folders: Vec::new() })
    }

    /// Folders are watched, not files: editors and tools write a new file and give it the old one's name.
    fn follow(&mut self, files: &[PathBuf]) {
        let files: Vec<_> = files.iter().map(|path| absolute(path)).collect();
        let mut folders: Vec<_> = files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        folders.sort();
        folders.dedup();
        for folder in self.folders.iter().filter(|folder| !folders.contains(folder)) {
            // It may be gone.
            let _ = self.watcher.unwatch(folder);
        }
        for folder in folders.iter().filter(|folder| !self.folders.contains(folder)) {
            if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(target: "lictor::reload", folder = %folder.display(), %error, "cannot be watched");
            }
        }
        self.folders = folders;
        *locked(&self.files) = files;
    }

    async fn changed(&mut self) {
        if self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = timeout(SETTLED, self.changed.recv()).await {}
    }
}

/// Whether an event may have changed one of `files`. To read a file changes nothing, or each reload would be followed by
/// the next.
fn concerns(event: &Event, files: &[PathBuf]) -> bool {
    !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(|path| files.contains(path)))
}

/// A file's path as the watched folder's events have it.
fn absolute(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A panic under these locks would be in an assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
