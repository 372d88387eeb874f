//! The handshake, and the values that make it impossible to read a command before the peer is known.
//!
//! [`Handshaken`] can only be [authenticated](Handshaken::authenticate), only [`Authenticated`] gives out the
//! stream, and a [`Refused`] peer can only be told why.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::admission::AddressSlots;
use super::shared::{Current, Shared};
use super::stranger::{Explained, FirstBytes};
use crate::identity::{PeerIdentity, Rejection, Roster, Unproven, authenticate, recognize};
use crate::network::PeerAddress;
use crate::telemetry::metrics::Handshake;
use crate::telemetry::{ConnectionId, ERRORS};

/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The TLS settings of a listener, and the form in which a peer is told why it is refused.
#[derive(Clone, Copy)]
pub(super) struct Entrance<'a> {
    pub(super) acceptor: &'a TlsAcceptor,
    /// Makes a reply of the reason.
    pub(super) refusal: fn(&str) -> String,
}

/// Does the handshake and identifies the peer. A peer that is not admitted is told why.
pub(super) async fn authorize(
    shared: &Shared,
    current: &Current,
    entrance: Entrance<'_>,
    tcp: TcpStream,
    peer: PeerAddress,
    id: ConnectionId,
    slots: &AddressSlots,
) -> Option<Authenticated> {
    prepare(&tcp);
    let permit = slots.acquire_handshake().await?;
    let Some(first) = FirstBytes::peek(&tcp).await else {
        Handshake::Silent.count();
        tracing::debug!(target: "lictor::connection", connection = %id, %peer, "nothing came");
        return None;
    };
    let handshaken = match handshake(entrance.acceptor, tcp).await {
        Ok(handshaken) => handshaken,
        Err(error) => {
            match unproven(&error) {
                Some(unproven) => not_proven(unproven, &current.service.roster, id, peer),
                None => {
                    let Explained { what, advice, end } = first.explain(&error);
                    end.count();
                    ERRORS.add_connection((Some(id), peer), end.as_str(), "", &what, advice);
                    tracing::info!(target: "lictor::connection", connection = %id, %peer, error = &*what, advice, "handshake failed");
                }
            }
            return None;
        }
    };
    let (now, service) = (SystemTime::now(), Arc::clone(&current.service));
    let judge = |chain: Vec<_>| async move {
        let Some(_permit) = slots.acquire_verification().await else {
            not_in_time(id, peer);
            return None;
        };
        let judge = move || authenticate(&chain, &service.roster, now);
        let judged = shared.verifiers.of_stranger(slots.gates(), judge).await;
        if judged.is_none() {
            Handshake::Other.count();
            tracing::error!(target: "lictor::connection", connection = %id, %peer, "a certificate cannot be verified");
        }
        judged
    };
    match handshaken.authenticate(&current.service.roster, now, judge).await {
        Ok(authenticated) => {
            permit.refund();
            Some(authenticated)
        }
        Err(None) => None,
        Err(Some(refused)) => {
            let (rejection, detail) = (refused.rejection(), refused.rejection().detail());
            let thumbprint = rejection.thumbprint().map(tracing::field::display);
            end_of(rejection).count();
            add_refused((id, peer), rejection);
            tracing::warn!(target: "lictor::connection", connection = %id, %peer, thumbprint, reason = %rejection, detail, "refused");
            // The peer may disconnect before it is told.
            let _ = refused.explain(entrance).await;
            None
        }
    }
}

/// Logs a handshake in which the peer did not prove that it holds its certificate's key. Whatever it shows,
/// it is a stranger; but if the certificate is a client's, the operator has to know.
fn not_proven(unproven: &Unproven, roster: &Roster, id: ConnectionId, peer: PeerAddress) {
    Handshake::Unproven.count();
    let (of, words) = (unproven.sha256.to_string(), unproven.to_string());
    ERRORS.add_connection((Some(id), peer), Handshake::Unproven.as_str(), &of, &words, NOT_PROVEN);
    if let Some(of) = roster.pinned_for(unproven.sha256, unproven.sha1) {
        tracing::warn!(target: "lictor::connection", connection = %id, %peer, of, reason = %unproven, "a client's certificate was shown without proof");
    } else {
        tracing::info!(target: "lictor::connection", connection = %id, %peer, error = %unproven, "handshake failed");
    }
}

/// Advice on a peer that shows a certificate whose key it does not prove to hold.
const NOT_PROVEN: &str =
    "a peer that shows another's certificate, or a client whose key and certificate do not belong together";

fn add_refused((id, peer): (ConnectionId, PeerAddress), rejection: &Rejection) {
    let of = rejection.thumbprint().map(|thumbprint| thumbprint.to_string()).unwrap_or_default();
    let detail = rejection.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let words = format!("{rejection}{detail}");
    ERRORS.add_connection((Some(id), peer), end_of(rejection).as_str(), &of, &words, "");
}

fn end_of(rejection: &Rejection) -> Handshake {
    match rejection {
        Rejection::NoCertificate => Handshake::NoCertificate,
        Rejection::Unknown { .. } => Handshake::Unknown,
        Rejection::Unusable { .. } => Handshake::Unusable,
    }
}

pub(super) fn not_in_time(id: ConnectionId, peer: PeerAddress) {
    Handshake::Timeout.count();
    let words = "The peer was not known in time";
    ERRORS.add_connection((Some(id), peer), Handshake::Timeout.as_str(), "", words, "");
    tracing::info!(target: "lictor::connection", connection = %id, %peer, "not authorized in time");
}

/// Replies are written in one piece, so Nagle's algorithm has nothing to join. The server works without
/// either option, so failures are ignored.
fn prepare(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

/// A connection whose handshake is done and whose peer is not known yet.
struct Handshaken {
    stream: TlsStream<TcpStream>,
}

/// A connection of an admitted client. Only this gives out the stream.
pub(super) struct Authenticated {
    stream: TlsStream<TcpStream>,
    identity: PeerIdentity,
}

/// A connection whose peer is not admitted.
struct Refused {
    stream: TlsStream<TcpStream>,
    rejection: Rejection,
}

/// Does the handshake.
async fn handshake(acceptor: &TlsAcceptor, tcp: TcpStream) -> io::Result<Handshaken> {
    Ok(Handshaken { stream: acceptor.accept(tcp).await? })
}

/// Returns the certificate that the peer has shown in the handshake that ended with `error`, if the cause is
/// that the peer has not proven to hold its key.
fn unproven(error: &io::Error) -> Option<&Unproven> {
    Unproven::of(error.get_ref()?.downcast_ref()?)
}

impl Handshaken {
    /// Identifies the peer. If its pin does not decide, `judge` gets the chain; `None` from `judge` is a
    /// refusal.
    async fn authenticate<J>(
        self,
        roster: &Roster,
        now: SystemTime,
        judge: impl FnOnce(Vec<CertificateDer<'static>>) -> J,
    ) -> Result<Authenticated, Option<Refused>>
    where
        J: Future<Output = Option<Result<PeerIdentity, Rejection>>>,
    {
        let chain = self.stream.get_ref().1.peer_certificates().unwrap_or_default();
        let judged = match recognize(chain, roster, now) {
            Some(recognized) => recognized,
            None => judge(chain.to_vec()).await.ok_or(None)?,
        };
        match judged {
            Ok(identity) => Ok(Authenticated { stream: self.stream, identity }),
            Err(rejection) => Err(Some(Refused { stream: self.stream, rejection })),
        }
    }
}

impl Authenticated {
    pub(super) fn into_parts(self) -> (TlsStream<TcpStream>, PeerIdentity) {
        (self.stream, self.identity)
    }
}

impl Refused {
    fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    async fn explain(mut self, entrance: Entrance<'_>) -> io::Result<()> {
        say_goodbye(&mut self.stream, &(entrance.refusal)(&self.rejection.to_string())).await
    }
}

/// Returns the reply that tells a peer in these words why it is not served.
pub(super) fn explained(words: &str) -> String {
    format!("ERR {words}\r\n\r\n")
}

/// Sends the last reply, and closes.
pub(super) async fn say_goodbye(stream: &mut TlsStream<TcpStream>, reply: &str) -> io::Result<()> {
    stream.write_all(reply.as_bytes()).await?;
    stream.flush().await?;
    close_gently(stream).await
}

/// Bytes that are still read, and discarded, from a peer that was told goodbye.
const LINGER_BYTES: u64 = 256 << 10;

/// Longest wait for these bytes.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Ends our side, then reads a little of what the peer still sends: closing a socket with unread data resets
/// the connection, and a reset destroys what was sent last before the peer has read it.
pub(super) async fn close_gently(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.shutdown().await?;
    let tcp = stream.get_mut().0;
    let drain = async {
        let mut scrap = [0; 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match tcp.read(&mut scrap).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read as u64),
            }
        }
    };
    // Best effort: a timeout is not an error.
    let _ = timeout(LINGER_TIME, drain).await;
    Ok(())
}
