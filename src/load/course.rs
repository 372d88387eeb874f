//! What the tasks of one load share: its clock, its counts, and how they are woken when a request is due.

use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::tally::{Tally, Window, nanos};
use super::{LoadError, Progress};
use crate::sync::locked;

/// One load on its way.
#[derive(Debug)]
pub(super) struct Course {
    began: Instant,
    // All tasks run on one thread, so nobody ever waits for these.
    tally: Mutex<Tally>,
    wakers: Mutex<Vec<Option<Waker>>>,
}

impl Course {
    /// Begins one now.
    pub(super) fn begin(tally: Tally, connections: usize) -> Self {
        Self { began: Instant::now(), tally: Mutex::new(tally), wakers: Mutex::new(vec![None; connections]) }
    }

    /// The time since the begin, in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The counts.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.tally)
    }

    /// How it goes.
    pub(super) fn progress(&self) -> Progress {
        let tally = self.tally();
        let total = Duration::from_nanos(tally.window.end);
        Progress { elapsed: self.began.elapsed().min(total), total, replies: tally.all_replies }
    }

    /// Ends the measured time now, if it has not ended; returns what it has become.
    pub(super) fn end_now(&self) -> Window {
        let now = self.now();
        let mut tally = self.tally();
        tally.window.end = now.min(tally.window.end);
        tally.window
    }

    /// The counts, for whoever reports on them. What is counted later is lost.
    pub(super) fn take_tally(&self) -> Result<Tally, LoadError> {
        let mut tally = self.tally();
        let empty = Tally::new(tally.window)?;
        Ok(std::mem::replace(&mut tally, empty))
    }

    /// Has this connection woken by [`wake`](Self::wake).
    pub(super) fn wake_by(&self, connection: usize, waker: &Waker) {
        let mut wakers = locked(&self.wakers);
        if let Some(slot) = wakers.get_mut(connection) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes these connections, as far as they asked for it.
    pub(super) fn wake(&self, connections: impl Iterator<Item = usize>) {
        let wakers = locked(&self.wakers);
        connections.filter_map(|connection| wakers.get(connection)?.as_ref()).for_each(Waker::wake_by_ref);
    }

    /// Wakes all connections.
    pub(super) fn wake_all(&self) {
        let wakers = locked(&self.wakers);
        wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }
}
