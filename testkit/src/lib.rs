//! Basis of the tests that run the built server: a real server in its own folder, certificates of all kinds,
//! clients that speak raw bytes, and components that misbehave.
//!
//! Nothing here decides what is right; it knows none of the server's answers, except its greeting, and none
//! of its code.

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
#[track_caller]
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, attempt)
}

/// Does the same with another patience.
#[track_caller]
pub fn eventually_within<T>(patience: Duration, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Lets time pass, for a test of the time itself: nothing happens meanwhile, or something at its own pace.
/// All other tests wait for an event, by [`eventually`] or by a read.
pub fn let_pass(time: Duration) {
    thread::sleep(time);
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
