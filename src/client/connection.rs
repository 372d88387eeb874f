//! A conversation with a server that has admitted this client: bytes out, replies in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::reply::{Frame, Plain, ReplyError, ReplyReader};

/// How much of what the server sends is read while a request is still being written. More stays in the
/// socket.
const MAX_READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Frames in a row that answer no request for which somebody waits. Such are due after a cancellation: its own answer, and the
/// end of what it cancelled.
pub(super) const MAX_UNASKED: usize = 16;

/// How long the end of a connection waits to be told to the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection over which any number of requests may be sent.
#[derive(Debug)]
pub struct Connection {
    server: io::Result<SocketAddr>,
    reading: ReadHalf<TlsStream<TcpStream>>,
    writing: WriteHalf<TlsStream<TcpStream>>,
    replies: ReplyReader,
    /// Such frames since the last that was waited for.
    unasked: usize,
}

/// Why no reply came. The command may have run unless it is known not to have been sent.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server ended the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server ended the connection in the middle of a reply.
    #[error("the server closed the connection in the middle of a reply")]
    CutOff,
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
    /// The server goes on answering what it was not asked.
    #[error("the server sent more than {MAX_UNASKED} replies in a row to requests that nobody waits for")]
    Unasked,
    /// The server's bytes are no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl Connection {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        let server = stream.get_ref().0.peer_addr();
        let (reading, writing) = tokio::io::split(stream);
        Self { server, reading, writing, replies: ReplyReader::default(), unasked: 0 }
    }

    /// Which of a name's addresses it is connected to.
    ///
    /// # Errors
    /// If the connection had ended already when it was made.
    pub fn server(&self) -> Result<SocketAddr, CallError> {
        self.server.as_ref().copied().map_err(|_| CallError::Closed)
    }

    /// Sends one or more encoded requests.
    ///
    /// What the server says meanwhile is read: it may refuse a body before all of it is sent, and two ends
    /// that only write would wait for each other. That the server closed is not an error here, for why it did
    /// is yet to be read.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let Self { reading, writing, replies, .. } = self;
        let write = async {
            writing.write_all(bytes).await?;
            writing.flush().await
        };
        tokio::pin!(write);
        loop {
            let may_read = replies.buffer().len() < MAX_READ_AHEAD_BYTES;
            tokio::select! {
                biased;
                done = &mut write => return match done {
                    Err(error) if !is_end(&error) => Err(CallError::Lost(error)),
                    _ => Ok(()),
                },
                read = reading.read_buf(replies.buffer()), if may_read => match read {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if is_end(&error) => return Ok(()),
                    Err(error) => return Err(CallError::Lost(error)),
                },
            }
        }
    }

    /// Waits for the next frame. May be dropped and called again.
    ///
    /// # Errors
    /// If the connection ends, or what came is no frame.
    pub async fn next_frame(&mut self) -> Result<Frame, CallError> {
        loop {
            if let Some(frame) = self.replies.next_frame()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Waits for the next frame of the request `sequence`, or of the connection as a whole. May be dropped and called again.
    ///
    /// # Errors
    /// If the connection ends, what came is no frame, or too many are of other requests.
    pub async fn next_frame_of(&mut self, sequence: &str) -> Result<Frame, CallError> {
        loop {
            let frame = self.next_frame().await?;
            if frame.sequence().is_none_or(|of| of == sequence) {
                self.unasked = 0;
                return Ok(frame);
            }
            self.drop_unasked()?;
        }
    }

    /// Counts a frame that nobody waits for.
    fn drop_unasked(&mut self) -> Result<(), CallError> {
        self.unasked += 1;
        if self.unasked > MAX_UNASKED { Err(CallError::Unasked) } else { Ok(()) }
    }

    /// Waits for what the server says first.
    pub(super) async fn greeting(&mut self) -> Result<Plain, CallError> {
        loop {
            if let Some(greeting) = self.replies.greeting()? {
                return Ok(greeting);
            }
            self.fill().await?;
        }
    }

    /// Whether the server still listens, as far as that can be known without waiting. For use while no framed reply
    /// is due: frames for requests that nobody waits for any more are dropped.
    pub async fn is_still_open(&mut self) -> bool {
        loop {
            match self.replies.next_frame() {
                Ok(Some(Frame::Err { sequence: None, .. })) | Err(_) => return false,
                Ok(Some(_)) if self.drop_unasked().is_err() => return false,
                Ok(Some(_)) => continue,
                Ok(None) => {}
            }
            tokio::select! {
                biased;
                read = self.fill() => if read.is_err() {
                    return false;
                },
                // Only when a task gives way does the runtime look at the socket.
                () = tokio::task::yield_now() => return true,
            }
        }
    }

    /// Ends the connection in order.
    pub async fn close(mut self) {
        // A server that is gone needs no farewell.
        let _ = timeout(CLOSE_TIMEOUT, self.writing.shutdown()).await;
    }

    pub(super) async fn fill(&mut self) -> Result<(), CallError> {
        let read = match self.reading.read_buf(self.replies.buffer()).await {
            // A connection that ends without TLS's farewell is an end like another: a reply says itself
            // whether it is whole.
            Err(error) if is_end(&error) => 0,
            read => read.map_err(CallError::Lost)?,
        };
        match read {
            0 if self.replies.is_within_a_reply() => Err(CallError::CutOff),
            0 => Err(CallError::Closed),
            _ => Ok(()),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
