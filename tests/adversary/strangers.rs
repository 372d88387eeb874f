//! Strangers that make the server compute, and come again and again.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use testkit::certs::{Authority, Identity, Key};
use testkit::client::{Connection, Tls, tcp};
use testkit::peer::Peer;
use testkit::server::{Server, Setup};
use testkit::{eventually, tcp_from};

use crate::assert_serves;
use crate::certificates::showing;

const URI: &str = "urn:example:laptop";

/// Certificates in a maze, besides the stranger's own.
const WALLS: usize = 5;

/// Concurrent strangers.
const STRANGERS: usize = 24;

/// Kinds of authorities with slow signatures.
const KINDS: [Key; 3] = [Key::P256, Key::P521, Key::Rsa4096];

/// Shows `chain` with the key of `identity`, whose certificate is the first.
pub(crate) fn with_chain(identity: &Identity, chain: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
    let PrivateKeyDer::Pkcs8(key) = identity.key() else { panic!("keys are made in PKCS #8") };
    showing(chain, key)
}

/// Starts a server that trusts an authority with a key of this kind for one client, beside a pinned client.
/// Strangers show it a maze of certificates that all have the authority's name, one of many certificates for
/// one key, and an unknown certificate that refers to no authority.
///
/// Strangers know the client's URI and the authority's name. They may come any number of times.
fn maze(kind: Key) -> (Server, Identity, [Arc<ClientConfig>; 3]) {
    let (setup, tester) = (Setup::new(), Identity::new("tester"));
    fs::write(setup.folder().join("ca.pem"), Authority::with_key("Maze", kind).pem()).unwrap();
    let server = setup
        .master("tester", &tester)
        .echo()
        .section("[identity]\nauthorities = [\"ca.pem\"]")
        .section(&format!("[clients.laptop]\nuris = [\"{URI}\"]\ncommands = [\"*\"]"))
        .section("[limits]\nhandshakes_per_second = 1000000")
        .start();
    let walls: Vec<_> = (0..WALLS).map(|_| Authority::with_key("Maze", Key::P256)).collect();
    let own = walls[0].issue("stranger", URI);
    let chain = own.chain().into_iter().chain(walls.iter().map(Authority::certificate)).collect();
    let of_one_name = with_chain(&own, chain);

    let forger = Authority::with_key("Maze", kind);
    let below = forger.below("Middle", None);
    let own = below.issue("stranger", URI);
    let again = (1..WALLS as u64).map(|serial| forger.certify(&below, "Middle", serial));
    let of_one_key = with_chain(&own, own.chain().into_iter().take(2).chain(again).collect());

    let unknown = Tls::showing(&Identity::new("stranger")).config();
    (server, tester, [of_one_name, of_one_key, unknown])
}

/// Connects once, and is refused as unknown.
fn come(address: SocketAddr, config: &Arc<ClientConfig>) {
    let mut connection = Connection::open_with(address, Arc::clone(config)).unwrap();
    let told = connection.read_reply();
    assert!(told.starts_with("ERR certificate (") && told.ends_with("' is unknown"), "{told}");
}

/// Returns the computing time of all server threads during `run`, in ticks.
fn ticks_of(server: &Server, run: impl FnOnce()) -> u64 {
    let all = || {
        let (some, others) = server.computed_ticks("verify");
        some + others
    };
    let before = all();
    run();
    all() - before
}

#[test]
fn a_maze_of_certificates_costs_little_more_than_any_certificate_of_a_stranger() {
    const COME: usize = 60;
    for kind in KINDS {
        let (server, tester, [of_one_name, of_one_key, unknown]) = maze(kind);
        let cost = |config: &Arc<ClientConfig>| {
            ticks_of(&server, || (0..COME).for_each(|_| come(server.address(), config)))
        };
        let usual = cost(&unknown);
        for (maze, config) in [("of one name", of_one_name), ("of one key", of_one_key)] {
            let ticks = cost(&config);
            // At most five more signatures, the slowest of which take a millisecond.
            let most = 5 * usual + 40;
            assert!(ticks <= most, "{kind:?} {maze}: {ticks} ticks, and {usual} are usual");
        }
        assert_serves(&server, &tester);
    }
}

#[test]
fn beside_strangers_with_mazes_a_client_is_answered_as_beside_any_strangers() {
    let (server, tester, [of_one_name, of_one_key, unknown]) = maze(Key::P521);
    let beside = |config: &Arc<ClientConfig>| {
        let (is_over, came) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut connection = server.connect(&tester);
        thread::scope(|scope| {
            for _ in 0..STRANGERS {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        come(server.address(), config);
                        came.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let over = RaisedAtTheEnd(&is_over);
            eventually("strangers", || (came.load(Ordering::Relaxed) > STRANGERS).then_some(()));
            let mut times: Vec<_> = (0..100)
                .map(|number| {
                    let begun = Instant::now();
                    assert_eq!(connection.ask(&format!("echo {number}")), number.to_string());
                    begun.elapsed()
                })
                .collect();
            times.sort_unstable();
            drop(over);
            times[times.len() / 2]
        })
    };
    let usual = beside(&unknown);
    for (maze, config) in [("of one name", of_one_name), ("of one key", of_one_key)] {
        let median = beside(&config);
        assert!(
            median < 4 * usual + Duration::from_millis(100),
            "{maze}: {median:?}, and {usual:?} are usual"
        );
    }
}

/// Ends the others' work with this one, even if it panics.
struct RaisedAtTheEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a server on all addresses of this machine, with this many strangers per second from each address.
fn with_rate(per_second: u32) -> (Server, Identity, SocketAddr) {
    let tester = Identity::new("tester");
    let server = Setup::new()
        .server("listen = [\"0.0.0.0:0\"]")
        .master("tester", &tester)
        .echo()
        .section(&format!("[limits]\nhandshakes_per_second = {per_second}"))
        .start();
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    (server, tester, address)
}

#[test]
fn strangers_beyond_their_rate_wait_and_hold_up_nobody_at_another_address() {
    const STRANGERS: u32 = 16;
    let (_server, tester, address) = with_rate(4);
    let unknown = Tls::showing(&Identity::new("stranger")).config();
    let least = Duration::from_secs(u64::from(STRANGERS - 4) / 4);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..STRANGERS {
            scope.spawn(|| {
                let socket = tcp_from([127, 0, 0, 3], address);
                let mut peer = Peer::open_over(socket, Arc::clone(&unknown)).unwrap();
                assert!(peer.read_to_end().ends_with("is unknown\r\n\r\n"));
            });
        }
        let asked = Instant::now();
        assert_eq!(Connection::admitted(address, &tester).ask("echo hello"), "hello");
        assert!(asked.elapsed() < least, "a client waited with the strangers: {:?}", asked.elapsed());
    });
    assert!(begun.elapsed() >= least, "{STRANGERS} strangers, at 4 a second: {:?}", begun.elapsed());
}

#[test]
fn clients_of_one_address_come_as_fast_as_they_can_and_strangers_among_them_keep_none_out() {
    const CLIENTS: usize = 100;
    // At two per second they would exceed the time of a handshake.
    let (_server, tester, address) = with_rate(2);
    let mut operator = Connection::admitted(address, &tester);
    let config = Tls::showing(&tester).config();
    for number in 0..CLIENTS {
        let mut connection = Connection::open_with(address, Arc::clone(&config)).unwrap();
        assert_eq!(
            (connection.read_reply(), connection.ask("echo hello")),
            ("OK".into(), "hello".into()),
            "{number}"
        );
    }
    let status = operator.ask("@status");
    assert!(!status.contains("lictor_handshakes_over_rate_total"), "{status}");
    // All at once, and with an unknown stranger before them.
    let stranger = tcp(address);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::open_with(address, Arc::clone(&config)).unwrap();
                assert_eq!(connection.read_reply(), "OK");
                assert_eq!(connection.ask("echo hello"), "hello");
            });
        }
    });
    drop(stranger);
}
