//! Connections that are admitted and then left idle.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, ReadBuf};

use super::connect::{Stream, open_all};
use super::{LoadError, Peer};

/// Idle connections, closed on drop.
pub struct Held {
    streams: Vec<Stream>,
}

/// Opens `count` connections, several concurrently, and leaves them idle.
///
/// # Errors
/// A connection can't be opened. Those already open are closed.
pub async fn hold(peer: &Peer, count: usize) -> Result<Held, LoadError> {
    Ok(Held { streams: open_all(peer, count).await? })
}

impl Held {
    /// Counts the connections that the peer has neither closed nor sent anything on, as far as that is known
    /// without waiting.
    pub async fn still_idle(&mut self) -> usize {
        // The runtime polls its sockets only when a task yields.
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
