//! Changes of the files that a config names, and of their targets.
//!
//! A thread polls all files, which costs some microseconds a file; `inotify` only triggers earlier polls and
//! reports files closed by their writers. `changes` decides when to act on a change.
//!
//! Invariant: never waits for a disk, as this is the thread that receives signals.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::changes::Changes;
use super::inotify::Inotify;
use crate::files::Sightings;
use crate::sync::locked;

/// Time between two polls without an event.
const LOOK: Duration = Duration::from_millis(250);

/// Minimum time between two polls, whatever the events: other files in the folders may change all the time.
const GAP: Duration = Duration::from_millis(100);

/// Waits for a change; for ever without a watch.
pub(super) async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// The files that are watched.
pub struct Watch {
    /// Locked only by polls, one at a time.
    looker: Arc<Mutex<Looker>>,
    /// The poll in progress; a disk may be slow.
    look: Option<JoinHandle<Option<Instant>>>,
    /// Time of the next poll.
    next: Instant,
    /// Change to apply at the start of the next poll.
    order: Option<Order>,
}

/// A reload's change to the set of watched files.
enum Order {
    Follow(Sightings),
    Forget,
}

struct Looker {
    changes: Changes,
    inotify: Option<Inotify>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let looker = Looker { changes: Changes::default(), inotify: Inotify::new() };
        Self { looker: Arc::new(Mutex::new(looker)), look: None, next: Instant::now(), order: None }
    }

    /// Watches the files of `read`, which a reload has since read, and no others; if the reload could not say
    /// which files it read, the present set stays.
    pub fn follow(&mut self, read: Option<Sightings>) {
        self.order = match (read, self.order.take()) {
            (Some(read), _) => Some(Order::Follow(read)),
            (None, Some(order)) => Some(order),
            (None, None) => Some(Order::Forget),
        };
        self.next = Instant::now();
    }

    /// Waits for a change to act on; the caller must then call [`Self::follow`]. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            let look = match &mut self.look {
                Some(look) => look,
                none => {
                    let (looker, order, next) = (Arc::clone(&self.looker), self.order.take(), self.next);
                    none.insert(spawn_blocking(move || locked(&looker).look(order, next)))
                }
            };
            // The panic hook has already reported a panic.
            let due = look.await.unwrap_or_default();
            self.look = None;
            let now = Instant::now();
            self.next = match due {
                // Its findings may have been read by a reload meanwhile.
                _ if self.order.is_some() => now,
                Some(due) if due <= now => return,
                Some(due) => due.min(now + LOOK),
                None => now + LOOK,
            };
        }
    }
}

impl Looker {
    /// Checks the files at `next`, or sooner after a kernel event; returns the time at which to act on the
    /// changes, if there are any.
    fn look(&mut self, order: Option<Order>, next: Instant) -> Option<Instant> {
        let left = || next.saturating_duration_since(Instant::now());
        match &self.inotify {
            Some(inotify) => {
                thread::sleep(left().min(GAP));
                inotify.wait(left());
            }
            None => thread::sleep(left()),
        }
        let now = Instant::now();
        match order {
            Some(Order::Follow(read)) => {
                self.changes.follow(read, now);
                if let Some(inotify) = &mut self.inotify {
                    inotify.follow(self.changes.paths());
                }
            }
            Some(Order::Forget) => self.changes.forget(),
            None => {}
        }
        let closed = self.inotify.as_ref().map(Inotify::closed).unwrap_or_default();
        self.changes.look(|path, stamp| stamp.again(path), |path| closed.contains(path), now);
        self.changes.due()
    }
}
