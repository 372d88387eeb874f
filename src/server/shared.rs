//! State shared by all connections.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::admission::Admission;
use super::control::Control;
use super::registry::Registry;
use super::service::Service;
use super::verify::Verifiers;
use super::watchers::Watchers;

/// State shared by all connections.
pub(super) struct Shared {
    pub(super) current: ArcSwap<Current>,
    pub(super) registry: Arc<Registry>,
    pub(super) control: Option<Arc<dyn Control>>,
    pub(super) started: Instant,
    /// The runtime that serves clients.
    pub(super) runtime: Handle,
    pub(super) admission: Arc<Admission>,
    pub(super) verifiers: Verifiers,
    pub(super) watchers: Arc<Watchers>,
    pub(super) accepted: AtomicU64,
    /// Notified when all listeners are to stop accepting.
    pub(super) stop: Notify,
    /// Notified whenever clients may run less: there is another [`Current`], or denials that were only
    /// reported are no more.
    pub(super) swapped: Notify,
}

/// The state that a reload swaps, all at once.
#[derive(Clone)]
pub struct Current {
    /// Roster, policy, routes and limits for connections.
    pub service: Arc<Service>,
    /// The TLS settings for handshakes.
    pub acceptor: TlsAcceptor,
    /// Longest time until a connection's peer is known.
    pub handshake_timeout: Duration,
}

impl Shared {
    /// Returns the service in force.
    pub(super) fn service(&self) -> Arc<Service> {
        Arc::clone(&self.current.load().service)
    }
}
