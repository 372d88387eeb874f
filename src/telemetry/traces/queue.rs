//! The bounded queue of spans that wait to be sent.

use tokio::sync::mpsc;

use super::finished::Finished;
use crate::telemetry::metrics::Counter;

/// Spans that wait to be sent; more are dropped.
pub(super) const MAX_QUEUED: usize = 2048;

/// The way to the collector.
#[derive(Clone, Debug)]
pub struct Tracer(mpsc::Sender<Finished>);

/// Makes the way to a collector, and its end.
#[must_use]
pub fn queue() -> (Tracer, mpsc::Receiver<Finished>) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    (Tracer(sender), receiver)
}

impl Tracer {
    pub(super) fn send(&self, span: Finished) {
        if self.0.try_send(span).is_err() {
            Counter::SpansDropped.count();
        }
    }
}
