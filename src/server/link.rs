//! The bytes of one client: requests out of them, replies into them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::watermark;
use crate::wire::{Decoder, Fault, MAX_HEAD_BYTES, Phase, Request};

/// Bytes that are read of requests whose turn has not come: one head of the largest size. What a body needs beyond it,
/// its decoder asks for.
const READ_BYTES: usize = MAX_HEAD_BYTES;

/// A TLS stream with a buffer on either side.
pub(super) struct Link {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    read: BytesMut,
    written: BytesMut,
    /// Whether bytes came since the decoder last found no whole request.
    has_new: bool,
    /// Whether the client has said that it sends nothing more.
    has_ended: bool,
    /// Whether the last request that was looked for had not come.
    is_waiting: bool,
}

/// Why no further request can be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed.
    Io(io::Error),
    /// The bytes are no request.
    Fault(Fault),
    /// There is no memory for the body of this one. The next can be read.
    Unread(Request),
}

impl Link {
    /// A link that takes bodies of at most so many bytes, and has `greeting` to send.
    pub(super) fn new(stream: TlsStream<TcpStream>, max_body_bytes: usize, greeting: &[u8]) -> Self {
        Self {
            stream,
            decoder: Decoder::new(max_body_bytes),
            read: BytesMut::new(),
            written: greeting.into(),
            has_new: false,
            has_ended: false,
            is_waiting: false,
        }
    }

    /// Takes bodies of at most so many bytes from the next request on.
    pub(super) fn set_max_body_bytes(&mut self, max: usize) {
        self.decoder.set_max_body_bytes(max);
    }

    /// Where in a request the bytes stand that were decoded.
    pub(super) fn phase(&self) -> Phase {
        self.decoder.phase()
    }

    pub(super) fn stream(&self) -> &TlsStream<TcpStream> {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut TlsStream<TcpStream> {
        &mut self.stream
    }

    /// The next request; nothing once the client has ended its side between two.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Request, ReadError>>> {
        let polled = self.poll_next(cx);
        self.is_waiting = polled.is_pending();
        polled
    }

    /// Whether the last request that was looked for had not come: the task is woken when there is more of it.
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
            if self.read.is_empty() {
                self.read.reserve(READ_BYTES);
            }
            if let Err(error) = ready!(self.poll_read(cx)) {
                return Poll::Ready(Some(Err(ReadError::Io(error))));
            }
        }
    }

    /// Reads on while no request is wanted, up to what the buffer has room for: only who reads hears that the client
    /// went away. What comes stays for [`poll_request`](Self::poll_request).
    ///
    /// # Errors
    ///
    /// That the connection failed.
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

    /// Where the process is short of memory, gives up the body that has begun to come: its request, to be turned away.
    pub(super) fn shed_body(&mut self) -> Option<Request> {
        if !watermark::is_passed() {
            return None;
        }
        self.decoder.refuse_body(&mut self.read)
    }

    /// Whether the client has ended its side, and each of its bytes was decoded.
    pub(super) fn is_read_out(&self) -> bool {
        self.has_ended && !self.has_undecoded() && self.cut_short().is_none()
    }

    fn has_undecoded(&self) -> bool {
        self.has_new && !self.read.is_empty()
    }

    /// The part of a request that the bytes so far have begun.
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
            _ => self.has_new = true,
        }
        Poll::Ready(Ok(()))
    }

    /// What is to be written; more is added at its end.
    pub(super) fn unwritten(&mut self) -> &mut BytesMut {
        &mut self.written
    }

    /// Bytes that are to be written.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.written.len()
    }

    /// Writes what there is, in as few TLS records as it fits in.
    ///
    /// # Errors
    ///
    /// That the connection failed.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            if ready!(poll_write_buf(Pin::new(&mut self.stream), cx, &mut self.written))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Gives buffers back that hold nothing: ten thousand idle clients are to cost little.
    pub(super) fn drop_empty(&mut self) {
        for buffer in [&mut self.read, &mut self.written] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }
}
