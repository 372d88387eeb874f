//! Names of log events and their fields, and how they are written; `metrics` has what is counted.
//!
//! Observes values, decides nothing. Events of a connection have the target `lictor::connection`, of a command
//! `lictor::command`, of a plugin `lictor::plugin`.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::wire::{CommandError, Request};

pub mod metrics;

use metrics::Counter;

/// The number of a connection, counted from the server's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// The number of a request within its connection. Written `c12-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its number, from 1.
    pub number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.number)
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people, coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// `Human` where standard error is a terminal, `Json` otherwise.
    #[must_use]
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Sends events of `level` and above to standard error, from a thread of their own: a log that is not read must not
/// stop the server, so at 128,000 unwritten lines further ones are dropped.
///
/// What is still queued is written when the guard is dropped. Only the first call in a process has an effect.
pub fn init(level: Level, format: Format) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(std::io::stderr());
    metrics::count_dropped(writer.error_counter());
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means that there is a subscriber already, which then goes on.
    let _ = match format {
        Format::Human => builder.try_init(),
        Format::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
    guard
}

/// Events that are kept instead of written, a line each.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<u8>>>);

/// Keeps the events of `level` and above. Only the first call in a process, of this or of [`init`], has an effect.
pub fn catch(level: Level) -> Events {
    let events = Events::default();
    let writer = events.clone();
    // An error means that there is a subscriber already, which then goes on.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .try_init();
    events
}

impl Events {
    /// What was kept since the last [`Events::clear`].
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Forgets what was kept.
    pub fn clear(&self) {
        self.bytes().clear();
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Writes one event per command, up to a number a second; beyond it they are counted.
///
/// A server that answers hundreds of thousands of commands a second would otherwise spend more time on its log than
/// on them. Commands that failed have a budget of their own, so that a flood of good ones can't hide them.
#[derive(Debug)]
pub struct CommandLog {
    started: Instant,
    arguments: bool,
    succeeded: Budget,
    failed: Budget,
}

/// Failed commands that are logged a second whatever the config says.
const MIN_FAILURES_PER_SECOND: u32 = 100;

/// Characters of a command's name, and of all its arguments, that are logged.
const MAX_COMMAND_CHARS: usize = 64;
const MAX_ARGUMENTS_CHARS: usize = 1024;

/// A command that ended.
#[derive(Clone, Copy, Debug)]
pub struct CommandEvent<'a> {
    /// Its request.
    pub id: RequestId,
    /// The client's name.
    pub client: &'a str,
    /// Its first argument, as the client sent it.
    pub command: &'a str,
    /// The plugin that ran it for its client, where one did.
    pub via: Option<&'a str>,
    /// When it was read.
    pub began: Instant,
    /// The reply's length in bytes, or the failure.
    pub result: Result<usize, &'a CommandError>,
    /// All its arguments as they are logged, where [`CommandLog::arguments`] gave them.
    pub arguments: Option<&'a str>,
}

impl CommandLog {
    /// A log of at most `per_second` successful commands a second, with their arguments where `arguments` says so.
    #[must_use]
    pub fn new(per_second: u32, arguments: bool) -> Self {
        Self {
            started: Instant::now(),
            arguments,
            succeeded: Budget::new(per_second),
            failed: Budget::new(per_second.max(MIN_FAILURES_PER_SECOND)),
        }
    }

    /// The arguments of `request` as they are to be logged; nothing where they are not.
    #[must_use]
    pub fn arguments(&self, request: &Request) -> Option<String> {
        self.arguments.then(|| {
            let joined = request.arguments().skip(1).collect::<Vec<_>>().join(" ");
            crate::text::shown(&joined, MAX_ARGUMENTS_CHARS).to_string()
        })
    }

    /// Writes `event`, or counts it where this second has had its share.
    pub fn record(&self, event: &CommandEvent<'_>) {
        let budget = if event.result.is_ok() { &self.succeeded } else { &self.failed };
        if !budget.admit(event.began.duration_since(self.started)) {
            return;
        }
        let CommandEvent { id, client, via, arguments, .. } = *event;
        let command = crate::text::shown(event.command, MAX_COMMAND_CHARS);
        let micros = u64::try_from(event.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (connection, request) = (id.connection, id);
        match event.result {
            Ok(bytes) => tracing::info!(
                target: "lictor::command",
                %connection, %request, client, %command, via, arguments, outcome = "ok", bytes, micros, "command"
            ),
            Err(error) => tracing::info!(
                target: "lictor::command",
                %connection, %request, client, %command, via, arguments, outcome = error.outcome.as_str(),
                code = error.code.as_str(), reason = %crate::text::shown(&error.message, MAX_ARGUMENTS_CHARS), micros,
                "command"
            ),
        }
    }

    /// Writes how many events were only counted since the last call; to be called now and then.
    pub fn report_unlogged(&self) {
        let succeeded = self.succeeded.take_unlogged();
        let failed = self.failed.take_unlogged();
        if succeeded + failed > 0 {
            Counter::EventsUnlogged.add(succeeded + failed);
            tracing::info!(target: "lictor::command", succeeded, failed, "commands not logged one by one");
        }
    }
}

/// So many events in each second.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    /// The second in the upper half, its events in the lower.
    window: AtomicU64,
    unlogged: AtomicU64,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self { per_second, window: AtomicU64::new(0), unlogged: AtomicU64::new(0) }
    }

    /// Threads that meet at a second's turn may admit a few too many, which does no harm.
    fn admit(&self, time: Duration) -> bool {
        let second = time.as_secs() << 32;
        let window = self.window.load(Ordering::Relaxed);
        let events = if window & !0xffff_ffff == second { window & 0xffff_ffff } else { 0 };
        if events >= u64::from(self.per_second) {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.window.store(second | (events + 1), Ordering::Relaxed);
        true
    }

    fn take_unlogged(&self) -> u64 {
        // A read first: most of the time there is nothing, and then no cache line is taken from the others.
        if self.unlogged.load(Ordering::Relaxed) == 0 { 0 } else { self.unlogged.swap(0, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_share_and_the_next_begins_anew() {
        let budget = Budget::new(3);
        let admitted = (0..10).filter(|_| budget.admit(Duration::from_millis(1500))).count();
        assert_eq!((admitted, budget.take_unlogged()), (3, 7));
        assert!(budget.admit(Duration::from_millis(2000)));
        assert_eq!(budget.take_unlogged(), 0);
    }

    #[test]
    fn ids_are_short_and_name_their_connection() {
        let id = RequestId { connection: ConnectionId(12), number: 3 };
        assert_eq!(id.to_string(), "c12-3");
    }
}
