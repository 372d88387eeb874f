//! Output and log events of plugins: events of the server's log, escaped and bounded, with the plugin, client
//! and request they belong to.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::io::{AsyncWrite, sink};
use tracing::Level;
use tracing::field::{DisplayValue, display};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use super::lines::{LeftOut, Line, Lines, Piece};
use super::ungranted::Ungranted;
use crate::identity::PeerIdentity;
use crate::plugin::call::Call;
use crate::sync::locked;
use crate::telemetry::RequestId;
use crate::text::shown;

/// Characters of an event's context that are logged.
const MAX_CONTEXT_CHARS: usize = 128;

/// Characters of a URL that are logged.
const MAX_URL_CHARS: usize = 512;

/// Maximum bytes of one write of a guest.
const WRITE_PERMIT_BYTES: usize = 64 << 10;

/// The client and request of a call, for the log's fields. Gives each client a budget of its own.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct CallLabel {
    request: RequestId,
    client: PeerIdentity,
}

impl From<&Call> for CallLabel {
    fn from(call: &Call) -> Self {
        Self { request: call.id(), client: call.caller.clone() }
    }
}

/// Returns the fields for an event's client and request; none outside of calls.
fn fields(call: Option<&CallLabel>) -> (Option<&str>, Option<DisplayValue<RequestId>>) {
    (call.map(|call| call.client.name()), call.map(|call| display(call.request)))
}

/// The log of one plugin.
#[derive(Debug)]
pub(in crate::plugin) struct PluginLog {
    plugin: Arc<str>,
}

impl PluginLog {
    pub(in crate::plugin) fn new(plugin: Arc<str>) -> Self {
        Self { plugin }
    }

    /// The plugin's name.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    fn piece(&self, call: Option<&CallLabel>, stream: Stream, piece: Piece<'_>) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        match piece {
            Piece::Line(Line { text, left_out_bytes }) => {
                let text = String::from_utf8_lossy(text);
                tracing::info!(
                    target: "lictor::plugin::output",
                    plugin,
                    client,
                    request,
                    %stream,
                    line = %shown(&text, usize::MAX),
                    left_out_bytes = (left_out_bytes > 0).then_some(left_out_bytes),
                    "plugin output"
                );
            }
            // Another target than lines have: such a plugin has used up their budget.
            Piece::Full => {
                tracing::info!(target: "lictor::plugin", plugin, client, request, %stream, "further output is left out");
            }
        }
    }

    fn left_out(&self, call: Option<&CallLabel>, stream: Stream, left_out: LeftOut) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        let LeftOut { lines, bytes } = left_out;
        tracing::info!(target: "lictor::plugin", plugin, client, request, %stream, lines, bytes, "output was left out");
    }

    /// Warns the operator that a host function failed. `advice` names the key of the config that mends it, if
    /// one does.
    pub(super) fn host_fault(
        &self,
        call: Option<&CallLabel>,
        error: &dyn fmt::Display,
        advice: Option<&str>,
    ) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        tracing::warn!(target: "lictor::plugin", plugin, client, request, %error, advice, "a host function failed");
    }

    /// Logs that a host function refused an invalid request, which the plugin's author has to fix.
    pub(super) fn host_refused(&self, call: Option<&CallLabel>, error: &dyn fmt::Display) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        tracing::info!(target: "lictor::plugin", plugin, client, request, %error, "a host function failed");
    }

    /// Warns the operator of a request that no grant covers.
    pub(super) fn not_granted(&self, call: Option<&CallLabel>, ungranted: Ungranted<'_>) {
        self.host_fault(call, &ungranted.describe(), Some(&ungranted.advice(&self.plugin)));
    }

    /// Warns of refused memory: the plugin may have coped, or failed in words that do not name the cause.
    pub(in crate::plugin) fn short_of_memory(&self, call: Option<&CallLabel>, reason: &str, advice: &str) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        tracing::warn!(target: "lictor::plugin", plugin, client, request, reason, advice, "a call got no more memory");
    }

    /// Logs one of the plugin's own events.
    pub(super) fn event(&self, level: Level, call: Option<&CallLabel>, context: &str, message: &str) {
        let (client, request) = fields(call);
        let line = Line::of(message.as_bytes());
        let text = String::from_utf8_lossy(line.text);
        let left_out_bytes = (line.left_out_bytes > 0).then_some(line.left_out_bytes);
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "lictor::plugin::log",
                    Level::$level,
                    plugin = &*self.plugin,
                    client,
                    request,
                    context = %shown(context, MAX_CONTEXT_CHARS),
                    line = %shown(&text, usize::MAX),
                    left_out_bytes,
                    "plugin log"
                )
            };
        }
        match level {
            Level::TRACE => event!(TRACE),
            Level::DEBUG => event!(DEBUG),
            Level::INFO => event!(INFO),
            Level::WARN => event!(WARN),
            Level::ERROR => event!(ERROR),
        }
    }

    /// Warns of an HTTP request that was refused. `url` holds no query, user or password, which may be
    /// secret.
    pub(super) fn denied(&self, call: Option<&CallLabel>, url: &str, reason: &str, advice: &str) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        let url = shown(url, MAX_URL_CHARS);
        tracing::warn!(target: "lictor::plugin", plugin, client, request, %url, reason, advice, "HTTP request denied");
    }
}

/// A standard stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        })
    }
}

/// A stream of lines that the current call prints. Dropping it logs the unfinished line.
#[derive(Debug)]
pub(in crate::plugin) struct Printer {
    log: Arc<PluginLog>,
    stream: Stream,
    call: Option<CallLabel>,
    lines: Lines,
}

impl Printer {
    pub(super) fn new(log: Arc<PluginLog>, stream: Stream, call: Option<CallLabel>) -> Self {
        Self { log, stream, call, lines: Lines::default() }
    }

    /// Prints `bytes`; later bytes may continue the last line.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let Self { log, stream, call, lines } = self;
        lines.push(bytes, |piece| log.piece(call.as_ref(), *stream, piece));
    }

    /// Ends the current line.
    pub(super) fn end_line(&mut self) {
        let Self { log, stream, call, lines } = self;
        lines.end(|piece| log.piece(call.as_ref(), *stream, piece));
    }

    /// Gives the call its budget of output once more.
    pub(in crate::plugin) fn renew(&mut self) {
        let left_out = self.lines.renew();
        if left_out != LeftOut::default() {
            self.log.left_out(self.call.as_ref(), self.stream, left_out);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.end_line();
        self.renew();
    }
}

/// One of an instance's two standard streams. Clones write to the same one, as WASI asks.
#[derive(Clone)]
pub(super) struct Stdio(Arc<Mutex<Printer>>);

impl Stdio {
    pub(super) fn new(log: Arc<PluginLog>, stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Printer::new(log, stream, None))))
    }

    /// Ends the output of the previous call; later output belongs to `call`.
    pub(super) fn begin(&self, call: Option<CallLabel>) {
        let mut printer = self.printer();
        let (log, stream) = (Arc::clone(&printer.log), printer.stream);
        *printer = Printer::new(log, stream, call);
    }

    /// [`Printer::renew`].
    pub(super) fn renew(&self) {
        self.printer().renew();
    }

    fn printer(&self) -> MutexGuard<'_, Printer> {
        locked(&self.0)
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    /// Used by WASI 0.3 alone, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.printer().append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT_BYTES)
    }
}
