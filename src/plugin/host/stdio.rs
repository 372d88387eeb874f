//! A plugin's standard output and error: lines in the server's log, escaped, bounded, marked with plugin and request.

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

use crate::identity::PeerIdentity;
use crate::plugin::invoke::Call;
use crate::sync::locked;
use crate::telemetry::RequestId;
use crate::text::shown;

/// A longer line is logged in pieces of this many bytes.
const MAX_LINE_BYTES: usize = 2048;

/// Characters of an event's context that are logged.
const MAX_CONTEXT_CHARS: usize = 128;

/// Characters of a URL that are logged.
const MAX_URL_CHARS: usize = 512;

/// Bytes of output that one call may log; the rest of its output is counted, not logged.
const MAX_CALL_BYTES: usize = 64 << 10;

/// What a guest may write at once, in bytes.
const WRITE_PERMIT_BYTES: usize = 64 << 10;

/// Stands for what a call printed past its bound.
const DROPPED: &[u8] = b"[the rest of this call's output is dropped]";

/// What the log says of the call that something is logged for: by it, budgets are each client's own.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct CallLabel {
    request: RequestId,
    client: PeerIdentity,
}

impl From<&Call> for CallLabel {
    fn from(call: &Call) -> Self {
        Self { request: call.id, client: call.caller.clone() }
    }
}

/// The fields of an event that say whose it is; none outside of calls.
fn fields(call: Option<&CallLabel>) -> (Option<&str>, Option<DisplayValue<RequestId>>) {
    (call.map(|call| call.client.name()), call.map(|call| display(call.request)))
}

/// One plugin's way into the log.
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

    fn line(&self, call: Option<&CallLabel>, stream: Stream, line: &[u8]) {
        let (client, request) = fields(call);
        let text = String::from_utf8_lossy(line);
        tracing::info!(
            target: "lictor::plugin::output",
            plugin = &*self.plugin,
            client,
            request,
            stream = %stream,
            line = %shown(&text, MAX_LINE_BYTES),
            "plugin output"
        );
    }

    /// A whole text of which each line is one, to the bound of what one call may print.
    pub(super) fn print(&self, call: Option<&CallLabel>, printed_bytes: &mut usize, text: &[u8]) {
        let (allowed, is_last) = share(printed_bytes, text.len());
        for line in text[..allowed].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            line.chunks(MAX_LINE_BYTES).for_each(|part| self.line(call, Stream::Err, part));
        }
        if is_last {
            self.line(call, Stream::Err, DROPPED);
        }
    }

    /// What the operator has to know of a host function that could not do what the plugin asked for.
    pub(super) fn host_fault(&self, call: Option<&CallLabel>, error: &dyn fmt::Display) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        tracing::warn!(target: "lictor::plugin", plugin, client, request, %error, "a host function failed");
    }

    /// One event of the plugin's own, of `level`.
    pub(super) fn event(&self, level: Level, call: Option<&CallLabel>, context: &str, message: &str) {
        let (client, request) = fields(call);
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "lictor::plugin::log",
                    Level::$level,
                    plugin = &*self.plugin,
                    client,
                    request,
                    context = %shown(context, MAX_CONTEXT_CHARS),
                    line = %shown(message, MAX_LINE_BYTES),
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

    /// A request that the plugin may not send, without what may be secret in it.
    pub(super) fn denied(&self, call: Option<&CallLabel>, url: &str, reason: &str) {
        let (plugin, (client, request)) = (&*self.plugin, fields(call));
        let url = shown(url, MAX_URL_CHARS);
        tracing::warn!(target: "lictor::plugin", plugin, client, request, %url, reason, "HTTP request denied");
    }
}

/// How many of `bytes` are logged after `written` of the same call, and whether these are the first that are not. Counts
/// them.
fn share(written: &mut usize, bytes: usize) -> (usize, bool) {
    let allowed = MAX_CALL_BYTES.saturating_sub(*written).min(bytes);
    let is_last = allowed < bytes && *written <= MAX_CALL_BYTES;
    *written = written.saturating_add(bytes);
    (allowed, is_last)
}

/// Which of the two streams.
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

/// One of an instance's two streams. Clones write to the same one, as WASI asks.
#[derive(Clone)]
pub(super) struct Stdio {
    stream: Stream,
    log: Arc<PluginLog>,
    output: Arc<Mutex<Output>>,
}

/// What the current call wrote.
#[derive(Default)]
struct Output {
    call: Option<CallLabel>,
    /// The line that is not ended yet.
    line: Vec<u8>,
    written_bytes: usize,
}

impl Stdio {
    pub(super) fn new(log: Arc<PluginLog>, stream: Stream) -> Self {
        Self { stream, log, output: Arc::default() }
    }

    /// Ends what the last call left unended, and marks what comes with `call`.
    pub(super) fn begin(&self, call: Option<CallLabel>) {
        let mut output = self.output();
        self.end_line(&mut output);
        *output = Output { call, ..Output::default() };
    }

    fn append(&self, bytes: &[u8]) {
        let mut output = self.output();
        let (allowed, is_last) = share(&mut output.written_bytes, bytes.len());
        for piece in bytes[..allowed].split_inclusive(|&byte| byte == b'\n') {
            for part in piece.chunks(MAX_LINE_BYTES) {
                output.line.extend_from_slice(part);
                if output.line.ends_with(b"\n") || output.line.len() >= MAX_LINE_BYTES {
                    self.end_line(&mut output);
                }
            }
        }
        if is_last {
            self.end_line(&mut output);
            self.log.line(output.call.as_ref(), self.stream, DROPPED);
        }
    }

    fn end_line(&self, output: &mut Output) {
        let line = output.line.strip_suffix(b"\n").unwrap_or(&output.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            self.log.line(output.call.as_ref(), self.stream, line);
        }
        output.line.clear();
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        locked(&self.output)
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        if Arc::strong_count(&self.output) == 1 {
            let mut output = self.output();
            self.end_line(&mut output);
        }
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    /// WASI 0.3's way, which is not linked.
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
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_told_once_wherever_it_is_met() {
        for piece in [1000, 1024, MAX_CALL_BYTES, MAX_CALL_BYTES + 1] {
            let (mut written, mut logged, mut told) = (0, 0, 0);
            for _ in 0..200 {
                let (allowed, is_last) = share(&mut written, piece);
                (logged, told) = (logged + allowed, told + u32::from(is_last));
            }
            assert_eq!((logged, told), (MAX_CALL_BYTES, 1), "{piece}");
        }
    }
}
