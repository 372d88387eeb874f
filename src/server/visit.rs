//! Visits: connections of clients that make no requests of the protocol, but see pages over TLS.
//!
//! A visitor is admitted as on the clients' own listeners: by the same certificate, handshake, verification
//! and roster. Its connections take no place from those, as they have an [`Admission`] of their own; they are
//! accepted above the watermark of the process's memory and while the server stops.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::admission::{AddressSlots, Admission, AdmissionLimits};
use super::handshake::{Entrance, authorize, not_in_time};
use super::listener::{REST, Server, cannot_accept, is_peers_fault, too_many_from};
use super::refusal::Refusal;
use super::shared::Shared;
use super::tls::of_http;
use crate::authz;
use crate::identity::PeerIdentity;
use crate::network::PeerAddress;
use crate::telemetry::ConnectionId;
use crate::wire::Request;

/// The most visits at once, in all and from one address: a scrape takes one for milliseconds.
const MAX_VISITS: usize = 128;
const MAX_VISITS_PER_ADDRESS: usize = 32;

/// The most handshakes of visitors at once, in all and from one address.
const MAX_HANDSHAKES: usize = 32;
const MAX_HANDSHAKES_PER_ADDRESS: usize = 8;

/// A client on a connection that shows it pages.
pub struct Visit {
    shared: Arc<Shared>,
    identity: PeerIdentity,
}

/// The reason why a visitor sees nothing, in words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It lacks a permission.
    Forbidden(String),
    /// It is no longer admitted, or has to be verified anew.
    Away(String),
}

impl Visit {
    /// Checks that the client is still admitted, and may run `command`, if one is given.
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn check(&self, command: Option<&str>) -> Result<(), Turned> {
        let service = self.shared.service();
        match service.roster.check_without_chain(&self.identity, SystemTime::now()) {
            Some(Ok(_)) => {}
            Some(Err(rejection)) => return Err(Turned::Away(rejection.to_string())),
            // The next handshake verifies it, on threads for that.
            None => {
                return Err(Turned::Away(
                    "The certificate has to be verified again: connect anew".to_owned(),
                ));
            }
        }
        let Some(command) = command else { return Ok(()) };
        let request = Request::composed(&[command.to_owned()], Bytes::new());
        let request = request.map_err(|fault| Turned::Forbidden(fault.to_owned()))?;
        if authz::permit(&self.identity, &request, &service.policy, SystemTime::now).is_some() {
            return Ok(());
        }
        let refusal = Refusal::denied(&request, &service.routes);
        Err(Turned::Forbidden(refusal.error(&request).message.into_owned()))
    }
}

impl Server {
    /// Accepts visitors from `listener` for as long as this is polled, and has `serve` answer each that is
    /// admitted. Dropping it ends all visits.
    pub async fn accept_visits<F>(
        &self,
        listener: TcpListener,
        serve: impl Fn(TlsStream<TcpStream>, Visit) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let admission = Arc::new(Admission::new(AdmissionLimits {
            connections: MAX_VISITS,
            per_address: MAX_VISITS_PER_ADDRESS,
            unauthenticated: MAX_HANDSHAKES,
            unauthenticated_per_address: MAX_HANDSHAKES_PER_ADDRESS,
            ..self.shared.admission.limits()
        }));
        let (serve, mut visits) = (Arc::new(serve), JoinSet::new());
        while let Some(permit) = admission.acquire_connection().await {
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let peer = PeerAddress::from(peer);
                    let Some(slots) = admission.enter(peer) else {
                        too_many_from(peer);
                        continue;
                    };
                    let id = ConnectionId(self.shared.accepted.fetch_add(1, Ordering::Relaxed) + 1);
                    let (shared, serve) = (Arc::clone(&self.shared), Arc::clone(&serve));
                    visits.spawn(async move {
                        let _permit = permit;
                        if let Some((stream, visit)) = Box::pin(admitted(shared, tcp, peer, id, &slots)).await
                        {
                            serve(stream, visit).await;
                        }
                    });
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    cannot_accept(&error);
                    tokio::time::sleep(REST).await;
                }
            }
            while visits.try_join_next().is_some() {}
        }
    }
}

/// Does the handshake, and identifies the visitor.
async fn admitted(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: PeerAddress,
    id: ConnectionId,
    slots: &AddressSlots,
) -> Option<(TlsStream<TcpStream>, Visit)> {
    let current = shared.current.load_full();
    let entrance = Entrance { acceptor: &of_http(&current.acceptor), refusal: forbidden };
    let authorizing = authorize(&shared, &current, entrance, tcp, peer, id, slots);
    let Ok(authorized) = timeout(current.handshake_timeout, authorizing).await else {
        not_in_time(id, peer);
        return None;
    };
    let (stream, identity) = authorized?.into_parts();
    tracing::debug!(target: "lictor::connection", connection = %id, %peer, client = identity.name(), "a visitor is admitted");
    Some((stream, Visit { shared, identity }))
}

/// Tells a peer over HTTP why it is not admitted.
fn forbidden(words: &str) -> String {
    let length = words.len() + 1;
    format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{words}\n"
    )
}
