//! Log events, the names of their fields, and their output; counters are in `metrics`.
//!
//! Observes values, decides nothing. Events of a connection have the target `lictor::connection`, of a
//! command `lictor::command`, of a plugin `lictor::plugin`. Every event is written by `line`, which lets no
//! value add a line or reach a terminal unescaped, and is subject to a budget: `events`, or `commands` for
//! those of commands.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod budget;
mod commands;
mod ended;
mod errors;
mod events;
mod ids;
mod line;
pub mod metrics;
mod queue;
mod reporter;
mod slow;
mod source;
mod spent;
pub mod traces;

pub use budget::Budget;
pub use commands::{Arguments, CommandEvent, CommandLog, Recorder};
pub use ended::Ended;
pub use errors::{ERRORS, FailedCommand, Kind, LeftOut, RefusedConnection, Tally};
pub use ids::{ConnectionId, RequestId};
pub use slow::{Measure, SLOW_LOG, SlowLog};
pub use source::LASTING;
pub use spent::Spent;

use reporter::Reporter;

use crate::sync::locked;

/// The output format of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people, coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// `Human` if standard error is a terminal, `Json` otherwise.
    #[must_use]
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// The log of a process. Dropping it reports outstanding counts, then writes the queued lines.
#[derive(Debug)]
pub struct Log {
    _reporter: Reporter,
    _writer: WorkerGuard,
}

/// Sends events of `level` and above to standard error, from a separate thread: a log that is not read must
/// not stop the server, so beyond 16 MiB of unwritten lines further ones are dropped.
///
/// Only the first call in a process has an effect.
pub fn init(level: Level, format: Format) -> Log {
    let (writer, guard) = queue::lines(std::io::stderr());
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tell_panic(&place, panic.payload_as_str().unwrap_or_default(), backtrace.as_deref());
    }));
    // An error means that a subscriber is already set; it stays.
    let _ = match format {
        Format::Human if std::io::stderr().is_terminal() => colored(level, writer).try_init(),
        Format::Human => plain(level, writer).try_init(),
        Format::Json => json(level, writer).try_init(),
    };
    Log { _reporter: Reporter::start(), _writer: guard }
}

/// Maximum bytes of a panic's message that are logged.
const MAX_PANIC_BYTES: usize = 4096;

/// Logs a panic as an event: its message may quote foreign text.
fn tell_panic(place: &str, words: &str, backtrace: Option<&str>) {
    let words = &words[..words.floor_char_boundary(MAX_PANIC_BYTES)];
    tracing::error!(name: LASTING, target: "lictor::app", place, words, backtrace, "panicked");
}

fn plain<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().fmt_fields(line::Fields).with_ansi(false);
    registry(level).with(lines.with_writer(writer))
}

fn colored<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().fmt_fields(line::Fields).with_ansi(true);
    registry(level).with(lines.with_writer(writer))
}

fn json<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let lines = lines.with_current_span(false).with_span_list(false).with_ansi(false);
    registry(level).with(lines.with_writer(line::JsonLines(writer)))
}

fn registry(
    level: Level,
) -> impl Subscriber + Send + Sync + for<'s> tracing_subscriber::registry::LookupSpan<'s> {
    tracing_subscriber::registry().with(LevelFilter::from_level(level)).with(events::Gate)
}

/// Events kept in memory instead of being written, a line each.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<u8>>>);

/// Keeps the events of `level` and above. Only the first call in a process, of this or of [`init`], has an
/// effect.
pub fn catch(level: Level) -> Events {
    let events = Events::default();
    let writer = events.clone();
    // An error means that a subscriber is already set; it stays.
    let _ = plain(level, move || writer.clone()).try_init();
    events
}

impl Events {
    /// The events since the last [`Events::clear`].
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Discards the events.
    pub fn clear(&self) {
        self.bytes().clear();
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        locked(&self.0)
    }
}

impl std::io::Write for Events {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// An event below the level costs one comparison: its fields are never recorded.
    #[test]
    fn a_level_is_known_to_where_events_are_made() {
        let events = Events::default();
        let subscriber = plain(Level::INFO, move || events.clone());
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
    }

    /// Any text in any kind of field, in both formats.
    #[test]
    fn no_value_makes_a_line_or_is_obeyed_by_a_terminal() {
        const EVIL: &str = "x\n2026-11-29T22:00:00Z  INFO lictor::command: command client=\"admin\"\r\u{1b}]0;y\u{7}\u{9b}\u{202e}\u{61c}\u{200b}\u{7f}";
        struct Evil;
        impl fmt::Debug for Evil {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EVIL)
            }
        }
        let error = std::io::Error::other(EVIL);
        let say = |line: u32| {
            let (error, dynamic) = (&error, &error as &(dyn std::error::Error + 'static));
            tracing::info!(target: "lictor::test", text = EVIL, shown = %EVIL, debug = ?Evil, %error, dynamic, "said");
            tracing::info!(target: "lictor::test", "{EVIL}");
            tell_panic(&format!("src/x.rs:{line}"), EVIL, None);
        };
        // A panic is reported once.
        for (line, form) in (1..).zip(["plain", "colored", "json"]) {
            let say = || say(line);
            let events = Events::default();
            let writer = {
                let events = events.clone();
                move || events.clone()
            };
            match form {
                "plain" => tracing::subscriber::with_default(plain(Level::INFO, writer), say),
                "colored" => tracing::subscriber::with_default(colored(Level::INFO, writer), say),
                _ => tracing::subscriber::with_default(json(Level::INFO, writer), say),
            }
            let text = events.text();
            assert_eq!(text.lines().count(), 3, "{text}");
            let uncolored = ["[0m", "[1m", "[2m", "[3m", "[31m", "[32m"]
                .iter()
                .fold(text, |text, code| text.replace(&format!("\u{1b}{code}"), ""));
            assert!(
                !uncolored.contains(
                    |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{61c}\u{200b}".contains(c))
                ),
                "{uncolored:?}"
            );
            if form == "json" {
                for line in uncolored.lines() {
                    let event: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert!(["text", "message", "words"].iter().any(|field| event[field] == EVIL), "{event}");
                }
            }
        }
    }
}
