//! The memory that the process may hold, and what is done where it holds more.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{Config, SizeOrPart};
use crate::plugin::Sandbox;
use crate::server::Server;
use crate::watermark::{self, Watch};

/// Holds the process to the mark that `config` says: above it idle instances of `sandbox` are given up, and connections of
/// `server` give up what they hold of requests that have not begun.
///
/// # Errors
///
/// When the system does not tell what the process holds.
pub(super) fn watch(config: &Config, sandbox: &Arc<Sandbox>, server: &Server) -> anyhow::Result<Watch> {
    set_mark(config);
    tracing::info!(
        target: "lictor::memory",
        process_memory = %config.limits.process_memory,
        mark_bytes = watermark::mark_bytes(),
        "memory is bounded"
    );
    let sandbox = Arc::clone(sandbox);
    let watch = Watch::start(move || sandbox.give_up_idle(), server.memory_teller());
    watch.context("the process's memory cannot be watched")
}

/// Sets the mark that `config` says. Where the machine does not tell what it has, a part of it is no mark.
pub(super) fn set_mark(config: &Config) {
    watermark::set_mark(match config.limits.process_memory {
        SizeOrPart::Size(size) => size.bytes(),
        SizeOrPart::Percent(percent) => match watermark::available(Path::new("/")) {
            Some(bytes) => bytes / 100 * u64::from(percent),
            None => u64::MAX,
        },
    });
}
