//! The listeners of `[admin]`: opened before anything is loaded, and closed after the server has stopped.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::live::Live;
use super::readiness::Readiness;
use crate::admin::{Asked, Content, Door, Listener, Refusal, Site, Socket, SocketFile, Visitor};
use crate::config::{self, AdminAddress};
use crate::server::{self, Turned, Visit};

/// The command whose permission a client needs to see the metrics.
const METRICS: &str = "@metrics";

/// The open listeners.
pub(super) struct Admin {
    readiness: Arc<Readiness>,
    tasks: JoinSet<()>,
    /// Accepted from once the server can tell who is a client.
    tls: Vec<TcpListener>,
    _files: Vec<SocketFile>,
}

impl Admin {
    /// Opens the listeners, and shows the state of `readiness` on those that need no certificate. All run on
    /// `workers`, so that an answer vouches for the threads that serve clients.
    ///
    /// # Errors
    ///
    /// If a socket or an address can't be listened on.
    pub(super) fn open(
        config: &config::Admin,
        readiness: Arc<Readiness>,
        workers: &Handle,
    ) -> anyhow::Result<Self> {
        let _entered = workers.enter();
        let (mut tasks, mut files) = (JoinSet::new(), Vec::new());
        let content: Arc<dyn Content> = readiness.clone();
        let mut show = |listener, door| {
            tasks.spawn_on(Site::new(Arc::clone(&content)).accept(listener, door), workers);
        };
        for address in &config.listen {
            match address {
                AdminAddress::Socket(path) => {
                    let (socket, file) = Socket::open(path)?;
                    log(&format!("unix:{}", path.display()), "metrics and health");
                    files.push(file);
                    show(Listener::Socket(socket), Door::Socket);
                }
                AdminAddress::Loopback(address) => {
                    let listener = bind(*address, "metrics and health")?;
                    show(Listener::Tcp(listener), Door::Loopback);
                }
            }
        }
        for address in &config.health {
            show(Listener::Tcp(bind(*address, "health")?), Door::Health);
        }
        let tls = config.tls_listen.iter().map(|address| bind(*address, "metrics and health to clients"));
        let tls = tls.collect::<Result<_, _>>()?;
        Ok(Self { readiness, tasks, tls, _files: files })
    }

    /// Shows that `live` serves, and lets its clients come.
    pub(super) fn serve(&mut self, live: &Arc<Live>, workers: &Handle) {
        self.readiness.serve(live);
        for listener in self.tls.drain(..) {
            let (live, readiness) = (Arc::clone(live), Arc::clone(&self.readiness));
            self.tasks.spawn_on(accept_clients(live, readiness, listener), workers);
        }
    }

    /// Shows that the server is stopping.
    pub(super) fn stop(&self) {
        self.readiness.stop();
    }
}

async fn accept_clients(live: Arc<Live>, readiness: Arc<Readiness>, listener: TcpListener) {
    let site = Site::new(readiness);
    let serve = move |stream, visit| {
        let site = Arc::clone(&site);
        async move { site.serve(stream, &Door::Client(Arc::new(Client(visit)))).await }
    };
    live.server.accept_visits(listener, serve).await;
}

fn bind(address: std::net::SocketAddr, shows: &str) -> anyhow::Result<TcpListener> {
    let listener = server::bind(address).context("[admin]")?;
    // Another one if the port was left to the system.
    let bound = listener.local_addr().context("a listening socket has no address")?;
    log(&bound.to_string(), shows);
    Ok(listener)
}

fn log(address: &str, shows: &str) {
    tracing::info!(target: "lictor::app", address, shows, "listening for [admin]");
}

/// A client that visits.
struct Client(Visit);

impl Visitor for Client {
    fn check(&self, asked: Asked) -> Result<(), Refusal> {
        let command = (asked == Asked::Metrics).then_some(METRICS);
        self.0.check(command).map_err(|turned| match turned {
            Turned::Forbidden(words) => Refusal::Forbidden(words),
            Turned::Away(words) => Refusal::Gone(words),
        })
    }
}
