//! Connections that are admitted and left idle.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, ReadBuf};

use super::connect::{Stream, open_all};
use super::{LoadError, Peer};

/// Idle connections, which end when this is dropped.
pub struct Held {
    streams: Vec<Stream>,
}

/// Opens so many connections, some at once, and leaves them idle.
///
/// # Errors
/// If one can't be had. Those that were opened before it are closed.
pub async fn hold(peer: &Peer, count: usize) -> Result<Held, LoadError> {
    Ok(Held { streams: open_all(peer, count).await? })
}

impl Held {
    /// How many of them the peer has neither ended nor sent anything on, as far as that can be known without waiting.
    pub async fn still_idle(&mut self) -> usize {
        // Only when a task gives way does the runtime look at its sockets.
        tokio::task::yield_now().await;
        let mut idle = 0;
        for stream in &mut self.streams {
            idle += usize::from(is_idle(stream).await);
        }
        idle
    }
}

async fn is_idle(stream: &mut Stream) -> bool {
    poll_fn(|cx| {
        let mut byte = [0];
        let read = Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
        Poll::Ready(read.is_pending())
    })
    .await
}
