//! Requests that have ended, as `@slowlog` shows them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::identity::Utc;
use crate::telemetry::Ended;

/// Shows a request on one line, with those of its `arguments` that may be shown.
pub(super) fn line(ended: &Ended, arguments: Shown) -> String {
    let mut text = format!(
        "{}  {}  {}  {}",
        ended.id,
        Utc(ended.at),
        ended.client,
        ended.failure.map_or("ok", |(code, _)| code.as_str()),
    );
    let kib = |bytes: u64| bytes.div_ceil(1024);
    // Writing to a string cannot fail.
    let _ = write!(text, "  {}", millis(ended.took));
    for (name, time) in [("queue", ended.waited), ("cpu", ended.computed)] {
        if !time.is_zero() {
            let _ = write!(text, "  {name} {}", millis(time));
        }
    }
    if ended.memory_bytes > 0 {
        let _ = write!(text, "  memory {} KiB", kib(ended.memory_bytes));
    }
    let _ = write!(text, "  in {} B  out {} B", ended.request_bytes, ended.reply_bytes);
    if !ended.plugin.is_empty() {
        let _ = write!(text, "  plugin {}", ended.plugin);
    }
    if let Some(via) = &ended.via {
        let _ = write!(text, "  via {via}");
    }
    let _ = write!(text, "  {}", ended.command);
    if let Some(arguments) = arguments.of(ended).filter(|arguments| !arguments.is_empty()) {
        let _ = write!(text, " {arguments}");
    }
    text
}

/// Describes a request for a program.
pub(super) fn object(ended: &Ended, arguments: Shown) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "request": ended.id.to_string(),
        "at": Utc(ended.at).to_string(),
        "client": &*ended.client,
        "command": ended.command,
        "arguments": arguments.of(ended),
        "plugin": text(&ended.plugin),
        "via": ended.via,
        "code": ended.failure.map(|(code, _)| code.as_str()),
        "outcome": ended.failure.map_or("ok", |(_, outcome)| outcome.as_str()),
        "micros": micros(ended.took),
        "queue_micros": micros(ended.waited),
        "cpu_micros": micros(ended.computed),
        "memory_bytes": ended.memory_bytes,
        "request_bytes": ended.request_bytes,
        "reply_bytes": ended.reply_bytes,
    })
}

/// The arguments that may be shown: those that the config in force logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Those that were kept.
    Kept,
    /// None, even if an earlier config kept them.
    None,
}

impl Shown {
    /// Returns the arguments of `ended` that may be shown.
    fn of(self, ended: &Ended) -> Option<&str> {
        ended.arguments.as_deref().filter(|_| self == Self::Kept)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> String {
    let micros = micros(time);
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
