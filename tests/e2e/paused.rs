//! A connection that reads no further request, because its maximum is in flight, still notices its client.

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::metrics::metrics;

const IN_FLIGHT: usize = 2;

fn start() -> (Server, Identity) {
    let tester = Identity::new("tester");
    let long = "timeout = \"10m\"";
    let server = Setup::new()
        .master("tester", &tester)
        .section(&format!("[limits]\nin_flight = {IN_FLIGHT}"))
        .plugin("hostile", components::hostile(), &["sleep", "body-size"], long)
        .plugin("streams", components::streams(), &["stall"], long)
        .start();
    (server, tester)
}

/// Fills the connection with running requests.
fn fill(server: &Server, tester: &Identity, connection: &mut Connection) {
    let requests = (0..IN_FLIGHT).map(|number| format!("sleep 600000\r\nSequence: {number}\r\n\r\n"));
    connection.send(requests.collect::<String>());
    wait_until_paused(server, tester);
}

fn wait_until_paused(server: &Server, tester: &Identity) {
    let mut operator = server.connect(tester);
    eventually("the bound to be met", || {
        (metrics(&mut operator)["lictor_in_flight_full_total"] > 0).then_some(())
    });
}

fn wait_for_cancelled(server: &Server, count: usize) {
    eventually("what runs for nobody to be stopped", || {
        let log = server.log();
        let cancelled = log.iter().filter(|entry| entry.text("code") == Some("cancelled"));
        (cancelled.filter(|entry| entry.text("outcome") == Some("unknown")).count() == count).then_some(())
    });
}

#[test]
fn a_client_that_goes_away_is_heard() {
    let (server, tester) = start();
    let mut connection = server.connect(&tester);
    fill(&server, &tester, &mut connection);
    drop(connection);
    wait_for_cancelled(&server, IN_FLIGHT);
}

#[test]
fn a_client_that_goes_away_is_heard_behind_requests_whose_turn_has_not_come() {
    let (server, tester) = start();
    let mut connection = server.connect(&tester);
    fill(&server, &tester, &mut connection);
    connection.send("body-size\r\nSequence: waits\r\n\r\n".repeat(100));
    drop(connection);
    wait_for_cancelled(&server, IN_FLIGHT);
    let ran = server.log().iter().filter(|entry| entry.text("command") == Some("body-size")).count();
    assert_eq!(ran, 0, "requests of a client that is gone");
}

#[test]
fn what_was_sent_before_the_client_ended_its_side_is_answered() {
    let (server, tester) = start();
    let mut connection = server.connect(&tester);
    let count = 50;
    let requests = (0..count).map(|number| format!("sleep 5\r\nSequence: {number}\r\n\r\n"));
    connection.send(requests.collect::<String>());
    connection.end_sending();
    let sequence =
        |connection: &mut Connection| connection.read_frame().field("Sequence").unwrap().parse().unwrap();
    let mut answered: Vec<usize> = (0..count).map(|_| sequence(&mut connection)).collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..count).collect::<Vec<_>>());
    connection.assert_closed();
}

#[test]
fn a_half_request_before_the_end_is_told_behind_the_answers() {
    let (server, tester) = start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 50\r\nSequence: 1\r\n\r\nsleep 50\r\nSequence: 2\r\n\r\nsleep 5\r\nSequ");
    connection.end_sending();
    for _ in 0..2 {
        assert_eq!(connection.read_frame().text(), "slept");
    }
    assert_eq!(connection.read_reply(), "ERR Bad request: the connection ended within a request's head");
    connection.assert_closed();
}

#[test]
fn a_stream_ends_with_its_clients_side() {
    let (server, tester) = start();
    let mut connection = server.connect(&tester);
    connection.send("stall 1\r\nSequence: 1\r\n\r\nsleep 50\r\nSequence: 2\r\n\r\n");
    wait_until_paused(&server, &tester);
    connection.end_sending();
    let mut frames =
        std::iter::repeat_with(|| connection.read_frame()).filter(|frame| frame.status != "PART");
    let (first, second) = (frames.next().unwrap(), frames.next().unwrap());
    let [stream, other] =
        if first.field("Sequence") == Some("1") { [first, second] } else { [second, first] };
    assert_eq!((stream.failure().0, other.text()), ("cancelled", "slept"));
}
