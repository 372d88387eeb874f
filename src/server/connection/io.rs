//! The byte streams of one client: requests are decoded from one, replies are encoded into the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::telemetry::metrics::Bytes;
use crate::wire::{Decoder, Fault, MAX_HEAD_BYTES, Phase, Request};

/// Bytes that are read ahead of the request being decoded: one head of the largest size. The decoder asks for
/// what a body needs beyond it.
const READ_BYTES: usize = MAX_HEAD_BYTES;

/// Bytes that are read at most once no further request is wanted: what a socket usually holds.
const MAX_LAST_BYTES: usize = 64 << 10;

/// A TLS stream with a buffer on either side.
pub(super) struct FramedIo {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    read: BytesMut,
    written: BytesMut,
    /// Set if bytes came since the decoder last found no whole request.
    has_new: bool,
    /// Set once the client has said that it sends nothing more.
    has_ended: bool,
    /// Set if the last poll for a request found none.
    is_waiting: bool,
    /// Bytes that are still read after [`stop_reading`](Self::stop_reading), if it was called.
    last_bytes: Option<usize>,
    /// Set if the process held too much memory when the connection's task was last woken.
    pub(super) memory_is_short: bool,
}

/// Reason for which a request can't be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed.
    Io(io::Error),
    /// The bytes are no request.
    Fault(Fault),
    /// There is no memory for the body of this request. The next one can be read.
    Unread(Request),
}

impl FramedIo {
    /// Wraps a stream that takes bodies of at most so many bytes, and sends `greeting` first.
    pub(super) fn new(stream: TlsStream<TcpStream>, max_body_bytes: usize, greeting: &[u8]) -> Self {
        Self {
            stream,
            decoder: Decoder::new(max_body_bytes),
            read: BytesMut::new(),
            written: greeting.into(),
            has_new: false,
            has_ended: false,
            is_waiting: false,
            last_bytes: None,
            memory_is_short: false,
        }
    }

    /// Bounds bodies to so many bytes from the next request on.
    pub(super) fn set_max_body_bytes(&mut self, max: usize) {
        self.decoder.set_max_body_bytes(max);
    }

    /// Returns the position of the decoded bytes within a request.
    pub(super) fn phase(&self) -> Phase {
        self.decoder.phase()
    }

    pub(super) fn stream(&self) -> &TlsStream<TcpStream> {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut TlsStream<TcpStream> {
        &mut self.stream
    }

    /// Returns the next request; `None` if the client has ended its side between two requests.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Request, ReadError>>> {
        let polled = self.poll_next(cx);
        self.is_waiting = polled.is_pending();
        polled
    }

    /// Ends requests with those that have arrived: that are whole in what was read, and in what can be read
    /// without waiting.
    pub(super) fn stop_reading(&mut self) {
        self.last_bytes.get_or_insert(MAX_LAST_BYTES);
    }

    /// Returns true if requests end because of [`stop_reading`](Self::stop_reading).
    pub(super) fn has_stopped(&self) -> bool {
        self.last_bytes.is_some()
    }

    /// Returns true if the last poll for a request found none: the task is woken when more of it comes.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Request, ReadError>>> {
        loop {
            if self.has_undecoded() {
                match self.decoder.decode(&mut self.read) {
                    Ok(Some(request)) => return Poll::Ready(Some(Ok(request))),
                    Ok(None) => self.has_new = false,
                    Err(fault) => return Poll::Ready(Some(Err(ReadError::Fault(fault)))),
                }
            }
            if self.has_ended {
                return Poll::Ready(
                    self.cut_short().map(|part| Err(ReadError::Fault(Fault::Truncated(part)))),
                );
            }
            if let Some(request) = self.shed_body() {
                return Poll::Ready(Some(Err(ReadError::Unread(request))));
            }
            if self.last_bytes == Some(0) {
                return Poll::Ready(None);
            }
            if self.read.is_empty() {
                self.read.reserve(READ_BYTES);
            }
            let before = self.read.len();
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => self.count_last_bytes(self.read.len() - before),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(ReadError::Io(error)))),
                Poll::Pending if self.has_stopped() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Keeps reading, up to one buffer, even while no request is wanted; otherwise a disconnect would go
    /// unnoticed. The bytes stay for [`poll_request`](Self::poll_request).
    ///
    /// # Errors
    ///
    /// If the connection failed.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.has_ended && self.read.len() < READ_BYTES {
            self.read.reserve(READ_BYTES - self.read.len());
            match self.poll_read(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// If the process is short of memory, gives up the body that has begun to arrive; returns its request, to
    /// be refused.
    pub(super) fn shed_body(&mut self) -> Option<Request> {
        if !self.memory_is_short {
            return None;
        }
        self.decoder.refuse_body(&mut self.read)
    }

    /// Returns true if the client has ended its side, and each of its bytes was decoded.
    pub(super) fn is_read_out(&self) -> bool {
        self.has_ended && !self.has_undecoded() && self.cut_short().is_none()
    }

    fn count_last_bytes(&mut self, read: usize) {
        if let Some(left) = &mut self.last_bytes {
            *left = left.saturating_sub(read);
        }
    }

    fn has_undecoded(&self) -> bool {
        self.has_new && !self.read.is_empty()
    }

    /// Returns the name of the part of a request that the bytes so far have begun.
    fn cut_short(&self) -> Option<&'static str> {
        match self.decoder.phase() {
            Phase::Idle => None,
            Phase::Head => Some("head"),
            Phase::Body => Some("body"),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read))? {
            0 => self.has_ended = true,
            read => {
                self.has_new = true;
                Bytes::Received.count(read);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the buffer of bytes to be written; more is appended.
    pub(super) fn unwritten(&mut self) -> &mut BytesMut {
        &mut self.written
    }

    /// Returns the number of bytes to be written.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.written.len()
    }

    /// Writes the buffered bytes, in as few TLS records as possible.
    ///
    /// # Errors
    ///
    /// If the connection failed.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            match ready!(poll_write_buf(Pin::new(&mut self.stream), cx, &mut self.written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => Bytes::Sent.count(written),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Frees empty buffers: so that idle connections stay cheap.
    pub(super) fn drop_empty(&mut self) {
        for buffer in [&mut self.read, &mut self.written] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }
}
