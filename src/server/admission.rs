//! How many connections there may be: in all, from one network, and before they have said who they are.

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
    /// Connections of one address (IPv6: of one /64 network; of wider ones more). One more is closed at once.
    pub per_address: usize,
    /// Handshakes under way at the same time, those among them whose certificate is verified. Further ones wait, within their
    /// own deadline.
    pub unauthenticated: usize,
    /// Handshakes of one address under way at the same time. Further ones wait, within their own deadline, and take
    /// no place from other addresses.
    pub unauthenticated_per_address: usize,
    /// Handshakes of strangers from one address in a second. Further ones wait, as above.
    pub handshakes_per_second: NonZeroU32,
}

/// Networks that are remembered for what they have spent, though they have no connection: such as fill up again within a
/// second. Beyond it the one that left first is forgotten.
const MAX_LEFT: usize = 4096;

/// Of the places for handshakes, one of so many may be held at most by those that wait to have their certificate verified. A
/// pinned client needs no more than a handshake, so it gets in however much there is to verify.
const PLACES_PER_VERIFICATION: usize = 2;

/// How long a place for that is waited for: meanwhile those for handshakes are held.
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
    /// Those whose last connection has ended, and when there is nothing more to know of them.
    left: VecDeque<(Instant, Network)>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    gate: Arc<Gate>,
}

/// A connection's place among those of its networks. Given back when dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    admission: Arc<Admission>,
    /// The gates of its networks, the narrowest first.
    gates: SmallVec<[Arc<Gate>; 3]>,
}

/// Leave to do a handshake; dropped once the peer is known.
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

    /// A place for one more connection; waits for one. Nothing once [`Self::close`] was called.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.places, Counter::ConnectionsDelayed).await
    }

    /// Ends all waiting for places.
    pub(super) fn close(&self) {
        self.places.close();
    }

    /// Counts a connection of `peer`, or refuses it where one of its networks has too many.
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
        self.left.push_back((known.gate.is_full_at(), network));
        self.forget_left(Instant::now());
    }

    /// Forgets the networks that have no connections and have all of their rate again by `now`.
    fn forget_left(&mut self, now: Instant) {
        let may_go = |is_over: bool, known: &Known| {
            known.connections == 0 && (is_over || known.gate.is_full_at() <= now)
        };
        loop {
            let is_over = self.left.len() > MAX_LEFT;
            let Some((_, network)) = self.left.pop_front_if(|(full, _)| is_over || *full <= now) else {
                return;
            };
            // It may have come back, and left again later.
            if self.known.get(&network).is_some_and(|known| may_go(is_over, known)) {
                self.known.remove(&network);
            }
        }
    }
}

impl AddressPlace {
    /// Waits for leave to do the handshake: first behind others of its own networks, then behind all. The handshake counts as
    /// a stranger's, until it is known that it is none.
    pub(super) async fn handshake_turn(&self) -> Option<HandshakeTurn> {
        let mut of_networks = SmallVec::new();
        for gate in &self.gates {
            of_networks.push(Gate::pass(gate).await?);
        }
        let of_all = acquire(&self.admission.handshakes, Counter::HandshakesDelayed).await?;
        of_networks.iter_mut().for_each(Passage::spend);
        Some(HandshakeTurn { of_networks, _of_all: of_all })
    }

    /// A place among those whose certificate is verified; nothing where there is none for too long.
    pub(super) async fn verification(&self) -> Option<OwnedSemaphorePermit> {
        let place = acquire(&self.admission.verifications, Counter::HandshakesDelayed);
        timeout(VERIFICATION_PATIENCE, place).await.ok()?
    }

    /// The gates of its networks, the narrowest first.
    pub(super) fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }
}

impl HandshakeTurn {
    /// The peer is no stranger: what its handshake was counted for is given back.
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

/// A permit, and where it has to be waited for, that is counted. Nothing once the semaphore was closed.
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
#[path = "admission_tests.rs"]
mod tests;
