//! Changes of what the files of a config lead to.
//!
//! A thread looks at all files again and again, which costs some microseconds a file; `inotify` only says when to look sooner, and
//! which file its writer has closed. `changes` says when a change is acted on.
//!
//! Invariant: no disk is waited for here: this is the thread that hears signals.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::changes::Changes;
use super::inotify::Inotify;
use crate::files::Sightings;
use crate::sync::locked;

/// The time between two looks, if nothing is heard.
const LOOK: Duration = Duration::from_millis(250);

/// The same at least, whatever is heard: other files in the folders may change all the time.
const GAP: Duration = Duration::from_millis(100);

/// Waits for a change, for ever where none is looked for.
pub(super) async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// The files that are followed.
pub struct Watch {
    /// Locked by looks alone, one at a time.
    looker: Arc<Mutex<Looker>>,
    /// The look that is under way; a disk may take its time.
    look: Option<JoinHandle<Option<Instant>>>,
    /// When to look next.
    next: Instant,
    /// What the next look is to begin with.
    order: Option<Order>,
}

/// What a reload changes of what is followed.
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
    /// Follows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let looker = Looker { changes: Changes::default(), inotify: Inotify::new() };
        Self { looker: Arc::new(Mutex::new(looker)), look: None, next: Instant::now(), order: None }
    }

    /// Follows the files of `read`, which a reload has read since then, and no others any more; where it could not say which it
    /// read, those that there are.
    pub fn follow(&mut self, read: Option<Sightings>) {
        self.order = match (read, self.order.take()) {
            (Some(read), _) => Some(Order::Follow(read)),
            (None, Some(order)) => Some(order),
            (None, None) => Some(Order::Forget),
        };
        self.next = Instant::now();
    }

    /// Waits for a change that is to be acted on, which it is by [`Self::follow`]. Nothing is lost where the future is dropped.
    pub async fn changed(&mut self) {
        loop {
            let look = match &mut self.look {
                Some(look) => look,
                none => {
                    let (looker, order, next) = (Arc::clone(&self.looker), self.order.take(), self.next);
                    none.insert(spawn_blocking(move || locked(&looker).look(order, next)))
                }
            };
            // One that panics has been told of by its hook.
            let due = look.await.unwrap_or_default();
            self.look = None;
            let now = Instant::now();
            self.next = match due {
                // What it found may have been read meanwhile.
                _ if self.order.is_some() => now,
                Some(due) if due <= now => return,
                Some(due) => due.min(now + LOOK),
                None => now + LOOK,
            };
        }
    }
}

impl Looker {
    /// Looks at the files at `next`, or sooner if the kernel tells of one; gives when to act on what has changed, if anything
    /// has.
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
