//! Bounds on the number of connections: in all, from one network, and before their peers are known.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout};

use super::gate::{Gate, Passage};
use crate::network::{Network, PeerAddress};
use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections in all. At the limit the server stops accepting; further ones wait in the listen queue.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64 network; of wider networks more). One more is closed at
    /// once.
    pub per_address: usize,
    /// Concurrent handshakes, including those whose certificate is being verified. Further ones wait, within
    /// their own deadline.
    pub unauthenticated: usize,
    /// Concurrent handshakes of one address. Further ones wait, within their own deadline, and hold no
    /// permit that other addresses could use.
    pub unauthenticated_per_address: usize,
    /// Handshakes of strangers from one address per second. Further ones wait, as above.
    pub handshakes_per_second: NonZeroU32,
}

/// Networks without connections that are remembered until their rate is full again, which takes at most a
/// second. Beyond this number the one that left first is forgotten.
const MAX_LEFT: usize = 4096;

/// Of the permits for handshakes, at most one in this many may be held by handshakes that wait for the
/// verification of a certificate. A pinned client needs only a handshake, so it gets in however many
/// certificates wait.
const HANDSHAKES_PER_VERIFICATION: usize = 2;

/// Longest wait for a permit to verify a certificate; meanwhile a handshake's permit is held.
const MAX_VERIFICATION_WAIT: Duration = Duration::from_secs(1);

/// Counts connections and lets them in.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    verifications: Arc<Semaphore>,
    networks: Mutex<Networks>,
}

#[derive(Debug, Default)]
struct Networks {
    known: HashMap<Network, Known>,
    /// Networks whose last connection has ended, and the time from which each may be forgotten.
    left: VecDeque<(Instant, Network)>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    gate: Arc<Gate>,
}

/// The slots of one connection, one in each of its networks. Released when dropped.
#[derive(Debug)]
pub(super) struct AddressSlots {
    admission: Arc<Admission>,
    /// The gates of its networks, the narrowest first.
    gates: SmallVec<[Arc<Gate>; 3]>,
}

/// The permits of one handshake; dropped once the peer is known.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    of_networks: SmallVec<[Passage; 3]>,
    _of_all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.unauthenticated)),
            verifications: Arc::new(Semaphore::new(
                (limits.unauthenticated / HANDSHAKES_PER_VERIFICATION).max(1),
            )),
            networks: Mutex::default(),
        }
    }

    pub(super) fn limits(&self) -> AdmissionLimits {
        self.limits
    }

    /// Acquires a permit for one more connection. Returns `None` once [`Self::close`] was called.
    pub(super) async fn acquire_connection(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.connections, Counter::ConnectionsDelayed).await
    }

    /// Ends all waits for such permits.
    pub(super) fn close(&self) {
        self.connections.close();
    }

    /// Counts a connection of `peer`, or refuses it if one of its networks has too many.
    pub(super) fn enter(self: &Arc<Self>, peer: PeerAddress) -> Option<AddressSlots> {
        let (limits, all) = (&self.limits, Network::all_of(peer));
        let mut networks = self.networks();
        networks.forget_left(Instant::now());
        let is_full = |network: &Network| {
            let connections = networks.known.get(network).map_or(0, |known| known.connections);
            connections >= network.part(limits.per_address, limits.connections)
        };
        if all.iter().any(is_full) {
            Counter::ConnectionsRefused.count();
            return None;
        }
        let gates = all.into_iter().map(|network| networks.count_in(network, limits)).collect();
        Some(AddressSlots { gates, admission: Arc::clone(self) })
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        locked(&self.networks)
    }
}

impl Networks {
    fn count_in(&mut self, network: Network, limits: &AdmissionLimits) -> Arc<Gate> {
        let known = self.known.entry(network).or_insert_with(|| {
            let handshakes = network.part(limits.unauthenticated_per_address, limits.unauthenticated);
            let rate = network.rate(limits.handshakes_per_second.get());
            Known { connections: 0, gate: Arc::new(Gate::new(network, handshakes, rate)) }
        });
        known.connections += 1;
        Arc::clone(&known.gate)
    }

    fn count_out(&mut self, network: Network) {
        let Some(known) = self.known.get_mut(&network) else { return };
        known.connections -= 1;
        if known.connections > 0 {
            return;
        }
        self.left.push_back((known.gate.full_again_at(), network));
        self.forget_left(Instant::now());
    }

    /// Forgets the networks that have no connections and whose rate is full again by `now`.
    fn forget_left(&mut self, now: Instant) {
        let may_go = |is_over: bool, known: &Known| {
            known.connections == 0 && (is_over || known.gate.full_again_at() <= now)
        };
        loop {
            let is_over = self.left.len() > MAX_LEFT;
            let Some((_, network)) = self.left.pop_front_if(|(full, _)| is_over || *full <= now) else {
                return;
            };
            // The network may have come back, and left again later.
            if self.known.get(&network).is_some_and(|known| may_go(is_over, known)) {
                self.known.remove(&network);
            }
        }
    }
}

impl AddressSlots {
    /// Acquires the permits for a handshake: first those of its own networks, then that of all handshakes.
    /// The handshake counts as a stranger's until the peer turns out to be a client.
    pub(super) async fn acquire_handshake(&self) -> Option<HandshakePermit> {
        let mut of_networks = SmallVec::new();
        for gate in &self.gates {
            of_networks.push(Gate::pass(gate).await?);
        }
        let of_all = acquire(&self.admission.handshakes, Counter::HandshakesDelayed).await?;
        of_networks.iter_mut().for_each(Passage::spend);
        Some(HandshakePermit { of_networks, _of_all: of_all })
    }

    /// Acquires a permit to verify the peer's certificate; returns `None` if there is none for too long.
    pub(super) async fn acquire_verification(&self) -> Option<OwnedSemaphorePermit> {
        let permit = acquire(&self.admission.verifications, Counter::HandshakesDelayed);
        timeout(MAX_VERIFICATION_WAIT, permit).await.ok()?
    }

    /// Returns the gates of its networks, the narrowest first.
    pub(super) fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }
}

impl HandshakePermit {
    /// Refunds the rate tokens that the handshake spent, since the peer is no stranger.
    pub(super) fn refund(mut self) {
        self.of_networks.iter_mut().for_each(Passage::refund);
    }
}

impl Drop for AddressSlots {
    fn drop(&mut self) {
        let mut networks = self.admission.networks();
        for gate in &self.gates {
            networks.count_out(gate.network);
        }
    }
}

/// Acquires a permit, and counts the acquisition in `delayed` if it has to wait. Returns `None` once the
/// semaphore is closed.
async fn acquire(semaphore: &Arc<Semaphore>, delayed: Counter) -> Option<OwnedSemaphorePermit> {
    match Arc::clone(semaphore).try_acquire_owned() {
        Ok(permit) => Some(permit),
        Err(TryAcquireError::Closed) => None,
        Err(TryAcquireError::NoPermits) => {
            delayed.count();
            Arc::clone(semaphore).acquire_owned().await.ok()
        }
    }
}

#[cfg(test)]
mod tests;
