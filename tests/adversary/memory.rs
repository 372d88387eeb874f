//! All that can make the server take memory, at once: it takes no more than docs/limits.md says.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::peer::Peer;
use crate::support::certs::Identity;
use crate::support::client::tcp;
use crate::support::components;
use crate::support::eventually;
use crate::support::server::{Server, Setup};

/// Clients that do not read, and clients whose requests lie there.
const UNREAD: usize = 48;
const HELD: usize = 40;

/// What the config of the server says; sizes in bytes.
const STRANGERS: usize = 200;
const BODY: usize = 256 << 10;
const IN_FLIGHT_BYTES: usize = 1 << 20;
const REPLY: usize = 256 << 10;
const PLUGIN_MEMORY: usize = 48 << 20;
const COMMANDS: usize = 8;
const STREAMS: usize = 8;

/// An instance keeps so much.
const KEPT: usize = 20_000_000;

/// What docs/limits.md says that requests of one connection take, its replies, and all that is not one connection's.
const OF_REQUESTS: usize = 100_000 + (IN_FLIGHT_BYTES + BODY) * 5 / 2;
const OF_REPLIES: usize = 100_000 + (1 << 20) + 3 * REPLY;
const OF_ALL: usize = PLUGIN_MEMORY + (COMMANDS + STREAMS) * (REPLY + 200_000) + STRANGERS * 100_000;

fn start(tester: &Identity, wild: &Identity, patient: &Identity) -> Server {
    let limits = format!(
        "[limits]\nconnections = 1000\nconnections_per_address = 1000\nunauthenticated_connections = {STRANGERS}\n\
         unauthenticated_per_address = {STRANGERS}\nbody = {:?}\nin_flight_bytes = {:?}\nplugin_memory = {:?}\n\
         concurrent_commands = {COMMANDS}\nconcurrent_commands_per_client = {COMMANDS}\n\
         concurrent_streams = {STREAMS}\nqueue_timeout = \"10m\"\nwrite_timeout = \"10m\"\nbody_timeout = \"10m\"\n\
         handshake_timeout = \"10m\"",
        kib(BODY),
        kib(IN_FLIGHT_BYTES),
        kib(PLUGIN_MEMORY),
    );
    let keys = format!("timeout = \"10m\"\nreply = {:?}", kib(REPLY));
    let shared = format!("instances = \"shared\"\nidle_timeout = \"10m\"\n{keys}");
    let setup = Setup::new()
        .master("tester", tester)
        .master("wild", wild)
        .master("patient", patient)
        .section(&limits);
    let mut server = setup
        .plugin("big", components::hostile(), &["big", "sleep", "body-size"], &keys)
        .plugin("holder", components::hostile(), &["alloc"], &shared)
        .plugin("streams", components::streams(), &["whole"], &keys)
        .start();
    // To compile plugins takes memory that is not what this is about; those that are compiled already are mapped.
    server.start_anew();
    server
}

fn kib(bytes: usize) -> String {
    format!("{}KiB", bytes >> 10)
}

/// Whose replies lie with the server: it asks for more than any socket takes, and reads none of it.
fn unread(server: &Server, wild: &Identity, command: &str, count: usize) -> Peer {
    let mut peer = Peer::admitted(server.address(), wild);
    SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
    let request = |number| format!("{command} {REPLY}\r\nSequence: {number}\r\n\r\n");
    peer.send((0..count).map(request).collect::<String>()).unwrap();
    peer
}

/// Whose requests lie with the server: behind one that waits, as much as is read, and a body that is never whole.
fn held(server: &Server, patient: &Identity) -> Peer {
    let mut peer = Peer::admitted(server.address(), patient);
    peer.send("sleep 600000\r\n\r\n").unwrap();
    let body = "b".repeat(BODY - 512);
    let request = format!("body-size\r\nSize: {}\r\n\r\n{body}", body.len());
    peer.set_write_timeout(Duration::from_millis(500));
    // The server stops to read at some point, and what is sent then stays in the sockets.
    let is_held = (0..100).any(|_| peer.send(&request).is_err());
    assert!(is_held, "the server reads on and on");
    peer
}

/// A handshake that is never whole, of about the largest size.
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
    let [tester, wild, patient] = ["tester", "wild", "patient"].map(Identity::new);
    let server = start(&tester, &wild, &patient);
    let at_rest = server.resident_kib() as usize * 1024;

    // An idle instance keeps what it once had, until others need it.
    assert_eq!(server.connect(&tester).ask(&format!("alloc {KEPT}")), format!("held {KEPT}"));
    let strangers: Vec<_> = (0..STRANGERS - 8).map(|_| half_open(&server)).collect();
    let streams = at_once(STREAMS, || unread(&server, &wild, "whole", 1));
    let unread = at_once(UNREAD, || unread(&server, &wild, "big", 60));
    let with_replies = settled(&server);
    let of_replies = with_replies.saturating_sub(at_rest);
    let held = at_once(HELD, || held(&server, &patient));
    let of_requests = settled(&server).saturating_sub(with_replies);

    let most_of_replies = OF_ALL + (UNREAD + STREAMS) * OF_REPLIES;
    assert!(of_replies < most_of_replies, "{of_replies} bytes of replies, {most_of_replies} at most");
    assert!(
        of_requests < HELD * OF_REQUESTS,
        "{of_requests} bytes of requests, {} at most",
        HELD * OF_REQUESTS
    );
    let (peak, most) =
        (server.memory_kib("VmHWM:") as usize * 1024, at_rest + most_of_replies + HELD * OF_REQUESTS);
    assert!(peak < most, "{peak} bytes at the peak, {most} at most");
    // The attack was one.
    assert!(of_replies > KEPT + UNREAD * REPLY, "{of_replies} bytes of replies");
    assert!(of_requests > HELD * IN_FLIGHT_BYTES, "{of_requests} bytes of requests");
    drop((strangers, streams, unread, held));
    assert_eq!(server.connect(&tester).ask("@ping"), "pong");
}

/// So many peers, made side by side.
fn at_once(count: usize, make: impl Fn() -> Peer + Sync) -> Vec<Peer> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The server's memory once it grows no more.
fn settled(server: &Server) -> usize {
    eventually("memory to grow no more", || {
        let before = server.resident_kib();
        thread::sleep(Duration::from_millis(500));
        let now = server.resident_kib();
        (now <= before + 128).then_some(now as usize * 1024)
    })
}
