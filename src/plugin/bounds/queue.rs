//! How many calls may wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::telemetry::metrics::Counter;
use crate::wire::{Code, CommandError};

/// Places for calls that wait; what they wait for is not its concern.
#[derive(Debug)]
pub(in crate::plugin) struct Queue {
    waiting: AtomicUsize,
    most: usize,
}

/// A place in the queue, given back however the wait ends.
pub(in crate::plugin) struct Place<'a>(&'a AtomicUsize);

impl Queue {
    pub(in crate::plugin) fn new(most: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), most }
    }

    /// A place, where there is one.
    pub(in crate::plugin) fn place(&self) -> Result<Place<'_>, CommandError> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.most {
            return Ok(place);
        }
        Counter::QueueFull.count();
        Err(CommandError::not_run(Code::Busy, "Too many requests are waiting; try again later"))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let queue = Queue::new(1);
        let place = queue.place().ok().unwrap();
        assert!(queue.place().is_err() && queue.place().is_err());
        drop(place);
        assert!(queue.place().is_ok());
    }
}
