//! State shared by the tasks of one load: its clock, its counts, and the wakers for due requests.

use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::tally::{Tally, Window, nanos};
use super::{LoadError, Progress};
use crate::sync::locked;

/// A load in progress.
#[derive(Debug)]
pub(super) struct Course {
    began: Instant,
    // All tasks run on one thread, so these locks are never contended.
    tally: Mutex<Tally>,
    wakers: Mutex<Vec<Option<Waker>>>,
}

impl Course {
    /// Starts the clock.
    pub(super) fn begin(tally: Tally, connections: usize) -> Self {
        Self { began: Instant::now(), tally: Mutex::new(tally), wakers: Mutex::new(vec![None; connections]) }
    }

    /// The time since the start, in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }

    /// The start time.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Locks the counts.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.tally)
    }

    /// The progress so far.
    pub(super) fn progress(&self) -> Progress {
        let tally = self.tally();
        let total = Duration::from_nanos(tally.window.end);
        Progress { elapsed: self.began.elapsed().min(total), total, replies: tally.all_replies }
    }

    /// Ends the measured time now unless it has ended; returns the resulting window.
    pub(super) fn end_now(&self) -> Window {
        let now = self.now();
        let mut tally = self.tally();
        tally.window.end = now.min(tally.window.end);
        tally.window
    }

    /// Takes the counts for the report. Anything counted later is lost.
    pub(super) fn take_tally(&self) -> Result<Tally, LoadError> {
        let mut tally = self.tally();
        let empty = Tally::new(tally.window)?;
        Ok(std::mem::replace(&mut tally, empty))
    }

    /// Registers the waker of this connection for [`wake`](Self::wake).
    pub(super) fn wake_by(&self, connection: usize, waker: &Waker) {
        let mut wakers = locked(&self.wakers);
        if let Some(slot) = wakers.get_mut(connection) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes those of these connections that are registered.
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
