//! How many connections there may be: in all, from one address, and before they have said who they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::telemetry::metrics::Counter;

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections in all. At the limit the server stops accepting; further ones wait in the listen queue.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64 network). One more is closed at once.
    pub per_address: usize,
    /// Handshakes under way at the same time. Further ones wait, within their own deadline.
    pub unauthenticated: usize,
    /// Handshakes of one address under way at the same time. Further ones wait, within their own deadline, and take
    /// no place from other addresses.
    pub unauthenticated_per_address: usize,
}

/// Counts connections and lets them in.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    handshakes: Arc<Semaphore>,
}

/// A connection's place among its address's. Given back when dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    admission: Arc<Admission>,
    address: IpAddr,
    handshakes: Arc<Semaphore>,
}

/// Leave to do a handshake; dropped once the peer is known.
#[derive(Debug)]
pub(super) struct HandshakeTurn {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.unauthenticated)),
            addresses: Mutex::default(),
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

    /// Counts a connection from `address`, or refuses it where there are too many.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<AddressPlace> {
        let address = network(address);
        let mut addresses = self.addresses();
        let entry = addresses.entry(address).or_insert_with(|| Address {
            connections: 0,
            handshakes: Arc::new(Semaphore::new(self.limits.unauthenticated_per_address)),
        });
        if entry.connections >= self.limits.per_address {
            Counter::ConnectionsRefused.count();
            return None;
        }
        entry.connections += 1;
        let handshakes = Arc::clone(&entry.handshakes);
        Some(AddressPlace { admission: Arc::clone(self), address, handshakes })
    }

    /// A panic under this lock would be in the map's own code.
    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressPlace {
    /// Waits for leave to do the handshake: first behind its own address's others, then behind all.
    pub(super) async fn handshake_turn(&self) -> Option<HandshakeTurn> {
        let of_address = acquire(&self.handshakes, Counter::HandshakesOfAddressDelayed).await?;
        let of_all = acquire(&self.admission.handshakes, Counter::HandshakesDelayed).await?;
        Some(HandshakeTurn { _of_address: of_address, _of_all: of_all })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses();
        if let Some(entry) = addresses.get_mut(&self.address) {
            entry.connections -= 1;
            if entry.connections == 0 {
                addresses.remove(&self.address);
            }
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

/// What one party can be taken to own: an IPv4 address, or an IPv6 /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        connections: 10,
        per_address: 2,
        unauthenticated: 3,
        unauthenticated_per_address: 1,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_refused_at_its_bound_and_let_in_again_after() {
        let admission = Arc::new(Admission::new(LIMITS));
        let first = admission.enter(address("192.0.2.1")).unwrap();
        let _second = admission.enter(address("::ffff:192.0.2.1")).unwrap();
        assert!(admission.enter(address("192.0.2.1")).is_none());
        assert!(admission.enter(address("192.0.2.2")).is_some());
        drop(first);
        assert!(admission.enter(address("192.0.2.1")).is_some());
    }

    #[test]
    fn a_v6_network_counts_as_one_address() {
        assert_eq!(network(address("2001:db8:1:2:3::4")), network(address("2001:db8:1:2:ffff::1")));
        assert_ne!(network(address("2001:db8:1:2::1")), network(address("2001:db8:1:3::1")));
    }

    #[test]
    fn nothing_is_kept_of_an_address_without_connections() {
        let admission = Arc::new(Admission::new(LIMITS));
        drop(admission.enter(address("192.0.2.1")));
        assert!(admission.addresses().is_empty());
    }

    #[tokio::test]
    async fn one_address_cannot_take_the_handshakes_of_others() {
        let admission = Arc::new(Admission::new(LIMITS));
        let (a, also_a) =
            (admission.enter(address("192.0.2.1")).unwrap(), admission.enter(address("192.0.2.1")).unwrap());
        let b = admission.enter(address("192.0.2.2")).unwrap();
        let _turn = a.handshake_turn().await.unwrap();
        let mut waiting = Box::pin(also_a.handshake_turn());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(b.handshake_turn().await.is_some());
        drop(_turn);
        assert!(waiting.await.is_some());
    }
}
