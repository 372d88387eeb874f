//! Strangers and clients that are slow. Sending at a pace never makes the server wait longer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::client::tcp;
use testkit::peer::{Peer, client_hello};
use testkit::{eventually, tcp_from};

use crate::{assert_serves, server_with};

/// Pause between two bytes.
const PACE: Duration = Duration::from_millis(20);

/// Concurrent strangers. Their sockets and the server's need as many open files in two processes.
const CROWD: usize = 3000;

#[test]
fn a_handshake_byte_by_byte_is_cut_off_in_time() {
    let (server, tester) = server_with("[limits]\nhandshake_timeout = \"500ms\"");
    let mut socket = tcp(server.address());
    socket.set_read_timeout(Some(PACE)).unwrap();
    let begun = Instant::now();
    let hello = client_hello();
    let is_cut_off = hello.iter().any(|byte| {
        let waits = |socket: &mut TcpStream| {
            socket.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        socket.write_all(&[*byte]).is_err() || !waits(&mut socket)
    });
    assert!(is_cut_off, "the server waited for all {} bytes", hello.len());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_serves(&server, &tester);
}

#[test]
fn a_request_byte_by_byte_is_cut_off_in_time() {
    let (server, tester) = server_with("[limits]\nhead_timeout = \"500ms\"\nbody_timeout = \"500ms\"");
    for (begin, part) in [("echo ", "head"), ("echo\r\nSize: 1000\r\n\r\n", "body")] {
        let mut peer = Peer::admitted(server.address(), &tester);
        peer.send(begin).unwrap();
        let begun = Instant::now();
        let told = [b'x'; 999].into_iter().find_map(|byte| {
            peer.send([byte]).expect("the server tells before it closes");
            peer.read_within(PACE).ok()
        });
        let told = told.unwrap_or_else(|| panic!("the server waited for the whole {part}"));
        let told = String::from_utf8(told).unwrap();
        assert_eq!(
            told,
            format!("ERR Bad request: the rest of the request's {part} did not come in time\r\n\r\n")
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_serves(&server, &tester);
    }
}

#[test]
fn thousands_of_half_open_connections_keep_nobody_out() {
    rlimit::increase_nofile_limit(2 * CROWD as u64).unwrap();
    let (server, tester) = server_with("[limits]\nhandshake_timeout = \"10s\"");
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| tcp_from([127, 0, 0, 2], server.address())).collect();
    for (number, socket) in crowd.iter_mut().enumerate() {
        // Some send nothing, others begin a ClientHello.
        let _ = socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00][..number % 6]);
    }
    assert_serves(&server, &tester);
    assert!(!is_ended(crowd.last_mut().unwrap()), "the client was served while the crowd was there");
    eventually("the crowd to be put out", || crowd.iter_mut().all(is_ended).then_some(()));
    assert_serves(&server, &tester);
}

/// Returns true if the server has ended this connection, as far as can be seen at once.
fn is_ended(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    !socket.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
