//! Requests with an `Idempotency-Key`: their stored answers take no memory without a permit, and writes for
//! them delay nobody else.

use std::time::{Duration, Instant};

use socket2::SockRef;
use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::eventually;
use testkit::peer::Peer;
use testkit::server::{Server, Setup};

use crate::{assert_serves, tell_memory};

/// Starts a server whose state is in a file, with these `limits`.
fn server_with(limits: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("timeout = \"10m\"");
    let server = setup
        .section(&format!("[limits]\n{limits}"))
        .section("[state]\nengine = \"sqlite\"\npath = \"state.db\"")
        .start();
    (server, tester)
}

fn request(line: &str, sequence: impl std::fmt::Display, key: impl std::fmt::Display) -> String {
    format!("{line}\r\nSequence: {sequence}\r\nIdempotency-Key: {key}\r\n\r\n")
}

fn ask(connection: &mut Connection, line: &str, key: impl std::fmt::Display) -> Frame {
    connection.send(request(line, "asked", key));
    connection.read_frame()
}

/// Bytes of each repeated answer.
const ANSWER: usize = 1_000_000;

/// Stored answers, within the quota of 64 MiB.
const KEYS: usize = 50;

const CONNECTIONS: usize = 40;

/// Limit from docs/limits.md for the replies of one connection, with the default of `reply`.
const OF_CONNECTION: usize = 100_000 + 128 * 4_000 + (1 << 20) + 3 * (1 << 20);

#[test]
fn replays_that_nobody_reads_take_no_more_memory_than_other_replies() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let (server, tester) = server_with("concurrent_commands = 8\nwrite_timeout = \"10m\"");
    let mut connection = server.connect(&tester);
    for key in 0..KEYS {
        assert_eq!(ask(&mut connection, &format!("big {ANSWER}"), key).body.len(), ANSWER);
    }
    // Repeated once beforehand: the pages stay allocated.
    assert_eq!(ask(&mut connection, &format!("big {ANSWER}"), 0).body.len(), ANSWER);
    let before = server.resident_kib() as usize * 1024;

    // The maximum in flight on a connection: 60 bytes each are sent, and nothing is read.
    let burst: String = (0..128).map(|n| request(&format!("big {ANSWER}"), n, n % KEYS)).collect();
    let attack = || {
        let mut peer = Peer::admitted(server.address(), &tester);
        SockRef::from(peer.socket()).set_recv_buffer_size(4096).unwrap();
        peer.send(&burst).unwrap();
        peer
    };
    let peers: Vec<Peer> = (0..CONNECTIONS).map(|_| attack()).collect();
    let taken = (server.settled_kib() as usize * 1024).saturating_sub(before);
    assert!(taken < CONNECTIONS * OF_CONNECTION, "{taken} bytes, {} at most", CONNECTIONS * OF_CONNECTION);
    // The attack was effective.
    assert!(taken > CONNECTIONS * ANSWER, "{taken} bytes");
    // The repeats hold no slot, and no part of their client's share.
    assert_serves(&server, &tester);
    assert_eq!(ask(&mut connection, "id", "new").status, "OK");
    drop(peers);
    eventually("memory to go back", || {
        (server.resident_kib() as usize * 1024 < before + taken / 4).then_some(())
    });
    tell_memory(&server, before as u64 / 1024);

    // A client that reads receives all of them, in any order.
    let burst: String = (0..KEYS).map(|n| request(&format!("big {ANSWER}"), n, n)).collect();
    connection.send(burst);
    let mut answered: Vec<usize> = (0..KEYS)
        .map(|_| {
            let frame = connection.read_frame();
            assert_eq!((&*frame.status, frame.body.len()), ("OK", ANSWER));
            frame.field("Sequence").unwrap().parse().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..KEYS));
}

/// The thread that performs all writes to the state.
const WRITER: &str = "state-writer";

/// Returns the most that the thread waits for its own reasons in this time: it looks for expired entries,
/// with a commit each time.
fn waits_by_itself(time: Duration) -> u64 {
    20 + 10 * time.as_secs()
}

#[test]
fn keys_beyond_the_quota_are_refused_without_a_write() {
    let (server, tester) = server_with("idempotency_keys = 5");
    let mut connection = server.connect(&tester);
    for key in 0..5 {
        assert_eq!(ask(&mut connection, "id", key).status, "OK");
    }
    let (began, before) = (Instant::now(), server.waits(WRITER));
    assert!(before > 0, "there is no thread of this name");
    // One by one, since simultaneous writes are grouped.
    for key in 5..1005 {
        assert_eq!(ask(&mut connection, "id", key).failure(), ("rate-limited", "not-run"));
    }
    let (time, waits) = (began.elapsed(), server.waits(WRITER) - before);
    // The server checks for room again now and then.
    let most = waits_by_itself(time) + (1 + time.as_millis() as u64 / 250) * 8;
    assert!(waits <= most, "{waits} waits for 1000 keys in {time:?}, {most} at most");
    // A stored answer is returned, and a request without a key is run.
    assert_eq!(ask(&mut connection, "id", 0).status, "OK");
    assert_serves(&server, &tester);
}

#[test]
fn a_client_that_has_to_wait_for_its_own_calls_has_no_key_written_meanwhile() {
    let (server, tester) = server_with("concurrent_commands_per_client = 1\nqueue_timeout = \"20ms\"");
    let mut connection = server.connect(&tester);
    // Its namespace exists from now on.
    assert_eq!(ask(&mut connection, "id", "first").status, "OK");
    let mut busy = server.connect(&tester);
    busy.send("sleep 600000\r\nSequence: long\r\n\r\n");
    eventually("the call to run", || (connection.ask_framed("id").status == "ERR").then_some(()));
    let (began, before) = (Instant::now(), server.waits(WRITER));
    assert!(before > 0, "there is no thread of this name");
    for key in 0..100 {
        assert_eq!(ask(&mut connection, "id", key).failure(), ("busy", "not-run"));
    }
    let (time, waits) = (began.elapsed(), server.waits(WRITER) - before);
    let most = waits_by_itself(time);
    assert!(waits <= most, "{waits} waits in {time:?}, {most} at most");
    // None of them has left a record.
    busy.send("@cancel long\r\nSequence: stop\r\n\r\n");
    let _both = [(); 2].map(|()| busy.read_frame());
    for key in 0..100 {
        assert_eq!(ask(&mut connection, "args other", key).text(), "\"other\"");
    }
}
