//! The consumer of a guest's stream, which writes it into the pipe to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{Source, StreamConsumer, StreamResult};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::plugin::host::context::HostState;
use crate::plugin::stream::pipe::PipeWriter;
use crate::plugin::stream::progress::Progress;
use crate::telemetry::metrics::Counter;

/// Consumes the bytes that a guest writes into its stream.
pub(super) struct GuestSink {
    writer: PipeWriter,
    progress: Arc<Progress>,
    /// Dropped when the stream is closed, by either side, which the receiver sees.
    _open: oneshot::Sender<()>,
}

impl GuestSink {
    /// Makes a sink into `writer`, and a receiver that ends when the guest's stream is closed.
    pub(super) fn new(writer: PipeWriter, progress: Arc<Progress>) -> (Self, oneshot::Receiver<()>) {
        let (open, closed) = oneshot::channel();
        (Self { writer, progress, _open: open }, closed)
    }
}

impl StreamConsumer<HostState> for GuestSink {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, HostState>,
        mut source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        let mut written = source.reborrow().as_direct(store.as_context_mut());
        let bytes = written.remaining();
        if bytes.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match this.writer.poll_write(cx, bytes) {
            Poll::Ready(Ok(taken)) => {
                written.mark_read(taken);
                this.progress.step();
                store.data_mut().went_on();
                Poll::Ready(Ok(StreamResult::Completed))
            }
            // Nobody takes the parts any more.
            Poll::Ready(Err(_)) => {
                this.progress.resume();
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            // The plugin cancelled the write that it had to wait for.
            Poll::Pending if finish => {
                this.progress.resume();
                Poll::Ready(Ok(StreamResult::Cancelled))
            }
            Poll::Pending => {
                Counter::StreamsHeldBack.count();
                this.progress.pause();
                Poll::Pending
            }
        }
    }
}
