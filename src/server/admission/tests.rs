//! Admission: connections that are let in, and handshakes that wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::poll;

use super::*;

const LIMITS: AdmissionLimits = AdmissionLimits {
    connections: 10,
    per_address: 2,
    unauthenticated: 3,
    unauthenticated_per_address: 1,
    handshakes_per_second: NonZeroU32::new(2).unwrap(),
};

fn admission() -> Arc<Admission> {
    Arc::new(Admission::new(LIMITS))
}

fn enter(admission: &Arc<Admission>, address: &str) -> Option<AddressSlots> {
    admission.enter(SocketAddr::new(address.parse().unwrap(), 9).into())
}

#[test]
fn an_address_is_refused_at_its_bound_and_let_in_again_after() {
    let admission = admission();
    let first = enter(&admission, "192.0.2.1").unwrap();
    let _second = enter(&admission, "::ffff:192.0.2.1").unwrap();
    assert!(enter(&admission, "192.0.2.1").is_none());
    assert!(enter(&admission, "192.0.2.2").is_some());
    drop(first);
    assert!(enter(&admission, "192.0.2.1").is_some());
}

#[test]
fn a_host_with_many_networks_has_a_bound_in_each_of_those_around_them() {
    // Two in a /64, four in a /56, eight in a /48; of ten connections at least two are left to others.
    let limits = AdmissionLimits { connections: 16, ..LIMITS };
    let admission = Arc::new(Admission::new(limits));
    let enter_all = |addresses: &mut dyn Iterator<Item = String>| {
        let entered: Vec<_> = addresses.map_while(|address| enter(&admission, &address)).collect();
        let count = entered.len();
        (entered, count)
    };
    let (_of_64, count) = enter_all(&mut (0..99).map(|host| format!("2001:db8:0:1::{host:x}")));
    assert_eq!(count, 2);
    let (_of_56, count) = enter_all(&mut (2..99).map(|network| format!("2001:db8:0:{network:x}::1")));
    assert_eq!(count, 2, "with the two that are in, four");
    let (of_48, count) = enter_all(&mut (1..99).map(|site| format!("2001:db8:0:{site:x}00::1")));
    assert_eq!(count, 4, "with the four that are in, eight");
    assert!(enter(&admission, "2001:db8:1::1").is_some(), "another site");
    drop(of_48);
    assert!(enter(&admission, "2001:db8:0:5500::1").is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_network_without_connections_once_its_rate_is_all_there() {
    let admission = admission();
    let slots = enter(&admission, "2001:db8::1").unwrap();
    drop(slots.acquire_handshake().await);
    assert_eq!(admission.networks().known.len(), 3);
    drop(slots);
    assert_eq!(admission.networks().known.len(), 3, "what it has spent is not forgotten by going away");
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(enter(&admission, "192.0.2.1"));
    let networks = admission.networks();
    assert!(networks.known.is_empty() && networks.left.is_empty(), "{networks:?}");
}

#[tokio::test]
async fn the_networks_that_are_remembered_are_bounded() {
    let admission = admission();
    for host in 0..u32::try_from(MAX_LEFT).unwrap() + 50 {
        let slots = admission.enter(SocketAddr::new(Ipv4Addr::from_bits(host).into(), 9).into()).unwrap();
        drop(slots.acquire_handshake().await);
    }
    let networks = admission.networks();
    assert!(networks.known.len() <= MAX_LEFT && networks.left.len() <= MAX_LEFT);
}

#[tokio::test]
async fn one_address_cannot_take_the_handshakes_of_others() {
    let admission = admission();
    let a = enter(&admission, "192.0.2.1").unwrap();
    let also_a = enter(&admission, "192.0.2.1").unwrap();
    let b = enter(&admission, "192.0.2.2").unwrap();
    let permit = a.acquire_handshake().await.unwrap();
    let mut waiting = Box::pin(also_a.acquire_handshake());
    assert!(poll!(&mut waiting).is_pending());
    assert!(b.acquire_handshake().await.is_some());
    drop(permit);
    assert!(waiting.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn strangers_beyond_the_rate_of_their_address_wait_and_hold_up_nobody_else() {
    let admission = admission();
    let a = enter(&admission, "192.0.2.1").unwrap();
    let begun = Instant::now();
    for _ in 0..2 {
        drop(a.acquire_handshake().await.unwrap());
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "a second's worth at once");
    let mut third = Box::pin(a.acquire_handshake());
    assert!(poll!(&mut third).is_pending());
    let b = enter(&admission, "192.0.2.2").unwrap();
    drop(b.acquire_handshake().await.unwrap());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(third.await.unwrap());
    for _ in 0..4 {
        drop(a.acquire_handshake().await.unwrap());
    }
    let elapsed = begun.elapsed();
    assert!((Duration::from_millis(2500)..Duration::from_millis(2600)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_are_not_counted_and_let_those_behind_them_go_at_once() {
    let admission = admission();
    let begun = Instant::now();
    let a = enter(&admission, "192.0.2.1").unwrap();
    for _ in 0..100 {
        a.acquire_handshake().await.unwrap().refund();
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // Two are under way, whoever their peers are; a third waits until one of the peers is known.
    let limits = AdmissionLimits { unauthenticated: 9, unauthenticated_per_address: 9, ..LIMITS };
    let admission = Arc::new(Admission::new(limits));
    let a = enter(&admission, "192.0.2.1").unwrap();
    let (one, two) = (a.acquire_handshake().await.unwrap(), a.acquire_handshake().await.unwrap());
    let mut third = Box::pin(a.acquire_handshake());
    assert!(poll!(&mut third).is_pending());
    one.refund();
    assert!(poll!(&mut third).is_ready());
    drop(two);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_has_spent_nothing() {
    let limits = AdmissionLimits { unauthenticated: 1, ..LIMITS };
    let admission = Arc::new(Admission::new(limits));
    let (a, b) = (enter(&admission, "192.0.2.1").unwrap(), enter(&admission, "192.0.2.2").unwrap());
    let held = b.acquire_handshake().await.unwrap();
    for _ in 0..10 {
        let mut waiting = Box::pin(a.acquire_handshake());
        assert!(poll!(&mut waiting).is_pending(), "it waits behind all");
    }
    drop(held);
    let begun = Instant::now();
    drop(a.acquire_handshake().await.unwrap());
    drop(a.acquire_handshake().await.unwrap());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn certificates_that_wait_to_be_verified_leave_places_to_those_that_need_no_more_than_a_handshake() {
    let limits = AdmissionLimits { unauthenticated: 4, unauthenticated_per_address: 1, ..LIMITS };
    let admission = Arc::new(Admission::new(limits));
    let strangers: Vec<_> =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| enter(&admission, address).unwrap()).into();
    let mut permits = Vec::new();
    for stranger in &strangers {
        permits.push(stranger.acquire_handshake().await.unwrap());
    }
    let (one, two) = (
        strangers[0].acquire_verification().await.unwrap(),
        strangers[1].acquire_verification().await.unwrap(),
    );
    let client = enter(&admission, "192.0.2.4").unwrap();
    assert!(client.acquire_handshake().await.is_some());
    let begun = Instant::now();
    assert!(
        strangers[2].acquire_verification().await.is_none(),
        "it does not hold its permit for a handshake for long"
    );
    assert_eq!(begun.elapsed(), MAX_VERIFICATION_WAIT);
    drop(one);
    assert!(strangers[2].acquire_verification().await.is_some());
    drop(two);
}
