//! Changes of the files that a config names.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::sync::locked;

/// How long nothing has to change before a change is acted on: files are written in pieces, and several at a time.
const SETTLED: Duration = Duration::from_millis(200);

/// How long a change waits for that at most: a file that changes all the time is not to put off what another one takes away.
const UNSETTLED: Duration = Duration::from_secs(2);

/// Waits for a change, for ever where none is looked for.
pub(super) async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Changes of files.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    changed: mpsc::Receiver<()>,
    /// Since when something has changed that was not acted on.
    dirty: Option<Instant>,
    files: Arc<Mutex<Vec<PathBuf>>>,
    folders: Vec<PathBuf>,
}

impl Watch {
    pub(super) fn new() -> notify::Result<Self> {
        let (sender, changed) = mpsc::channel(1);
        let files = Arc::<Mutex<Vec<PathBuf>>>::default();
        let followed = Arc::clone(&files);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &locked(&followed))) {
                // One that waits already is as good.
                let _ = sender.try_send(());
            }
        })?;
        Ok(Self { watcher, changed, dirty: None, files, folders: Vec::new() })
    }

    /// Folders are watched, not files: editors and tools write a new file and give it the old one's name.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
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

    /// Waits for a change and until nothing changes any more. What it has heard of is not lost where the future is dropped.
    async fn changed(&mut self) {
        if self.dirty.is_none() && self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let since = *self.dirty.get_or_insert_with(Instant::now);
        let settled = async { while let Ok(Some(())) = timeout(SETTLED, self.changed.recv()).await {} };
        // Its time is over: it is acted on all the same.
        let _ = timeout_at(since + UNSETTLED, settled).await;
        self.dirty = None;
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
