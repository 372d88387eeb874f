//! Connections to a peer, opened one at a time or many together, up to the greeting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{LoadError, Peer};

/// The time limit for connecting, and for the handshake with the greeting. A server with many handshakes in
/// progress delays some.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Concurrent handshakes: enough to keep a server busy, and below its limit for one address.
const HANDSHAKES_AT_ONCE: usize = 64;

/// The longest greeting, or refusal, in bytes.
const MAX_GREETING_BYTES: usize = 16 * 1024;

/// The time limit for closing a connection in good order.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection. The TLS state is boxed, so that moving a stream is cheap.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, performs the handshake and reads the greeting.
pub(super) async fn open(peer: &Peer) -> Result<Stream, LoadError> {
    let address = peer.address;
    let too_late = |step| move |_| LoadError::TimedOut { address, step };
    let stream = timeout(STEP_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(too_late("connecting"))?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| LoadError::connecting(address, source))?;
    timeout(STEP_TIMEOUT, greeted(peer, stream)).await.map_err(too_late("TLS handshake and greeting"))?
}

async fn greeted(peer: &Peer, stream: TcpStream) -> Result<Stream, LoadError> {
    let address = peer.address;
    let mut stream = match &peer.tls {
        None => Stream::Tcp(stream),
        Some((connector, name)) => {
            let stream = connector.connect(name.clone(), stream).await;
            Stream::Tls(Box::new(stream.map_err(|source| LoadError::Tls { address, source })?))
        }
    };
    let refused = |words: String| LoadError::Greeting { address, words };
    let mut received = Vec::new();
    loop {
        match peer.dialect.greeting(&received).map_err(refused)? {
            Some(length) if length == received.len() => return Ok(stream),
            Some(_) => return Err(refused("it said more than its greeting".to_owned())),
            None if received.len() > MAX_GREETING_BYTES => {
                return Err(refused("its greeting does not end".to_owned()));
            }
            None => {}
        }
        // In TLS 1.3 a server can reject the client's certificate only after the client's handshake is done.
        let count = stream.read_buf(&mut received).await;
        if count.map_err(|source| LoadError::Tls { address, source })? == 0 {
            return Err(refused("it closed the connection before its greeting was complete".to_owned()));
        }
    }
}

/// Opens `count` connections, several concurrently.
pub(super) async fn open_all(peer: &Peer, count: usize) -> Result<Vec<Stream>, LoadError> {
    let mut opened = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..count {
        if opening.len() >= HANDSHAKES_AT_ONCE
            && let Some(done) = opening.join_next().await
        {
            opened.push(joined(done)?);
        }
        let peer = peer.clone();
        opening.spawn(async move { open(&peer).await });
    }
    while let Some(done) = opening.join_next().await {
        opened.push(joined(done)?);
    }
    Ok(opened)
}

/// Returns a task's result. A panic in the task resumes here.
pub(super) fn joined<T>(done: Result<Result<T, LoadError>, JoinError>) -> Result<T, LoadError> {
    match done.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(cancelled)) => Err(LoadError::Lost(io::Error::other(cancelled))),
    }
}

impl Stream {
    /// Announces that nothing more will be sent, with a TLS `close_notify` if there is TLS. It is then the
    /// peer that closes the connection.
    pub(super) async fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Tls(stream) => {
                stream.get_mut().1.send_close_notify();
                stream.flush().await
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
