//! Spans that reached the collector. Those that did not are counted by their bound.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::Family;

/// Spans of this process.
#[derive(Debug)]
pub struct Spans {
    sent: AtomicU64,
}

/// Those of this process.
pub static SPANS: Spans = Spans { sent: AtomicU64::new(0) };

impl Spans {
    /// Counts spans that the collector took.
    pub fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }
}

pub(super) fn family() -> Family {
    let sent = SPANS.sent.load(Ordering::Relaxed);
    Family::counter("lictor_trace_spans_sent_total", "Spans that the collector took.", sent)
}
