//! The metrics of a running server, in the text format of Prometheus.

use super::shared::Shared;
use crate::telemetry::metrics::{self, Family};
use crate::watermark;

/// Returns all metrics.
pub(super) fn exposition(shared: &Shared) -> String {
    metrics::exposition([
        Family::gauge(
            "lictor_uptime_seconds",
            "Seconds since the start.",
            shared.started.elapsed().as_secs(),
        ),
        Family::gauge(
            "lictor_connections",
            "Connections of clients that are admitted.",
            shared.registry.all().len(),
        ),
        Family::gauge("lictor_tasks", "Tasks of the runtime.", tasks(shared)),
        Family::gauge(
            "lictor_process_memory_bytes",
            "Anonymous and shared memory of the process at the last look.",
            watermark::used_bytes(),
        ),
        Family::gauge(
            "lictor_process_memory_mark_bytes",
            "limits.process_memory in bytes, above which nothing more is taken on.",
            watermark::mark_bytes(),
        ),
    ])
}

/// Number of tasks of the runtime that serves clients.
pub(super) fn tasks(shared: &Shared) -> usize {
    shared.runtime.metrics().num_alive_tasks()
}
