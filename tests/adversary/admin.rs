//! Visitors of `[admin]` who flood it: by thousands of connections, by trickling, by large heads and endless
//! pipelines. Clients are served meanwhile, probes are answered, and the server's memory stays as it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::peer::client_hello;
use testkit::server::{Server, Setup};
use testkit::{eventually, let_pass};

use crate::{assert_serves, tell_memory};

/// Most that the server may grow, for all that visitors hold and what the allocator rounds up.
const GROWTH_KIB: u64 = 24 << 10;

/// Time of an attack.
const ATTACK: Duration = Duration::from_secs(3);

/// Connections of a flood, which the attacker holds open as long as it can.
const CROWD: usize = 3000;

const GET: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Starts a server with each kind of TCP listener; returns their addresses, the last by certificates.
fn start() -> (Server, Identity, [SocketAddr; 3]) {
    let tester = Identity::new("tester");
    let listen =
        "[admin]\nlisten = [\"127.0.0.1:0\"]\nhealth = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]";
    let server = Setup::new().master("tester", &tester).echo().section(listen).start();
    let address = |shows: &str| {
        let entry = server.wait_for_log(shows, |entry| entry.text("shows") == Some(shows));
        entry.text("address").unwrap().parse().unwrap()
    };
    let addresses = ["metrics and health", "health", "metrics and health to clients"].map(address);
    (server, tester, addresses)
}

/// Asks whether the server is alive; returns true if it says so.
fn probe(address: SocketAddr) -> bool {
    let mut stream = tcp(address);
    if stream.write_all(GET).is_err() {
        return false;
    }
    let mut bytes = [0; 15];
    stream.read_exact(&mut bytes).is_ok() && bytes.starts_with(b"HTTP/1.1 200 OK")
}

/// Runs `attack` on a thread of its own until it is told that time is over, while a client's commands and
/// probes are answered.
fn endure(attack: impl Fn([SocketAddr; 3], &AtomicBool) + Sync) {
    let (server, tester, addresses) = start();
    assert_serves(&server, &tester);
    let before = server.settled_kib();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(addresses, &is_over));
        let prober = scope.spawn(|| {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                answered += usize::from(probe(addresses[1]));
            }
            answered
        });
        let mut client = server.connect(&tester);
        let (begun, mut answered) = (Instant::now(), 0);
        while begun.elapsed() < ATTACK {
            assert_eq!(client.ask("echo on"), "on");
            answered += 1;
        }
        assert_serves(&server, &tester);
        is_over.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        assert!(answered > 300, "{answered} answers");
        assert!(prober.join().unwrap() > 0, "no probe was answered");
    });
    tell_memory(&server, before);
    let most = server.memory_kib("VmHWM:");
    assert!(most < before + GROWTH_KIB, "{before} KiB before, {most} at most");
    for address in &addresses[..2] {
        eventually("the listener to answer", || probe(*address).then_some(()));
    }
}

/// Opens a connection without waiting for more than a moment.
fn knock(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
    Some(stream)
}

#[test]
fn thousands_of_connections_to_admin_cost_clients_nothing() {
    endure(|addresses, is_over| {
        let mut held = std::collections::VecDeque::new();
        for address in addresses.into_iter().cycle() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            held.extend(knock(address));
            if held.len() > CROWD {
                held.pop_front();
            }
        }
    });
}

#[test]
fn trickling_visitors_cost_clients_nothing() {
    endure(|[loopback, health, tls], is_over| {
        let hello = client_hello();
        let mut held = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            for (address, bytes) in [(loopback, GET), (health, GET), (tls, &hello[..])] {
                held.extend(knock(address).map(|stream| (stream, bytes, 0)));
            }
            held.retain_mut(|(stream, bytes, sent)| {
                let is_sent = *sent + 2 < bytes.len() && stream.write_all(&bytes[*sent..=*sent]).is_ok();
                *sent += 1;
                is_sent
            });
            let_pass(Duration::from_millis(5));
        }
    });
}

#[test]
fn large_heads_and_bodies_cost_clients_nothing() {
    endure(|[loopback, health, _], is_over| {
        let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "x".repeat(1 << 20));
        let body =
            format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{head}");
        while !is_over.load(Ordering::Relaxed) {
            for (address, bytes) in [(loopback, &head), (health, &head), (loopback, &body), (health, &body)] {
                // The server closes while this is sent.
                let _ = knock(address).map(|mut stream| stream.write_all(bytes.as_bytes()));
            }
        }
    });
}

#[test]
fn endless_requests_that_nobody_reads_cost_clients_nothing() {
    endure(|[loopback, health, _], is_over| {
        let many = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        let mut held = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            held.extend([loopback, health].into_iter().filter_map(knock).map(|stream| (stream, 0)));
            held.retain_mut(|(stream, sent)| {
                stream.set_nonblocking(true).unwrap();
                match stream.write(&many[*sent % many.len()..]) {
                    Ok(more) => {
                        *sent += more;
                        true
                    }
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                }
            });
            let_pass(Duration::from_millis(5));
        }
    });
}

#[test]
fn strangers_handshakes_at_admin_cost_clients_nothing() {
    let stranger = Identity::new("stranger");
    endure(|[_, _, tls], is_over| {
        let config = testkit::client::Tls::showing(&stranger).config();
        while !is_over.load(Ordering::Relaxed) {
            let knocked = knock(tls).map(|stream| testkit::peer::Peer::open_over(stream, config.clone()));
            drop(knocked);
        }
    });
}
