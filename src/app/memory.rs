//! The bound on the process's memory, and the measures taken above it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{Config, Limits, SizeOrPart};
use crate::plugin::Sandbox;
use crate::server::Server;
use crate::units::size;
use crate::watermark::{self, Watch};

/// Bounds the process to the config's mark: above it, idle instances of `sandbox` are given up, and
/// connections of `server` give up the memory they hold for requests that have not begun.
///
/// # Errors
///
/// If the system does not report the process's memory.
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

/// Sets the mark from `config`.
pub(super) fn set_mark(config: &Config) {
    watermark::set_mark(mark(&config.limits, available()));
}

/// Warns of a limit on plugins' or the compiler's memory that exceeds all there is, and so bounds nothing.
pub(super) fn advice(config: &Config) -> Vec<String> {
    advise(&config.limits, available())
}

/// Returns in words that the server and its compiler together may take more than there is, if so.
pub(super) fn shortage(config: &Config) -> Option<String> {
    let available = available()?;
    let (mark, compiler) = (mark(&config.limits, Some(available)), config.limits.compile_memory_bytes as u64);
    let [together, most] = [mark.saturating_add(compiler), available].map(|bytes| size(bytes >> 20 << 20));
    let is_short = mark.saturating_add(compiler) > available;
    is_short.then(|| {
        format!(
            "the server and its compiler may take {together}, and this machine or control group has {most}"
        )
    })
}

fn available() -> Option<u64> {
    watermark::available(Path::new("/"))
}

/// Returns the mark in bytes. A percentage is no mark if the machine's memory is unknown.
fn mark(limits: &Limits, available: Option<u64>) -> u64 {
    match (limits.process_memory, available) {
        (SizeOrPart::Size(size), _) => size.bytes(),
        (SizeOrPart::Percent(percent), Some(bytes)) => bytes / 100 * u64::from(percent),
        (SizeOrPart::Percent(_), None) => u64::MAX,
    }
}

fn advise(limits: &Limits, available: Option<u64>) -> Vec<String> {
    let (compiler, plugins) = (limits.compile_memory_bytes as u64, limits.plugin_memory_bytes as u64);
    let mark = mark(limits, available);
    let (whose, most) = match available {
        Some(bytes) if bytes < mark => ("the machine has", bytes),
        _ => ("process_memory is", mark),
    };
    let is_more = |key: &str, bytes: u64, most_words: &str, most: u64, otherwise: &str| {
        let [bytes_words, most_is] = [bytes, most].map(|bytes| size(bytes >> 20 << 20));
        let words = format!("{key} is {bytes_words}, {most_words} {most_is}: lower {key}, or {otherwise}");
        (bytes > most).then_some(words)
    };
    let killed = "the system may kill the compiler";
    let refused = "calls are refused before it takes effect";
    let compiler = is_more("compile_memory", compiler, whose, most, killed);
    compiler
        .into_iter()
        .chain(is_more("plugin_memory", plugins, "process_memory is", mark, refused))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_compiler_that_may_take_more_than_there_is_is_told_of() {
        let size = |text: &str| SizeOrPart::Size(ByteSize::try_from(text.to_owned()).unwrap());
        let part = SizeOrPart::Percent(50);
        for (process_memory, available, told) in [
            (part, None, None),
            (part, Some(5 * GIB), None),
            (size("64GiB"), Some(2 * GIB), None),
            (part, Some(2 * GIB), Some("process_memory is 1023MiB")),
            (size("1GiB"), Some(8 * GIB), Some("process_memory is 1GiB")),
            (size("1GiB"), None, Some("process_memory is 1GiB")),
            (size("64GiB"), Some(GIB), Some("the machine has 1GiB")),
        ] {
            let limits = Limits {
                compile_memory_bytes: 2 << 30,
                plugin_memory_bytes: 1 << 20,
                process_memory,
                ..Limits::default()
            };
            let advice = advise(&limits, available);
            let begin = told.map(|told| format!("compile_memory is 2GiB, {told}: lower compile_memory"));
            assert_eq!(advice.len(), usize::from(begin.is_some()), "{advice:?}");
            assert!(advice.concat().starts_with(&begin.unwrap_or_default()), "{advice:?}");
        }
        let process_memory = size("1GiB");
        let limits = Limits { compile_memory_bytes: 1 << 20, process_memory, ..Limits::default() };
        assert_eq!(
            advise(&limits, None),
            [
                "plugin_memory is 2GiB, process_memory is 1GiB: lower plugin_memory, or calls are refused before it takes effect"
            ]
        );
    }
}
