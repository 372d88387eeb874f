//! Clients that are slow, end early, or do not read; and their deadlines.

use std::time::{Duration, Instant};

use testkit::client::Ending;
use testkit::server::shared;

use crate::protocol::server_with;

#[test]
fn replies_come_after_the_client_has_ended_its_side() {
    let mut connection = shared().connect();
    connection.send("sleep 200\r\n\r\necho plain\r\n\r\nsleep 300\r\nSequence: f\r\n\r\n");
    connection.end_sending();
    assert_eq!(connection.read_reply(), "slept");
    assert_eq!(connection.read_reply(), "plain");
    assert_eq!(connection.read_frame().text(), "slept");
    connection.assert_closed();
}

#[test]
fn a_request_cut_off_by_the_clients_end_is_told() {
    for part in ["echo hel", "echo hello\r\n", "body\r\nSize: 10\r\n\r\nhello"] {
        let mut connection = shared().connect();
        connection.send(format!("echo whole\r\n\r\n{part}"));
        connection.end_sending();
        assert_eq!(connection.read_reply(), "whole");
        let reply = connection.read_reply();
        assert!(reply.starts_with("ERR Bad request: "), "{part:?}: {reply:?}");
        connection.assert_closed();
    }
}

#[test]
fn a_client_that_ends_at_once_is_bidden_farewell() {
    let mut connection = shared().connect();
    connection.end_sending();
    connection.assert_closed();
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_while_others_are_served() {
    let mut greedy = shared().connect();
    let request = "body\r\nSize: 4096\r\n\r\n".to_owned() + &"b".repeat(4096);
    let sent = greedy.send_until_stuck(request.as_bytes());
    // Buffers of sockets and server hold a few megabytes; an unbounded queue would take everything.
    assert!(sent < 64 << 20, "the server took {sent} bytes");
    assert_eq!(shared().connect().ask("echo hello"), "hello");

    // Everything taken is answered as soon as the client reads: no deadline has to wake the server first.
    let begun = Instant::now();
    for _ in 0..sent / request.len() {
        let reply = greedy.read_reply();
        assert_eq!(reply.len(), 4096, "{}", reply.chars().take(200).collect::<String>());
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let (server, tester) = server_with("[limits]\nwrite_timeout = \"300ms\"");
    let mut greedy = server.connect(&tester);
    // 100 MB of replies, more than the buffers of any socket hold.
    for number in 0..100 {
        greedy.send(format!("big 1000000\r\nSequence: {number}\r\n\r\n"));
    }
    server.wait_for_log("the end of the connection", |entry| {
        entry.text("reason").is_some_and(|reason| reason.contains("does not read"))
    });
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello");
}

#[test]
fn a_body_larger_than_the_limit_is_refused_before_it_is_read() {
    let (server, tester) = server_with("[limits]\nbody = \"1KiB\"");
    let mut connection = server.connect(&tester);
    connection.send("body-size\r\nSize: 1024\r\n\r\n".to_owned() + &"x".repeat(1024));
    assert_eq!(connection.read_reply(), "1024");

    connection.send("body-size\r\nSize: 1025\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.read_frame().failure(), ("too-large", "not-run"));
    connection.assert_closed();

    let mut connection = server.connect(&tester);
    connection.send("body-size\r\nSize: 18446744073709551615\r\n\r\n");
    let reply = connection.read_reply();
    assert!(reply.starts_with("ERR ") && reply.contains("1024"), "{reply:?}");
    connection.assert_closed();
}

#[test]
fn a_large_body_arrives_whole() {
    let mut connection = shared().connect();
    let body: Vec<u8> = (0..1 << 20).map(|number: u32| (number % 251) as u8).collect();
    // Two plugins with different allocators.
    for command in ["body", "echo"] {
        connection.send(format!("{command}\r\nSize: {}\r\nSequence: 1\r\n\r\n", body.len()));
        connection.send(&body);
        assert!(connection.read_frame().body == body, "{command}");
    }
}

#[test]
fn a_request_that_trickles_in_too_slowly_ends_the_connection() {
    let (server, tester) = server_with("[limits]\nhead_timeout = \"300ms\"\nbody_timeout = \"300ms\"");
    for part in ["echo hel", "echo hello\r\nA: b\r\n", "body\r\nSize: 10\r\n\r\nhello"] {
        let mut connection = server.connect(&tester);
        connection.send(format!("echo whole\r\n\r\n{part}"));
        assert_eq!(connection.read_reply(), "whole");
        let reply = connection.read_reply();
        assert!(reply.starts_with("ERR Bad request: ") && reply.contains("time"), "{part:?}: {reply:?}");
        connection.assert_closed();
    }
}

#[test]
fn a_slow_command_is_no_slow_request() {
    let (server, tester) = server_with("[limits]\nhead_timeout = \"100ms\"\nidle_timeout = \"100ms\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("sleep 500"), "slept");
}

#[test]
fn an_idle_connection_is_closed() {
    let (server, tester) = server_with("[limits]\nidle_timeout = \"300ms\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("echo hello"), "hello");
    let begun = Instant::now();
    connection.assert_closed();
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn a_request_in_flight_ends_before_the_server_does() {
    let (mut server, tester) = server_with("");
    let mut connection = server.connect(&tester);
    connection.send("sleep 1000\r\nSequence: 1\r\n\r\n");
    // This request was read after the other, which is therefore running.
    assert_eq!(connection.ask("@ping"), "pong");
    server.signal("TERM");
    assert_eq!(connection.read_frame().text(), "slept");
    let (rest, ending) = connection.read_to_end();
    assert_eq!((rest.len(), ending), (0, Ending::Clean));
    assert_eq!(server.wait(), Some(0));
    drop(connection);
}
