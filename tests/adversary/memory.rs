//! All uses of the server's memory at once: it takes no more than docs/limits.md says.

use std::fs::{self, File};
use std::io::Write;
use std::iter;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use socket2::SockRef;
use testkit::certs::Identity;
use testkit::client::{Tls, tcp};
use testkit::components;
use testkit::eventually;
use testkit::peer::Peer;
use testkit::server::{Server, Setup};

use crate::certificates::showing;

/// Clients that do not read: their requests, repeated requests, and ended streams.
const UNREAD: usize = 48;
const REPLAYING: usize = 24;
const STREAMED: usize = 16;

/// Clients with pending requests: with large bodies, and with empty arguments.
const HELD: usize = 40;
const EMPTY: usize = 24;

/// Calls that list a folder a few times, hold the listings and everything else they may open, and the
/// folder's entries.
const SITTING: usize = 3;
const LISTINGS: usize = 3;
const ENTRIES: usize = 20_000;
const NAME: usize = 100;

/// Values in the server's config; sizes in bytes.
const STRANGERS: usize = 200;
const BODY: usize = 256 << 10;
const IN_FLIGHT_BYTES: usize = 1 << 20;
const REPLY: usize = 256 << 10;
const PLUGIN_MEMORY: usize = 96 << 20;
const COMMANDS: usize = 8;
const STREAMS: usize = 8;
const IN_FLIGHT: usize = 128;
const KEPT_ANSWERS: usize = 40;
const IDEMPOTENCY_BYTES: usize = 12 << 20;

/// Memory that an instance keeps.
const KEPT: usize = 20_000_000;

/// Limits from docs/limits.md for the requests of one connection, its replies, a handshake, and everything
/// that is not a connection's.
const OF_REQUESTS: usize = 100_000 + IN_FLIGHT * 4_000 + (IN_FLIGHT_BYTES + BODY) * 5 / 2;
const OF_REPLIES: usize = 100_000 + IN_FLIGHT * 4_000 + (1 << 20) + 3 * REPLY;
const OF_HANDSHAKE: usize = 300_000;
const OF_ALL: usize = PLUGIN_MEMORY
    + COMMANDS * (2 * REPLY + 800_000)
    + STREAMS * (REPLY + 2_400_000)
    + STRANGERS * OF_HANDSHAKE
    + IDEMPOTENCY_BYTES
    + KEPT_ANSWERS * 300;

fn start(clients: [(&str, &Identity); 4]) -> Server {
    let limits = format!(
        "[limits]\nconnections = 1000\nconnections_per_address = 1000\nunauthenticated_connections = {STRANGERS}\n\
         unauthenticated_per_address = {STRANGERS}\nbody = {:?}\nin_flight_bytes = {:?}\nplugin_memory = {:?}\n\
         concurrent_commands = {COMMANDS}\nconcurrent_commands_per_client = {COMMANDS}\n\
         concurrent_streams = {STREAMS}\nqueue_timeout = \"10m\"\nwrite_timeout = \"10m\"\nbody_timeout = \"10m\"\n\
         handshake_timeout = \"10m\"\nin_flight = {IN_FLIGHT}\nidempotency_bytes = {:?}",
        kib(BODY),
        kib(IN_FLIGHT_BYTES),
        kib(PLUGIN_MEMORY),
        kib(IDEMPOTENCY_BYTES),
    );
    let keys = format!("timeout = \"10m\"\nreply = {:?}", kib(REPLY));
    let shared = format!("instances = \"shared\"\nidle_timeout = \"10m\"\n{keys}");
    let folder = "[plugins.folders.grants.directories]\n\"/data\" = \"crowded\"";
    let setup = Setup::new();
    crowd(&setup.folder().join("crowded"), ENTRIES, NAME);
    let setup = clients.iter().fold(setup, |setup, (name, identity)| setup.master(name, identity));
    let mut server = setup
        .section(&limits)
        .plugin("big", components::hostile(), &["big", "sleep", "body-size", "args"], &keys)
        .plugin("holder", components::hostile(), &["alloc", "hoard"], &shared)
        .plugin("streams", components::streams(), &["whole"], &keys)
        .plugin("folders", components::folders(), &["sit"], &format!("{keys}\n{folder}"))
        .start();
    // Memory used for compiling plugins would distort the figures; after a restart compiled ones are mapped.
    server.start_anew();
    server
}

/// Makes a folder with this many files, whose names have `name` bytes.
pub fn crowd(folder: &Path, entries: usize, name: usize) {
    fs::create_dir(folder).unwrap();
    (0..entries).for_each(|number| drop(File::create(folder.join(format!("{number:0name$}"))).unwrap()));
}

fn kib(bytes: usize) -> String {
    format!("{}KiB", bytes >> 10)
}

/// A client with buffered replies: it asks for more than any socket takes, and reads none of it.
fn unread(server: &Server, wild: &Identity, request: impl Fn(usize) -> String, count: usize) -> Peer {
    let mut peer = Peer::admitted(server.address(), wild);
    SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
    peer.send((0..count).map(|number| framed(&request(number), number)).collect::<String>()).unwrap();
    peer
}

/// Makes a request with a `Sequence`; `head` has its arguments and may have headers.
fn framed(head: &str, number: usize) -> String {
    format!("{head}\r\nSequence: {number}\r\n\r\n")
}

/// Makes a request whose answer is kept under one of `KEPT_ANSWERS` keys.
fn keyed(number: usize) -> String {
    format!("big {REPLY}\r\nIdempotency-Key: {}", number % KEPT_ANSWERS)
}

/// A client with buffered requests: behind a waiting one, as many as are read, and an incomplete body.
fn held(server: &Server, patient: &Identity) -> Peer {
    let mut peer = Peer::admitted(server.address(), patient);
    peer.send("sleep 600000\r\n\r\n").unwrap();
    let body = "b".repeat(BODY - 512);
    let request = format!("body-size\r\nSize: {}\r\n\r\n{body}", body.len());
    peer.set_write_timeout(Duration::from_millis(500));
    // At some point the server stops reading, and later bytes stay in the sockets.
    let is_held = (0..100).any(|_| peer.send(&request).is_err());
    assert!(is_held, "the server reads on and on");
    peer
}

/// A client with empty requests: behind a waiting one, as many as are read, with a thousand arguments each.
fn empty(server: &Server, patient: &Identity) -> Peer {
    let mut peer = Peer::admitted(server.address(), patient);
    peer.send("sleep 600000\r\n\r\n").unwrap();
    peer.send(format!("args{}\r\n\r\n", " ".repeat(1023)).repeat(IN_FLIGHT)).unwrap();
    peer
}

/// Opens a handshake that is never completed, of about the largest size.
fn half_open(server: &Server) -> TcpStream {
    let mut socket = tcp(server.address());
    let message = [0x01, 0x00, 0xff, 0x00];
    let rest = vec![0_u8; 16_000];
    socket
        .write_all(
            &[&[0x16, 3, 1], &((message.len() + rest.len()) as u16).to_be_bytes()[..], &message, &rest]
                .concat(),
        )
        .unwrap();
    for _ in 0..2 {
        let record = [&[0x16, 3, 1], &(rest.len() as u16).to_be_bytes()[..], &rest].concat();
        let _ = socket.write_all(&record);
    }
    socket
}

#[test]
fn all_that_takes_memory_at_once_takes_no_more_than_the_limits_say() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let [tester, wild, again, patient] = ["tester", "wild", "again", "patient"].map(Identity::new);
    let server = start([("tester", &tester), ("wild", &wild), ("again", &again), ("patient", &patient)]);
    let at_rest = server.resident_kib() as usize * 1024;

    // An idle instance keeps memory it once had, until others need it.
    assert_eq!(server.connect(&tester).ask(&format!("alloc {KEPT}")), format!("held {KEPT}"));
    assert_eq!(server.connect(&tester).ask("hoard 900"), "900");
    let before_folders = server.resident_kib() as usize * 1024;
    let sitting = at_once(SITTING, || {
        let mut peer = Peer::admitted(server.address(), &wild);
        peer.send(framed(&format!("sit {LISTINGS} /data"), 0)).unwrap();
        peer
    });
    let of_folders = settled(&server).saturating_sub(before_folders);
    let mut asking = server.connect(&again);
    for number in 0..KEPT_ANSWERS {
        asking.send(framed(&keyed(number), number));
        assert_eq!(asking.read_frame().body.len(), REPLY);
    }
    let strangers: Vec<_> = (0..STRANGERS - 8).map(|_| half_open(&server)).collect();
    let streamed = at_once(STREAMED, || unread(&server, &wild, |_| format!("whole {}", 64 << 10), 100));
    let streams = at_once(STREAMS, || unread(&server, &wild, |_| format!("whole {REPLY}"), 1));
    let unread_ones = at_once(UNREAD, || unread(&server, &wild, |_| format!("big {REPLY}"), 60));
    let replaying = at_once(REPLAYING, || unread(&server, &again, keyed, IN_FLIGHT));
    let with_replies = settled(&server);
    let of_replies = with_replies.saturating_sub(at_rest);
    let held = at_once(HELD, || held(&server, &patient));
    let empty = at_once(EMPTY, || empty(&server, &patient));
    let of_requests = settled(&server).saturating_sub(with_replies);

    let most_of_replies = OF_ALL + (UNREAD + REPLAYING + STREAMED + STREAMS) * OF_REPLIES;
    assert!(of_replies < most_of_replies, "{of_replies} bytes of replies, {most_of_replies} at most");
    let most_of_requests = (HELD + EMPTY) * OF_REQUESTS;
    assert!(of_requests < most_of_requests, "{of_requests} bytes of requests, {most_of_requests} at most");
    let peak = server.memory_kib("VmHWM:") as usize * 1024;
    let most = at_rest + most_of_replies + most_of_requests;
    assert!(peak < most, "{peak} bytes at the peak, {most} at most");
    // The attack was effective.
    assert!(of_folders > SITTING * LISTINGS * ENTRIES * NAME, "{of_folders} bytes of listings");
    assert!(of_replies > KEPT + (UNREAD + REPLAYING) * REPLY, "{of_replies} bytes of replies");
    assert!(of_requests > HELD * IN_FLIGHT_BYTES, "{of_requests} bytes of requests");
    drop((sitting, strangers, streamed, streams, unread_ones, replaying, held, empty));
    assert_eq!(server.connect(&tester).ask("@ping"), "pong");
}

/// Makes this many peers in parallel.
fn at_once(count: usize, make: impl Fn() -> Peer + Sync) -> Vec<Peer> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Returns the server's memory once it has stopped growing.
fn settled(server: &Server) -> usize {
    server.settled_kib() as usize * 1024
}

/// Returns a counter of the server.
fn counted(server: &Server, operator: &Identity, name: &str) -> u64 {
    let metrics = server.connect(operator).ask("@status metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[test]
fn empty_arguments_are_counted_as_what_they_hold() {
    let tester = Identity::new("tester");
    let small = "[limits]\nin_flight_bytes = \"64KiB\"\nbody = \"16KiB\"\nqueue_timeout = \"10m\"";
    let setup = Setup::new().master("tester", &tester).hostile("timeout = \"10m\"").section(small);
    let server = setup.start();
    let is_full = || counted(&server, &tester, "lictor_in_flight_bytes_full_total") > 0;
    assert!(!is_full());
    // 33 KB are sent, whose arguments take 131 KB.
    let mut peer = Peer::admitted(server.address(), &tester);
    peer.send("sleep 600000\r\n\r\n").unwrap();
    peer.send(format!("args{}\r\n\r\n", " ".repeat(1023)).repeat(32)).unwrap();
    eventually("the connection is read no further", || is_full().then_some(()));
    assert_eq!(server.connect(&tester).ask("@ping"), "pong");
}

/// Shakes hands up to the client's last bytes, after its chain.
fn unproved(server: &Server, config: &Arc<ClientConfig>) -> TcpStream {
    let mut socket = tcp(server.address());
    let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    while tls.wants_write() {
        tls.write_tls(&mut socket).unwrap();
    }
    let has_answer = |tls: &ClientConnection| {
        !tls.is_handshaking() || tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) && tls.wants_write()
    };
    while !has_answer(&tls) {
        tls.read_tls(&mut socket).unwrap();
        tls.process_new_packets().unwrap();
    }
    let mut answer = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut answer).unwrap();
    }
    // In TLS 1.2 the handshake ends with records of 6 and 45 bytes.
    let held_back = if tls.is_handshaking() { 60 } else { 1 };
    // The server may have seen enough and closed.
    let _ = socket.write_all(&answer[..answer.len() - held_back]);
    socket
}

#[test]
fn handshakes_with_long_chains_take_no_more_than_the_limits_say() {
    let tester = Identity::new("tester");
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["stranger".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (size, count, is_taken) in [(50_000, 1, true), (200, 200, true), (0, 10_000, false)] {
        let chain = iter::repeat_n(CertificateDer::from(vec![b'x'; size]), count);
        let chain = iter::once(own.der().clone()).chain(chain).collect();
        let of_1_3 = showing(chain, PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut of_1_2 = Arc::unwrap_or_clone(Tls::anonymous().only_version_1_2().config());
        of_1_2.client_auth_cert_resolver = Arc::clone(&of_1_3.client_auth_cert_resolver);
        for mut config in [Arc::unwrap_or_clone(of_1_3), of_1_2] {
            // So small that the last record contains no byte of the chain.
            config.max_fragment_size = Some(128);
            let limits = "[limits]\nhandshakes_per_second = 100000\nhandshake_timeout = \"10m\"";
            let setup = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester);
            let server = setup.section(limits).start();
            assert_eq!(server.connect(&tester).ask("@ping"), "pong");
            let (before, config) = (server.resident_kib() as usize * 1024, Arc::new(config));
            let held: Vec<_> = (0..STRANGERS).map(|_| unproved(&server, &config)).collect();
            let each = settled(&server).saturating_sub(before) / STRANGERS;
            // The allocator may keep something of a refused chain for a while.
            let least = if is_taken { 100_000 } else { 0 };
            assert!((least..OF_HANDSHAKE).contains(&each), "{each} bytes for {count} certificates of {size}");
            drop(held);
            assert_eq!(server.connect(&tester).ask("@ping"), "pong");
        }
    }
}
