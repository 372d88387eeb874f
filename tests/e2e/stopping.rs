//! The ways in which a call is stopped: the message to its client in each, and the release of the call's
//! resources.
//!
//! `benches/stops.rs` measures the speed of this; here each stop may take seconds.

use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::endless::{Kind, start};
use testkit::eventually;
use testkit::server::{Server, Setup};

fn begin(connection: &mut Connection, sequence: &str, line: &str, headers: &str) {
    connection.send(format!("{line}\r\nSequence: {sequence}\r\n{headers}\r\n"));
}

/// Returns the end of the reply with this sequence; skips its parts, and other replies.
fn end_of(connection: &mut Connection, sequence: &str) -> testkit::client::Frame {
    loop {
        let frame = connection.read_frame();
        if frame.field("Sequence") == Some(sequence) && frame.status != "PART" {
            return frame;
        }
    }
}

/// Waits until the plugin's only slot is taken, so that a later call does not begin before its deadline.
fn wait_until_it_runs(server: &Server, tester: &Identity, probe: &str) {
    let mut other = server.connect(tester);
    eventually("the call to run", || {
        begin(&mut other, "p", probe, "Timeout-Ms: 50\r\n");
        let end = end_of(&mut other, "p");
        (end.status == "ERR" && end.failure() == ("timeout", "not-run")).then_some(())
    });
}

/// Asserts that the plugin's next call gets a slot, within the time that a queued one waits.
#[track_caller]
fn assert_is_free(server: &Server, tester: &Identity, (kind, _, probe): &Kind) {
    let (mut other, begun) = (server.connect(tester), Instant::now());
    begin(&mut other, "p", probe, "");
    let end = end_of(&mut other, "p");
    let has_run = end.status == "OK" || end.failure().1 == "failed";
    assert!(
        has_run && begun.elapsed() < Duration::from_secs(2),
        "{kind}: {end:?} after {:?}",
        begun.elapsed()
    );
}

/// Also those behind the one that is running, of which the server has read only the bytes.
#[test]
fn a_server_that_stops_answers_what_has_arrived() {
    for headers in ["Sequence: 1\r\n", ""] {
        let tester = Identity::new("tester");
        let server = Setup::new().master("tester", &tester).hostile("").start();
        let mut connection = server.connect(&tester);
        let burst: String = (0..100)
            .map(|number| match headers {
                "" => "sleep 5\r\n\r\n".to_owned(),
                _ => format!("sleep 5\r\nSequence: {number}\r\n\r\n"),
            })
            .collect();
        connection.send(burst);
        server.signal("TERM");
        for number in 0..100 {
            match headers {
                "" => assert_eq!(connection.read_reply(), "slept", "{number}"),
                _ => assert_eq!(connection.read_frame().status, "OK", "{number}"),
            }
        }
        connection.assert_closed();
    }
}

#[test]
fn a_deadline_of_the_client_stops_a_call_and_frees_what_it_held() {
    let (server, tester, kinds) = start("10m");
    for kind in &kinds {
        let mut connection = server.connect(&tester);
        begin(&mut connection, "s", &kind.1, "Timeout-Ms: 700\r\n");
        wait_until_it_runs(&server, &tester, kind.2);
        assert_eq!(end_of(&mut connection, "s").failure(), ("timeout", "unknown"), "{}", kind.0);
        assert_is_free(&server, &tester, kind);
    }
}

#[test]
fn the_plugins_limit_stops_a_call_and_frees_what_it_held() {
    let (server, tester, kinds) = start("700ms");
    for kind in &kinds {
        let mut connection = server.connect(&tester);
        begin(&mut connection, "s", &kind.1, "");
        wait_until_it_runs(&server, &tester, kind.2);
        let end = end_of(&mut connection, "s");
        // The inner call has the same limit as the outer one, and is stopped with it or a moment before.
        let is_told_by_plugin = kind.1.starts_with("run") && end.status == "OK";
        assert!(is_told_by_plugin || end.failure() == ("timeout", "unknown"), "{}: {end:?}", kind.0);
        assert_is_free(&server, &tester, kind);
    }
}

#[test]
fn cancelling_stops_a_call_and_frees_what_it_held() {
    let (server, tester, kinds) = start("10m");
    for kind in &kinds {
        let mut connection = server.connect(&tester);
        begin(&mut connection, "s", &kind.1, "");
        wait_until_it_runs(&server, &tester, kind.2);
        begin(&mut connection, "c", "@cancel s", "");
        assert_eq!(end_of(&mut connection, "s").failure(), ("cancelled", "unknown"), "{}", kind.0);
        assert_is_free(&server, &tester, kind);
    }
}

#[test]
fn a_client_that_goes_away_stops_its_calls_and_frees_what_they_held() {
    let (server, tester, kinds) = start("10m");
    for (number, kind) in kinds.iter().enumerate() {
        let mut connection = server.connect(&tester);
        begin(&mut connection, "s", &kind.1, "");
        wait_until_it_runs(&server, &tester, kind.2);
        drop(connection);
        assert_is_free(&server, &tester, kind);
        eventually("its outcome in the log", || {
            let is_stopped = |entry: &&testkit::server::Entry| {
                entry.text("code") == Some("cancelled") && entry.text("outcome") == Some("unknown")
            };
            (server.log().iter().filter(is_stopped).count() == number + 1).then_some(())
        });
    }
}

#[test]
fn what_waits_for_its_turn_is_stopped_without_being_run() {
    let (server, tester, kinds) = start("10m");
    let mut holder = server.connect(&tester);
    begin(&mut holder, "h", "spin", "");
    wait_until_it_runs(&server, &tester, kinds[0].2);
    let mut connection = server.connect(&tester);
    begin(&mut connection, "t", "leak", "Timeout-Ms: 100\r\n");
    assert_eq!(end_of(&mut connection, "t").failure(), ("timeout", "not-run"));
    begin(&mut connection, "c", "leak", "");
    begin(&mut connection, "x", "@cancel c", "");
    assert_eq!(end_of(&mut connection, "c").failure(), ("cancelled", "not-run"));
    begin(&mut connection, "q", "leak", "");
    assert_eq!(end_of(&mut connection, "q").failure(), ("busy", "not-run"));
    begin(&mut connection, "g", "leak", "");
    assert_eq!(connection.ask("@ping"), "pong", "read after the other, which therefore waits");
    drop(connection);
    eventually("its outcome in the log", || {
        let log = server.log();
        let of_client = log.iter().filter(|entry| entry.text("code") == Some("cancelled"));
        (of_client.filter(|entry| entry.text("outcome") == Some("not-run")).count() == 2).then_some(())
    });
}
