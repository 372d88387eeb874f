//! Basis of the tests that run the built server: a real server in its own folder, certificates of all kinds,
//! clients that speak raw bytes, and components that misbehave.
//!
//! Nothing here decides what is right; it knows none of the server's answers, except its greeting, and none of
//! its code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

pub mod certs;
pub mod client;
pub mod components;
pub mod endless;
pub mod peer;
pub mod server;
pub mod tools;
pub mod web;

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Longest wait of a test for a required event. Far longer than any takes, and never the measured time.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Calls `attempt` until it returns a value; panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a TCP connection from another address of this machine, which has all of 127.0.0.0/8.
pub fn tcp_from(host: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.bind(&SocketAddr::from((host, 0)).into()).expect("the address is this machine's");
    socket.connect_timeout(&to.into(), PATIENCE).expect("the server accepts");
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out is set");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time-out is set");
    socket
}
