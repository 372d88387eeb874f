//! Replies in parts, beyond the cases in `streams`: plugins in Rust, and clients.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::thread;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::{self, STREAMS_COMMANDS};
use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::{Conversation, finish, lictor};

use crate::streams::{Plugin, begin, connected, read_stream, stream};

/// Description of the plugin for the cases in `streams`.
pub(super) const PLUGIN: Plugin = Plugin {
    component: || components::streams().to_owned(),
    commands: &STREAMS_COMMANDS,
    grants: "",
    wholes: &[("nothing", b""), ("caller", b"tester []")],
    failures: &[
        ("refuse", "", ("conflict", "failed"), "refused"),
        ("break-off 0", "", ("not-found", "failed"), "no more"),
        ("break-off 3", "1\n2\n3\n", ("not-found", "failed"), "no more"),
    ],
    trap: ("trap 2", "in the middle"),
    patience: "timeout = \"600ms\"\nhost_calls = 0",
    stalls: &["stall 0", "stall 2", "leave 2"],
    every_ms: 150,
    prints: "print 200",
    bounds: "timeout = \"1h\"\ncpu_time = \"200ms\"\nmemory = \"8MiB\"",
    greedy: &["spin 2", "grow 2"],
    endless: &["count 1000000 5", "stall 1", "spin 1", "flood"],
};

#[test]
fn a_stream_sees_its_request() {
    let (_server, mut connection) = connected(&PLUGIN, "timeout = \"1m\"");
    connection.send("caller\r\nSequence: s\r\nSize: 2\r\n\r\nhi");
    assert_eq!(read_stream(&mut connection).0, b"tester [104, 105]");
    let left = |connection: &mut Connection, line: &str| -> u64 {
        String::from_utf8(stream(connection, line).0).unwrap().parse().unwrap()
    };
    assert!((1..=60_000).contains(&left(&mut connection, "time-left 0\r\nX: y")));
    assert!((1..=5_000).contains(&left(&mut connection, "time-left 0\r\nTimeout-Ms: 5000")));
}

#[test]
fn a_stream_whose_time_is_over_does_not_begin() {
    let (_server, mut connection) = connected(&PLUGIN, "");
    let (whole, end) = stream(&mut connection, "count 1\r\nTimeout-Ms: 0");
    assert_eq!((whole, end.failure()), (Vec::new(), ("timeout", "not-run")));
}

#[test]
fn a_client_that_ends_its_sending_is_told_the_end_of_its_streams() {
    let (_server, mut connection) = connected(&PLUGIN, "timeout = \"1h\"");
    begin(&mut connection, "long", "stall 1");
    assert_eq!(connection.read_frame().body, b"1\n");
    connection.end_sending();
    assert_eq!(connection.read_frame().failure(), ("cancelled", "unknown"));
    connection.assert_closed();
}

#[test]
fn streams_run_beside_each_other_and_beside_other_requests() {
    let (_server, mut connection) = connected(&PLUGIN, "");
    begin(&mut connection, "one", "count 10 30");
    begin(&mut connection, "two", "count 10 30");
    let mut replies: HashMap<String, (Vec<u8>, bool)> = HashMap::new();
    // An echo follows each part, so that they are spread over the streams' time.
    let mut echoes = 0;
    while replies.values().filter(|(_, ended)| *ended).count() < 2 + echoes {
        let frame = connection.read_frame();
        let (whole, ended) = replies.entry(frame.field("Sequence").unwrap().to_owned()).or_default();
        assert!(!*ended && matches!(frame.status.as_str(), "PART" | "OK"), "{frame:?}");
        *ended = frame.status == "OK";
        whole.extend(frame.body);
        if !*ended {
            begin(&mut connection, &format!("echo-{echoes}"), "echo hello");
            echoes += 1;
        }
    }
    assert!(echoes > 10, "{echoes} parts of twenty lines");
    for (sequence, (whole, _)) in &replies {
        let expected = if sequence.starts_with("echo") { "hello" } else { "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n" };
        assert_eq!(String::from_utf8_lossy(whole), expected, "{sequence}");
    }
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
    // Text written before it starts to watch is not shown.
    let mut file = fs::OpenOptions::new().append(true).open(&watched).unwrap();
    let heard = thread::scope(|scope| {
        let heard = scope.spawn(|| talk.hear("new\n"));
        eventually("a line that is shown", || {
            file.write_all(b"new\n").unwrap();
            heard.is_finished().then_some(())
        });
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
