//! Resources that a request takes beside its time, noted where they are measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Resources that a request took. Most requests note only their memory: neither a wait nor computing for a
/// tick is part of a fast call.
///
/// At one time only one thread serves a request, so a load and a store add.
#[derive(Debug, Default)]
pub struct Spent {
    waited_nanos: AtomicU64,
    computed_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    /// Set once it has computed for more than a tick.
    has_computed: AtomicBool,
    is_stream: AtomicBool,
}

impl Spent {
    /// Adds time in the queue.
    pub fn add_waited(&self, time: Duration) {
        add(&self.waited_nanos, time);
    }

    /// Marks that its plugin has computed for a tick; returns true the first time.
    pub fn mark_computing(&self) -> bool {
        !self.has_computed.swap(true, Ordering::Relaxed)
    }

    /// Returns true if its plugin has computed for a tick.
    #[must_use]
    pub fn has_computed(&self) -> bool {
        self.has_computed.load(Ordering::Relaxed)
    }

    /// Adds processor time.
    pub fn add_computed(&self, time: Duration) {
        add(&self.computed_nanos, time);
    }

    /// Notes the memory of the instance that ran it.
    pub fn note_memory(&self, bytes: usize) {
        self.memory_bytes.store(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Marks that its reply is a stream, which lasts as long as its client likes.
    pub fn mark_stream(&self) {
        self.is_stream.store(true, Ordering::Relaxed);
    }

    /// Time in the queue, if it had to wait.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_nanos.load(Ordering::Relaxed))
    }

    /// Processor time, if it computed for more than a tick.
    #[must_use]
    pub fn computed(&self) -> Duration {
        Duration::from_nanos(self.computed_nanos.load(Ordering::Relaxed))
    }

    /// Memory of the instance that ran it, in bytes; 0 if none did.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Returns true if its reply is a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream.load(Ordering::Relaxed)
    }
}

fn add(sum: &AtomicU64, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    sum.store(sum.load(Ordering::Relaxed).saturating_add(nanos), Ordering::Relaxed);
}
