//! Replies that come in parts: their frames, their ends, their bounds, and what is left of them.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::support::certs::Identity;
use crate::support::client::{Connection, Frame};
use crate::support::components::{self, STREAMS_COMMANDS};
use crate::support::eventually;
use crate::support::server::{Server, Setup};
use crate::support::tools::{Conversation, finish, lictor};

/// A server with the plugin `streams`, with `keys` beside its component, `echo`, and these `limits`.
fn server_with(keys: &str, limits: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().section(&format!("[limits]\n{limits}"));
    let setup = setup.plugin("streams", components::streams(), &STREAMS_COMMANDS, keys);
    (setup.start(), tester)
}

fn connected(keys: &str) -> (Server, Connection) {
    let (server, tester) = server_with(keys, "");
    let connection = server.connect(&tester);
    (server, connection)
}

pub(super) fn begin(connection: &mut Connection, sequence: &str, line: &str) {
    connection.send(format!("{line}\r\nSequence: {sequence}\r\n\r\n"));
}

/// The bytes of all parts of the stream whose turn it is, and the frame that ends it.
pub(super) fn read_stream(connection: &mut Connection) -> (Vec<u8>, Frame) {
    let mut whole = Vec::new();
    loop {
        let frame = connection.read_frame();
        if frame.status != "PART" {
            return (whole, frame);
        }
        assert!(!frame.body.is_empty() && frame.body.len() <= 16 << 10, "{} bytes", frame.body.len());
        whole.extend(frame.body);
    }
}

pub(super) fn stream(connection: &mut Connection, line: &str) -> (Vec<u8>, Frame) {
    begin(connection, "asked", line);
    let (whole, end) = read_stream(connection);
    assert_eq!(end.field("Sequence"), Some("asked"), "{end:?}");
    (whole, end)
}

#[test]
fn parts_come_one_by_one_and_then_the_end() {
    let (_server, mut connection) = connected("");
    begin(&mut connection, "s", "count 3 100");
    for number in 1..=3 {
        let frame = connection.read_frame();
        assert_eq!((frame.status.as_str(), frame.field("Sequence")), ("PART", Some("s")), "{frame:?}");
        assert_eq!(frame.body, format!("{number}\n").into_bytes());
    }
    let end = connection.read_frame();
    assert_eq!((end.text(), end.field("Sequence"), end.field("Size")), ("", Some("s"), Some("0")));
    // The sequence is free again.
    let (whole, end) = stream(&mut connection, "whole 1000000");
    assert_eq!((whole.len(), end.status.as_str()), (1_000_000, "OK"));
    let (whole, end) = stream(&mut connection, "nothing");
    assert_eq!((whole, end.text()), (Vec::new(), ""));
}

#[test]
fn a_stream_sees_its_request() {
    let (_server, mut connection) = connected("timeout = \"1m\"");
    connection.send("caller\r\nSequence: s\r\nSize: 2\r\n\r\nhi");
    assert_eq!(read_stream(&mut connection).0, b"tester [104, 105]");
    let left = |connection: &mut Connection, line: &str| -> u64 {
        String::from_utf8(stream(connection, line).0).unwrap().parse().unwrap()
    };
    assert!((1..=60_000).contains(&left(&mut connection, "time-left 0\r\nX: y")));
    assert!((1..=5_000).contains(&left(&mut connection, "time-left 0\r\nTimeout-Ms: 5000")));
}

#[test]
fn a_plain_request_is_refused_and_not_run() {
    let (server, mut connection) = connected("");
    connection.send("count 3\r\n\r\n@ping\r\n\r\n");
    assert_eq!(connection.read_reply(), "ERR Reply needs a Sequence header");
    assert_eq!(connection.read_reply(), "pong");
    server.wait_for_log("the refusal", |entry| {
        entry.text("code") == Some("reply-unframeable") && entry.text("outcome") == Some("not-run")
    });
}

#[test]
fn a_failure_may_come_before_and_after_parts() {
    let (_server, mut connection) = connected("");
    let (whole, end) = stream(&mut connection, "refuse");
    assert_eq!((whole, end.failure(), end.message.as_str()), (Vec::new(), ("conflict", "failed"), "refused"));
    let (whole, end) = stream(&mut connection, "break-off 3");
    assert_eq!((whole, end.failure()), (b"1\n2\n3\n".to_vec(), ("not-found", "failed")));
    assert_eq!(end.message, "no more");
    let (whole, end) = stream(&mut connection, "break-off 0");
    assert_eq!((whole, end.failure()), (Vec::new(), ("not-found", "failed")));
}

#[test]
fn a_trap_ends_the_stream_and_nothing_else() {
    let (server, mut connection) = connected("");
    begin(&mut connection, "other", "count 20 50");
    begin(&mut connection, "trap", "trap 2");
    let mut whole = Vec::new();
    let end = loop {
        let frame = connection.read_frame();
        match (frame.field("Sequence"), frame.status.as_str()) {
            (Some("trap"), "PART") => whole.extend(frame.body),
            (Some("trap"), _) => break frame,
            _ => {}
        }
    };
    assert_eq!((whole, end.failure()), (b"1\n2\n".to_vec(), ("plugin-trapped", "unknown")));
    assert!(!end.message.contains("in the middle"), "{end:?}");
    server.wait_for_log("the panic", |entry| {
        entry.text("line").is_some_and(|line| line.contains("in the middle"))
            || entry.message().contains("in the middle")
    });
    let (_, end) = read_stream(&mut connection);
    assert_eq!((end.text(), end.field("Sequence")), ("", Some("other")));
}

#[test]
fn time_and_memory_are_bounded_from_one_part_to_the_next() {
    let (_server, mut connection) = connected("timeout = \"600ms\"\nhost_calls = 0");
    let check = |connection: &mut Connection, line: &str, code: &str| {
        let (whole, end) = stream(connection, line);
        assert_eq!(end.failure(), (code, "unknown"), "{line}: {end:?}");
        assert_eq!(whole.is_empty(), line.ends_with('0'), "{line}");
    };
    for line in ["stall 2", "stall 0", "leave 2"] {
        check(&mut connection, line, "timeout");
    }
    // Longer than the timeout in all.
    let (whole, end) = stream(&mut connection, "count 8 150");
    assert_eq!((whole.len(), end.text()), (16, ""));
    // More in all than a call may print.
    assert_eq!(stream(&mut connection, "print 200").1.text(), "");

    let (_server, mut connection) = connected("timeout = \"1h\"\ncpu_time = \"200ms\"\nmemory = \"8MiB\"");
    for line in ["spin 2", "grow 2"] {
        check(&mut connection, line, "plugin-limit");
    }
}

#[test]
fn the_clients_deadline_holds_for_all_of_a_stream() {
    let (_server, mut connection) = connected("");
    let (whole, end) = stream(&mut connection, "count 1000 20\r\nTimeout-Ms: 300");
    assert_eq!(end.failure(), ("timeout", "unknown"), "{end:?}");
    assert!(!whole.is_empty());
    let (whole, end) = stream(&mut connection, "count 1\r\nTimeout-Ms: 0");
    assert_eq!((whole, end.failure()), (Vec::new(), ("timeout", "not-run")));
}

/// The one stream that may run; while another does, it is refused.
pub(super) fn run_when_free(connection: &mut Connection) {
    eventually("a free slot", || {
        let (_, end) = stream(connection, "count 1");
        if end.status == "ERR" {
            assert_eq!(end.failure(), ("busy", "not-run"));
        }
        (end.status == "OK").then_some(())
    });
}

pub(super) const ONE_SLOT: &str = "concurrent_streams = 1\nqueue_timeout = \"10ms\"";

#[test]
fn a_cancelled_stream_ends_at_once_and_frees_what_it_held() {
    let (server, tester) = server_with("timeout = \"1h\"", ONE_SLOT);
    let mut connection = server.connect(&tester);
    let mut other = server.connect(&tester);
    for line in ["count 1000000 5", "stall 1", "spin 1", "flood"] {
        begin(&mut connection, "long", line);
        assert_eq!(connection.read_frame().status, "PART", "{line}");
        begin(&mut other, "second", "count 1");
        assert_eq!(read_stream(&mut other).1.failure(), ("busy", "not-run"), "{line}");
        connection.send("@cancel long\r\nSequence: c\r\n\r\n");
        let mut ends = Vec::new();
        while ends.len() < 2 {
            let frame = connection.read_frame();
            if frame.status != "PART" {
                ends.push(frame);
            }
        }
        ends.sort_by_key(|end| end.field("Sequence").map(str::to_owned));
        assert_eq!(ends[0].text(), "cancelling long", "{line}");
        assert_eq!(ends[1].failure(), ("cancelled", "unknown"), "{line}");
        run_when_free(&mut other);
    }
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let (server, tester) = server_with("timeout = \"1h\"", ONE_SLOT);
    let mut other = server.connect(&tester);
    for line in ["count 1000000 5", "stall 1", "spin 1", "flood"] {
        for says_goodbye in [false, true] {
            let mut connection = server.connect(&tester);
            begin(&mut connection, "long", line);
            assert_eq!(connection.read_frame().status, "PART", "{line}");
            if says_goodbye {
                connection.end_sending();
            }
            drop(connection);
            run_when_free(&mut other);
        }
    }
}

#[test]
fn a_client_that_ends_its_sending_is_told_the_end_of_its_streams() {
    let (_server, mut connection) = connected("timeout = \"1h\"");
    begin(&mut connection, "long", "stall 1");
    assert_eq!(connection.read_frame().body, b"1\n");
    connection.end_sending();
    assert_eq!(connection.read_frame().failure(), ("cancelled", "unknown"));
    connection.assert_closed();
}

#[test]
fn a_client_that_does_not_read_holds_the_plugin_back() {
    let (server, tester) = server_with("timeout = \"300ms\"", "");
    let mut slow = server.connect(&tester);
    begin(&mut slow, "s", "flood");
    let flooded = |server: &Server| {
        let lines = server.log().into_iter().filter_map(|entry| {
            let line = entry.text("line").map_or_else(|| entry.message().to_owned(), str::to_owned);
            line.strip_prefix("flooded ").and_then(|count| count.parse::<usize>().ok())
        });
        lines.max().unwrap_or(0)
    };
    // Once the sockets are full nothing moves, for much longer than the plugin's timeout.
    let mut before = usize::MAX;
    let held = eventually("a standstill", || {
        let now = flooded(&server);
        let stands = now == before;
        before = now;
        thread::sleep(Duration::from_secs(1));
        stands.then_some(now)
    });
    assert!(held < 32, "{held} MiB were taken from the plugin for a client that reads nothing");
    assert_eq!(server.connect(&tester).ask("echo others go on"), "others go on");
    // It goes on where it stood, as soon as the client reads.
    let mut whole = 0;
    while whole < (held + 8) << 20 {
        let frame = slow.read_frame();
        assert_eq!(frame.status, "PART", "{frame:?}");
        assert!(frame.body.iter().all(|byte| *byte == b'f'));
        whole += frame.body.len();
    }
    eventually("more of the flood", || (flooded(&server) > held + 4).then_some(()));
}

#[test]
fn streams_run_beside_each_other_and_beside_other_requests() {
    let (_server, mut connection) = connected("");
    begin(&mut connection, "one", "count 10 30");
    begin(&mut connection, "two", "count 10 30");
    let mut replies: HashMap<String, (Vec<u8>, bool)> = HashMap::new();
    for number in 0..20 {
        begin(&mut connection, &format!("echo-{number}"), "echo hello");
        thread::sleep(Duration::from_millis(10));
    }
    while replies.values().filter(|(_, ended)| *ended).count() < 22 {
        let frame = connection.read_frame();
        let (whole, ended) = replies.entry(frame.field("Sequence").unwrap().to_owned()).or_default();
        assert!(!*ended && matches!(frame.status.as_str(), "PART" | "OK"), "{frame:?}");
        *ended = frame.status == "OK";
        whole.extend(frame.body);
    }
    for (sequence, (whole, _)) in &replies {
        let expected = if sequence.starts_with("echo") { "hello" } else { "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n" };
        assert_eq!(String::from_utf8_lossy(whole), expected, "{sequence}");
    }
}

#[test]
fn a_stopping_server_ends_its_streams() {
    let (mut server, tester) = server_with("timeout = \"1h\"", "");
    let mut connection = server.connect(&tester);
    begin(&mut connection, "long", "stall 1");
    assert_eq!(connection.read_frame().status, "PART");
    server.signal("TERM");
    assert_eq!(connection.read_frame().failure(), ("shutting-down", "unknown"));
    connection.assert_closed();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_stream_can_not_be_the_reply_to_a_plugin() {
    let tester = Identity::new("tester");
    let setup = Setup::new()
        .master("tester", &tester)
        .plugin("streams", components::streams(), &STREAMS_COMMANDS, "")
        .plugin("reaching", components::reaching(), &["run"], "")
        .section("[plugins.reaching.grants]\nfiles = []\ncommands = [\"count\"]");
    let server = setup.start();
    let frame = server.connect(&tester).ask_framed("run count 3");
    assert!(frame.message.contains("streams") || frame.text().contains("streams"), "{frame:?}");
}

#[test]
fn a_plugin_that_streams_has_an_instance_for_each_request() {
    let setup = Setup::new().plugin("streams", components::streams(), &["count"], "instances = \"shared\"");
    let config = setup.write();
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("take `instances` out of [plugins.streams]"), "{checked:?}");
}

#[test]
fn lictor_call_prints_parts_as_they_come() {
    let (tester, own) = (Identity::new("tester"), Identity::of_server());
    let setup = Setup::new().master("tester", &tester);
    tester.write(setup.folder(), "tester");
    own.write(setup.folder(), "server");
    let watched = setup.folder().join("watched.log");
    fs::write(&watched, "old\n").unwrap();
    let server = setup
        .plugin("watch", components::watch(), &["watch"], "timeout = \"1h\"")
        .section("[plugins.watch.grants]\nfiles = [\"watched.log\"]")
        .section("[limits]\nconcurrent_streams = 1\nqueue_timeout = \"10ms\"")
        .start();
    let call = |arguments: &[&str]| {
        let mut command = lictor(server.folder());
        let address = server.address().to_string();
        command.args(["call", "--server", &address, "--cert", "tester.pem", "--pin", &own.sha256()]);
        command.args(arguments);
        command
    };
    let mut talk = Conversation::with(&mut call(&["watch", "watched.log", "20ms"]));
    // What is written before it watches is not told.
    let mut file = fs::OpenOptions::new().append(true).open(&watched).unwrap();
    let heard = thread::scope(|scope| {
        let heard = scope.spawn(|| talk.hear("new\n"));
        while !heard.is_finished() {
            file.write_all(b"new\n").unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        heard.join().unwrap()
    });
    assert_eq!(heard, "new\n");
    // The end of the program ends the command.
    drop(talk);
    eventually("a free slot", || {
        let refused = finish(&mut call(&["watch", "nosuch.log"]));
        assert_eq!(refused.code, Some(1), "{refused:?}");
        refused.stderr.contains("(denied, failed)").then_some(())
    });
}
