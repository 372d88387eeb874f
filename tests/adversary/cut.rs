//! Clients that break off at inconvenient moments.

use std::io::Write;

use testkit::client::tcp;
use testkit::eventually;
use testkit::peer::{Peer, client_hello, reset};
use testkit::server::Server;

use crate::{assert_serves, server_with};

/// Connections of one attack.
const TIMES: usize = 50;

/// Returns the number of ended connections in the log.
fn ended(server: &Server) -> u64 {
    server.happened("ended")
}

#[test]
fn a_reset_in_mid_reply_costs_nobody_else_anything() {
    let (server, tester) = server_with("");
    for _ in 0..TIMES {
        let mut peer = Peer::admitted(server.address(), &tester);
        for number in 0..8 {
            peer.send(format!("big 1000000\r\nSequence: {number}\r\n\r\n")).unwrap();
        }
        assert!(peer.read().unwrap().starts_with(b"OK\r\nSequence: "), "a reply has begun");
        peer.reset();
    }
    assert_serves(&server, &tester);
    eventually("all to be over", || (ended(&server) > TIMES as u64).then_some(()));
}

#[test]
fn a_reset_in_the_handshake_costs_nobody_else_anything() {
    let (server, tester) = server_with("");
    let hello = client_hello();
    for length in (0..=hello.len()).step_by(hello.len() / TIMES) {
        let mut socket = tcp(server.address());
        socket.write_all(&hello[..length]).unwrap();
        reset(socket);
    }
    assert_serves(&server, &tester);
}

/// A client does not sign the end of its TCP connection: anybody in between can cause it. A request cut off
/// by it is not run, even if the rest could be read as a shorter one.
#[test]
fn what_was_cut_off_without_a_word_in_tls_is_not_run() {
    let (server, tester) = server_with("");
    for part in ["echo cut-off", "echo cut-off\r\n", "echo cut-off\r\nSize: 7\r\n\r\n"] {
        let mut peer = Peer::admitted(server.address(), &tester);
        peer.send(format!("echo whole\r\n\r\n{part}")).unwrap();
        assert_eq!(peer.read().unwrap(), b"whole\r\n\r\n");
        peer.cut_sending();
        let said = peer.read_to_end();
        assert!(!said.contains("cut-off"), "{part:?}: {said:?}");
    }
    assert_serves(&server, &tester);
}

#[test]
fn clients_that_leave_while_their_commands_run_leave_nothing_behind() {
    let (server, tester) = server_with("[limits]\nconcurrent_commands = 8\nqueue_timeout = \"20s\"");
    for number in 0..TIMES {
        let mut peer = Peer::admitted(server.address(), &tester);
        let commands = ["spin", "sleep 60000", "flood", "grow"];
        for (sequence, command) in commands.iter().cycle().take(8).enumerate() {
            peer.send(format!("{command}\r\nSequence: {sequence}\r\n\r\n")).unwrap();
        }
        if number % 2 == 0 {
            peer.reset();
        }
    }
    // There are eight slots: if one were lost, the next clients would miss it.
    let mut connection = server.connect(&tester);
    let naps: Vec<_> = (0..8).map(|_| ("sleep 100", "")).collect();
    assert!(connection.ask_all(&naps).iter().all(|frame| frame.text() == "slept"));
    assert_serves(&server, &tester);
}
