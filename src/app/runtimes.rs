//! The tokio runtimes: one for the main thread, and one that serves clients and runs plugins.

use anyhow::Context as _;

/// Tasks that a busy thread runs before it polls the sockets. A connection may work for a quarter of a
/// millisecond each time, so at tokio's default of 61 a quiet client would wait tens of milliseconds beside
/// busy ones; see `benches/neighbours.rs`. Polling costs a microsecond, a tenth of a small command.
const TASKS_BETWEEN_EVENTS: u32 = 8;

/// Starts the runtime that serves clients and runs plugins.
pub(super) fn workers() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(TASKS_BETWEEN_EVENTS).build().context("cannot start the runtime")
}

/// Starts a runtime on the calling thread.
pub(crate) fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
