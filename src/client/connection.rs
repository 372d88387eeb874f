//! A connection to a server that has admitted this client: bytes out, replies in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::reply::{Frame, Plain, ReplyError, ReplyReader};

/// Maximum bytes read from the server while a request is still being written. The rest stays in the socket.
const MAX_READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Maximum consecutive frames for requests that no caller waits for. A few are due after a cancellation: its
/// own reply, and the end of the cancelled request.
pub(super) const MAX_UNASKED: usize = 16;

/// Timeout for telling the server that the connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection over which any number of requests may be sent.
#[derive(Debug)]
pub struct Connection {
    server: io::Result<SocketAddr>,
    reading: ReadHalf<TlsStream<TcpStream>>,
    writing: WriteHalf<TlsStream<TcpStream>>,
    replies: ReplyReader,
    /// Consecutive frames since the last expected one that no caller waited for.
    unasked: usize,
}

/// The reason for having no reply. The command may have run unless it is known not to have been sent.
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
    /// The server keeps sending unsolicited replies.
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

    /// The address that was connected to, of those of the server's name.
    ///
    /// # Errors
    /// If the connection had ended by the time it was made.
    pub fn server(&self) -> Result<SocketAddr, CallError> {
        self.server.as_ref().copied().map_err(|_| CallError::Closed)
    }

    /// Sends one or more encoded requests.
    ///
    /// Reads incoming bytes meanwhile: the server may refuse a body before all of it is sent, and if both
    /// ends only wrote they would deadlock. A close by the server is not an error here, because its reason
    /// has yet to be read.
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

    /// Waits for the next frame. Cancel safe.
    ///
    /// # Errors
    /// If the connection ends, or the bytes are no frame.
    pub async fn next_frame(&mut self) -> Result<Frame, CallError> {
        loop {
            if let Some(frame) = self.replies.next_frame()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Waits for the next frame of the request `sequence`, or of the connection as a whole. Cancel safe.
    ///
    /// # Errors
    /// If the connection ends, the bytes are no frame, or too many frames belong to other requests.
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

    /// Counts a frame that no caller waits for.
    fn drop_unasked(&mut self) -> Result<(), CallError> {
        self.unasked += 1;
        if self.unasked > MAX_UNASKED { Err(CallError::Unasked) } else { Ok(()) }
    }

    /// Waits for the server's greeting.
    pub(super) async fn greeting(&mut self) -> Result<Plain, CallError> {
        loop {
            if let Some(greeting) = self.replies.greeting()? {
                return Ok(greeting);
            }
            self.fill().await?;
        }
    }

    /// Reads what has arrived; returns true if the server is still connected, as far as can be known without
    /// waiting. Call only while no framed reply is due: frames of abandoned requests are dropped.
    pub async fn probe(&mut self) -> bool {
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
                // The runtime polls the socket only when a task yields.
                () = tokio::task::yield_now() => return true,
            }
        }
    }

    /// Closes the connection cleanly.
    pub async fn close(mut self) {
        // Best effort: the server may be gone.
        let _ = timeout(CLOSE_TIMEOUT, self.writing.shutdown()).await;
    }

    pub(super) async fn fill(&mut self) -> Result<(), CallError> {
        let read = match self.reading.read_buf(self.replies.buffer()).await {
            // An end without TLS's close_notify is an end like any other: a reply itself says whether it is
            // complete.
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
