//! Accepting connections, and the life of each from its first packet to its last.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::admission::{AddressSlots, Admission, AdmissionLimits};
use super::connection::Connection;
use super::control::Control;
use super::exposition::exposition;
use super::handshake::{Entrance, authorize, close_gently, explained, not_in_time, say_goodbye};
use super::registry::Disconnect;
use super::shared::{Current, Shared};
use super::verify::Verifiers;
use crate::identity::KnownBy;
use crate::network::PeerAddress;
use crate::telemetry::metrics::Handshake;
use crate::telemetry::{ConnectionId, ERRORS, LASTING};
use crate::watermark;

/// Pause in accepting when the process has no file descriptor or memory left for another connection.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Longest time for saying goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// Spread of the ends of connections when the server stops: the first for each connection, the second at most
/// for all.
const STOP_SPREAD_OF_ONE: Duration = Duration::from_millis(2);
const STOP_SPREAD: Duration = Duration::from_secs(2);

/// Accepts connections and serves them.
pub struct Server {
    pub(super) shared: Arc<Shared>,
    connections: TaskTracker,
}

impl Server {
    /// Makes a server of `current`, until [`Self::swap`]. Operators control it through `control`.
    ///
    /// # Errors
    ///
    /// If the system refuses to start its threads.
    pub fn new(
        current: Current,
        admission: AdmissionLimits,
        control: Option<Arc<dyn Control>>,
    ) -> anyhow::Result<Self> {
        let shared = Shared {
            current: ArcSwap::from_pointee(current),
            registry: Arc::default(),
            control,
            started: Instant::now(),
            runtime: Handle::current(),
            admission: Arc::new(Admission::new(admission)),
            verifiers: Verifiers::start().context("cannot start the threads that verify certificates")?,
            watchers: Arc::default(),
            accepted: AtomicU64::new(0),
            stop: Notify::new(),
            swapped: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared), connections: TaskTracker::new() })
    }

    /// Puts `current` in force. Requests that have begun end under the old state; each connection checks at
    /// once whether its client is still admitted, and stops calls that its client may no longer run.
    pub fn swap(&self, current: Current) {
        let service = Arc::clone(&current.service);
        self.shared.current.store(Arc::new(current));
        self.shared.registry.cut_off_excess(&service.most_connections);
        self.recheck();
    }

    /// Has connections check that their clients are still admitted and may run what runs.
    fn recheck(&self) {
        self.shared.swapped.notify_waiters();
        self.shared.registry.renew();
    }

    /// Stops calls that ran only because their clients' denials were reported, if that ended after `since`
    /// and at `now` at the latest; to be called periodically.
    pub fn end_reporting(&self, since: SystemTime, now: SystemTime) {
        if self.shared.service().policy.ended_reporting(since, now) {
            self.recheck();
        }
    }

    /// Cuts off clients whose certificate has ended by `now`; to be called periodically.
    pub fn cut_off_expired(&self, now: SystemTime) {
        self.shared.registry.cut_off_expired(now);
    }

    /// Returns a function that tells all connections to check whether memory is short.
    pub fn memory_teller(&self) -> impl Fn() + Send + use<> {
        let registry = Arc::clone(&self.shared.registry);
        move || registry.check_memory()
    }

    /// Returns the metrics in the text format of Prometheus, as `@metrics` does.
    #[must_use]
    pub fn metrics(&self) -> String {
        exposition(&self.shared)
    }

    /// Accepts from `listener` until [`Self::stop`].
    pub async fn accept(&self, listener: TcpListener) {
        let mut is_failing = false;
        // A permit is taken before accepting, so that at the limit further connections wait in the kernel.
        while let Some(permit) = self.shared.admission.acquire_connection().await {
            let notified = self.shared.stop.notified();
            if self.shared.registry.is_stopping() {
                return;
            }
            let accepted = tokio::select! {
                accepted = accept_one(&listener) => accepted,
                () = notified => return,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(name: LASTING, target: "lictor::connection", "accepts again");
                    }
                    self.take(tcp, peer, permit);
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    is_failing = true;
                    cannot_accept(&error);
                    sleep(REST).await;
                }
            }
        }
    }

    /// Takes no further connection or request, lets running requests end for at most `patience`, and closes.
    /// Returns true if all ended by themselves.
    ///
    /// Connections are told at random times, so that their clients do not all reconnect at the same moment.
    pub async fn stop(&self, patience: Duration) -> bool {
        let present = self.shared.registry.close();
        self.shared.stop.notify_waiters();
        self.shared.admission.close();
        self.connections.close();
        let ending = async {
            let begun = Instant::now();
            for (connection, after) in present.iter().zip(stop_times(present.len(), patience)) {
                sleep_until(begun + after).await;
                connection.stop();
            }
            drop(present);
            self.connections.wait().await;
        };
        timeout(patience, ending).await.is_ok()
    }

    fn take(&self, tcp: TcpStream, peer: PeerAddress, permit: OwnedSemaphorePermit) {
        let Some(slots) = self.shared.admission.enter(peer) else {
            too_many_from(peer);
            return;
        };
        let id = ConnectionId(self.shared.accepted.fetch_add(1, Ordering::Relaxed) + 1);
        let shared = Arc::clone(&self.shared);
        self.connections.spawn(async move {
            let _permit = permit;
            serve(shared, tcp, peer, id, slots).await;
        });
    }
}

/// Advice on a client with too many connections.
const TOO_MANY: &str = "close some, which @clients shows, or raise `connections` in the client's limits";

/// Tells that a peer is refused as its address has too many connections.
pub(super) fn too_many_from(peer: PeerAddress) {
    const WORDS: &str = "refused: too many connections from this address";
    const ADVICE: &str =
        "raise limits.connections_per_address if they are wanted; @clients shows clients' own";
    ERRORS.add_connection((None, peer), "connections-per-address", "", WORDS, ADVICE);
    tracing::warn!(target: "lictor::connection", %peer, "refused: too many connections from this address");
}

/// Accepts the next connection once there is memory for one; until then they wait in the kernel.
async fn accept_one(listener: &TcpListener) -> io::Result<(TcpStream, PeerAddress)> {
    watermark::relief().await;
    let (tcp, peer) = listener.accept().await?;
    Ok((tcp, peer.into()))
}

/// Random, sorted delays after which each of so many connections is told that the server stops, spread over
/// at most a quarter of `patience`.
fn stop_times(connections: usize, patience: Duration) -> Vec<Duration> {
    let of_all = STOP_SPREAD_OF_ONE.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX));
    let spread = of_all.min(STOP_SPREAD).min(patience / 4);
    // std's only source of randomness.
    let random = RandomState::new();
    let part = |index: usize| random.hash_one(index) as f64 / u64::MAX as f64;
    let mut times: Vec<Duration> = (0..connections).map(|index| spread.mul_f64(part(index))).collect();
    times.sort_unstable();
    times
}

pub(super) fn cannot_accept(error: &io::Error) {
    tracing::error!(name: LASTING, target: "lictor::connection", %error, "cannot accept; trying again");
}

/// Returns true for errors of one connection that was closed before it was accepted, not of the listener.
pub(super) fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted
    )
}

/// Serves a connection: TCP, TLS, identity, then its requests.
async fn serve(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: PeerAddress,
    id: ConnectionId,
    slots: AddressSlots,
) {
    let began = Instant::now();
    let current = shared.current.load_full();
    let entrance = Entrance { acceptor: &current.acceptor, refusal: explained };
    let authorizing = async {
        watermark::relief().await;
        authorize(&shared, &current, entrance, tcp, peer, id, &slots).await
    };
    let authorized = timeout_at(began + current.handshake_timeout, authorizing);
    // Boxed, so that an idle connection does not hold the memory that its handshake needed.
    let authenticated = match Box::pin(authorized).await {
        Ok(Some(authenticated)) => authenticated,
        Ok(None) => return,
        Err(_elapsed) => return not_in_time(id, peer),
    };
    let (mut stream, identity) = authenticated.into_parts();
    let (client, thumbprint) = (identity.name_shared(), identity.thumbprint());
    let known_by = identity.known_by().clone();
    let most = || shared.service().most_connections.get(&client).copied();
    let registration = match shared.registry.join(id, identity, peer, most) {
        Ok(registration) => registration,
        Err(Disconnect { reason, words, .. }) => {
            reason.count();
            Handshake::TooMany.count();
            let of = format!("client {client}");
            ERRORS.add_connection((Some(id), peer), Handshake::TooMany.as_str(), &of, &words, TOO_MANY);
            tracing::warn!(target: "lictor::connection", connection = %id, %peer, client = &*client, %thumbprint, reason = words, "refused");
            let _ = timeout(GOODBYE, say_goodbye(&mut stream, &explained(&words))).await;
            return;
        }
    };
    match known_by {
        KnownBy::Pin => Handshake::Pinned.count(),
        KnownBy::Uri { .. } => Handshake::VouchedFor.count(),
    }
    tracing::info!(target: "lictor::connection", connection = %id, %peer, client = &*client, %thumbprint, %known_by, "admitted");
    let service = Arc::clone(&current.service);
    drop(current);
    let mut connection = Connection::new(stream, registration.handle(), service, shared);
    let reason = connection.serve().await;
    reason.count();
    if reason.is_orderly() {
        // A peer that does not take its goodbye is left to itself.
        let _ = timeout(GOODBYE, close_gently(connection.stream())).await;
    }
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (requests, reason) = (connection.requests(), reason.as_str());
    tracing::info!(target: "lictor::connection", connection = %id, client = &*client, requests, millis, reason, "ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_at_random_times_and_before_patience_does() {
        let patience = Duration::from_secs(10);
        let times = stop_times(10_000, patience);
        assert_eq!(times.len(), 10_000);
        assert!(times.is_sorted() && *times.last().unwrap() <= STOP_SPREAD, "{:?}", times.last());
        // Each tenth of the time has about a tenth of them: a thousand, usually give or take thirty.
        for tenth in 0..10 {
            let within = (STOP_SPREAD * tenth / 10)..(STOP_SPREAD * (tenth + 1) / 10);
            let count = times.iter().filter(|time| within.contains(*time)).count();
            assert!((700..1300).contains(&count), "{count} in {within:?}");
        }
        assert_ne!(times, stop_times(10_000, patience), "not the same the next time");
        assert!(*stop_times(10_000, Duration::from_millis(100)).last().unwrap() <= Duration::from_millis(25));
        assert!(*stop_times(10, patience).last().unwrap() <= 10 * STOP_SPREAD_OF_ONE);
        assert!(stop_times(0, patience).is_empty());
    }
}
