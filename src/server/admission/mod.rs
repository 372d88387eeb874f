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
    /// Concurrent handshakes of one address. Further ones wait, within their own deadline, and take no place
    /// from other addresses.
    pub unauthenticated_per_address: usize,
    /// Handshakes of strangers from one address per second. Further ones wait, as above.
    pub handshakes_per_second: NonZeroU32,
}

/// Networks without connections that are remembered until their rate is full again, which takes at most a
/// second. Beyond this number the one that left first is forgotten.
const MAX_LEFT: usize = 4096;

/// Of the places for handshakes, at most one in this many may be held by handshakes that wait for the
/// verification of a certificate. A pinned client needs no more than a handshake, so it gets in however much
/// there is to verify.
const PLACES_PER_VERIFICATION: usize = 2;

/// Longest wait for a place to verify a certificate; the wait holds a place for handshakes.
const VERIFICATION_PATIENCE: Duration = Duration::from_secs(1);

/// Counts connections and lets them in.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    places: Arc<Semaphore>,
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

/// A connection's place among those of its networks. Released when dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    admission: Arc<Admission>,
    /// The gates of its networks, the narrowest first.
    gates: SmallVec<[Arc<Gate>; 3]>,
}

/// Permits for one handshake; dropped once the peer is known.
#[derive(Debug)]
pub(super) struct HandshakeTurn {
    of_networks: SmallVec<[Passage; 3]>,
    _of_all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.unauthenticated)),
            verifications: Arc::new(Semaphore::new(
                (limits.unauthenticated / PLACES_PER_VERIFICATION).max(1),
            )),
            networks: Mutex::default(),
        }
    }

    /// Waits for a place for one more connection. Returns `None` once [`Self::close`] was called.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.places, Counter::ConnectionsDelayed).await
    }

    /// Ends all waits for places.
    pub(super) fn close(&self) {
        self.places.close();
    }

    /// Counts a connection of `peer`, or refuses it if one of its networks has too many.
    pub(super) fn enter(self: &Arc<Self>, peer: PeerAddress) -> Option<AddressPlace> {
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
        Some(AddressPlace { gates, admission: Arc::clone(self) })
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

impl AddressPlace {
    /// Waits for permission to do the handshake: first behind others of its own networks, then behind all.
    /// The handshake counts as a stranger's until the peer turns out to be a client.
    pub(super) async fn handshake_turn(&self) -> Option<HandshakeTurn> {
        let mut of_networks = SmallVec::new();
        for gate in &self.gates {
            of_networks.push(Gate::pass(gate).await?);
        }
        let of_all = acquire(&self.admission.handshakes, Counter::HandshakesDelayed).await?;
        of_networks.iter_mut().for_each(Passage::spend);
        Some(HandshakeTurn { of_networks, _of_all: of_all })
    }

    /// Waits for a place to verify the peer's certificate; returns `None` if there is none for too long.
    pub(super) async fn verification(&self) -> Option<OwnedSemaphorePermit> {
        let place = acquire(&self.admission.verifications, Counter::HandshakesDelayed);
        timeout(VERIFICATION_PATIENCE, place).await.ok()?
    }

    /// Returns the gates of its networks, the narrowest first.
    pub(super) fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }
}

impl HandshakeTurn {
    /// Gives back the rate that the handshake was counted for, since the peer is no stranger.
    pub(super) fn was_of_client(mut self) {
        self.of_networks.iter_mut().for_each(Passage::take_back);
    }
}

impl Drop for AddressPlace {
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
