//! Watchers: clients that are told of requests as they end.
//!
//! While nobody watches, a request loads one number. A watcher delays nobody: it has a budget of requests in
//! a second and a buffer of bounded size, and is told how many were left out beyond them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::registry::ConnectionHandle;
use crate::sync::locked;
use crate::telemetry::{Budget, CommandEvent, Ended, Recorder};

/// Most watchers at once.
pub(super) const MAX_WATCHERS: usize = 64;

/// Requests that a watcher is told of in a second.
const MAX_PER_SECOND: u32 = 200;

/// Requests that wait for one watcher, beside those in the pipe of its stream.
const MAX_WAITING: usize = 256;

/// Time for which requests are gathered: to write each one by itself would cost more than most requests.
const GATHERING: Duration = Duration::from_millis(50);

/// Time after which a watcher is told of those that were left out, even if no further request ends.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// All watchers.
#[derive(Default)]
pub(super) struct Watchers {
    /// Their number, read by each request.
    count: AtomicUsize,
    all: ArcSwap<Vec<Arc<Watcher>>>,
    /// Locked while one is added or removed.
    change: Mutex<()>,
}

/// A watcher.
pub(super) struct Watcher {
    wants: Wants,
    budget: Budget,
    waiting: Mutex<Vec<Arc<Ended>>>,
    came: Notify,
}

/// Decides if a watcher wants to be told of a request of a connection, if that is still there.
pub(super) type Wants =
    Box<dyn Fn(&Recorder, &CommandEvent<'_>, Option<&ConnectionHandle>) -> bool + Send + Sync>;

/// The requests that a watcher is told of next.
pub(super) struct Told {
    /// The requests, in the order of their ends.
    pub(super) requests: Vec<Arc<Ended>>,
    /// Number of requests that were left out since the last time.
    pub(super) left_out: u64,
}

/// A watcher that is told of requests until this is dropped.
pub(super) struct Watching {
    watcher: Arc<Watcher>,
    among: Arc<Watchers>,
}

impl Watchers {
    /// Returns true if anybody watches.
    pub(super) fn are_there(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Tells all watchers who want it of a request that has ended.
    #[cold]
    pub(super) fn tell(
        &self,
        recorder: &Recorder,
        event: &CommandEvent<'_>,
        connection: Option<&ConnectionHandle>,
    ) {
        let mut ended = None;
        for watcher in self.all.load().iter() {
            if (watcher.wants)(recorder, event, connection)
                && watcher.budget.admits_at(event.ended, MAX_PER_SECOND)
            {
                watcher.push(ended.get_or_insert_with(|| Arc::new(recorder.ended(event))));
            }
        }
    }

    /// Adds a watcher that wants these requests; `None` if there are too many.
    pub(super) fn watch(self: &Arc<Self>, wants: Wants) -> Option<Watching> {
        let (budget, waiting, came) = Default::default();
        let watcher = Arc::new(Watcher { wants, budget, waiting, came });
        self.change(|all| (all.len() < MAX_WATCHERS).then(|| all.push(Arc::clone(&watcher))))?;
        Some(Watching { watcher, among: Arc::clone(self) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Watcher>>) -> T) -> T {
        let _change = locked(&self.change);
        let mut all = Vec::clone(&self.all.load());
        let changed = change(&mut all);
        self.count.store(all.len(), Ordering::Relaxed);
        self.all.store(Arc::new(all));
        changed
    }
}

impl Watcher {
    fn push(&self, ended: &Arc<Ended>) {
        let mut waiting = locked(&self.waiting);
        if waiting.len() == MAX_WAITING {
            self.budget.leave_out();
            return;
        }
        waiting.push(Arc::clone(ended));
        drop(waiting);
        self.came.notify_one();
    }
}

impl Watching {
    /// Waits for requests, or for those that were left out.
    pub(super) async fn next(&self) -> Told {
        loop {
            // Best effort: what was left out is told after a while.
            let _ = timeout(TELL_AFTER, self.watcher.came.notified()).await;
            sleep(GATHERING).await;
            let requests = std::mem::take(&mut *locked(&self.watcher.waiting));
            let left_out = self.watcher.budget.take_left_out();
            if !requests.is_empty() || left_out > 0 {
                return Told { requests, left_out };
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.among.change(|all| all.retain(|other| !Arc::ptr_eq(other, &self.watcher)));
    }
}
