//! Accepting visitors.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::pace::Pace;
use super::page::Door;
use super::site::Site;
use super::socket::Socket;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;

/// The most connections of one listener. A probe takes one for milliseconds.
const MAX_CONNECTIONS: usize = 32;

/// Pause in accepting when the process has no file descriptor or memory left for another connection.
const REST: Duration = Duration::from_millis(100);

/// A listening socket whose visitors come without a certificate.
pub enum Listener {
    /// A Unix socket.
    Socket(Socket),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// The connections of one listener, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    handles: VecDeque<AbortHandle>,
}

impl Site {
    /// Accepts visitors from `listener`, who come through `door`, for as long as this is polled. Dropping it
    /// ends all its connections.
    ///
    /// At the limit the oldest connection ends for the newest: a probe, which asks at once, is answered even
    /// while others hold connections open to block it.
    pub async fn accept(self: Arc<Self>, listener: Listener, door: Door) {
        let (mut connections, pace) = (Connections::default(), Pace::default());
        let door = Arc::new(door);
        loop {
            drop(pace.turn().await);
            let accepted = match &listener {
                Listener::Socket(socket) => {
                    socket.accept().await.map(|stream| connections.add(visit(&self, stream, &door)))
                }
                Listener::Tcp(listener) => {
                    listener.accept().await.map(|(stream, _)| connections.add(visit(&self, stream, &door)))
                }
            };
            if let Err(error) = accepted {
                cannot_accept(&error);
                sleep(REST).await;
            }
        }
    }
}

/// Serves `stream`.
fn visit<S>(site: &Arc<Site>, stream: S, door: &Arc<Door>) -> impl Future<Output = ()> + Send + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (site, door) = (Arc::clone(site), Arc::clone(door));
    async move { site.serve(stream, &door).await }
}

fn cannot_accept(error: &io::Error) {
    tracing::error!(name: LASTING, target: "lictor::app", %error, "cannot accept on a listener of [admin]; trying again");
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.handles.retain(|handle| !handle.is_finished());
        if self.handles.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.handles.pop_front()
        {
            Counter::AdminConnectionsEnded.count();
            oldest.abort();
        }
        self.handles.push_back(self.tasks.spawn(connection));
    }
}
