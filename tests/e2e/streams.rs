//! Replies in parts in every language: the same cases for every streaming plugin, with its commands and
//! words.

use std::path::PathBuf;
use std::time::Duration;

use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::server::{Entry, Server, Setup};
use testkit::{eventually, let_pass};

use crate::languages::root;

/// A plugin whose commands stream, and a description of its commands. All have `count TO [EVERY-MS]`,
/// `break-off 3`, `whole BYTES` and `flood`.
pub(super) struct Plugin {
    pub(super) component: fn() -> PathBuf,
    pub(super) commands: &'static [&'static str],
    pub(super) grants: &'static str,
    /// Further commands with the right replies.
    pub(super) wholes: &'static [(&'static str, &'static [u8])],
    /// Failing commands, each with the parts before the failure, code and outcome, and message.
    pub(super) failures:
        &'static [(&'static str, &'static str, (&'static str, &'static str), &'static str)],
    /// A command that traps after two parts, and the resulting words in the log.
    pub(super) trap: (&'static str, &'static str),
    /// Keys of a server that soon stops a call without parts; and commands that stall after some parts, or,
    /// with a 0, at once.
    pub(super) patience: &'static str,
    pub(super) stalls: &'static [&'static str],
    /// Milliseconds between parts that are short enough not to be stopped; eight of them exceed the patience.
    pub(super) every_ms: u32,
    /// A command that logs 200 KB beside its parts.
    pub(super) prints: &'static str,
    /// Keys of a server with bounds on resources; and commands that exhaust these after their parts.
    pub(super) bounds: &'static str,
    pub(super) greedy: &'static [&'static str],
    /// Commands that continue endlessly after a first part.
    pub(super) endless: &'static [&'static str],
}

/// Message to a client about an unexpected fault.
pub(super) const UNEXPECTED: &str = "the plugin met an error that it did not expect";

/// Grants for plugins that use topics, the web and a store.
pub(super) const GRANTS: &str =
    "[plugins.streams.grants]\nevents = [\"a/*\", \"publish b\"]\nhttp = []\nkeyvalue = [\"default\"]";

/// Makes each case a test of each language.
macro_rules! cases {
    ($language:ident, $plugin:expr, $tools:expr, $($case:ident)*) => {
        mod $language {
            $(#[test]
            fn $case() {
                if $tools {
                    super::$case(&$plugin);
                }
            })*
        }
    };
    ($($language:ident, $plugin:expr, $tools:expr;)*) => {
        $(cases! {
            $language, $plugin, $tools,
            parts_come_one_by_one_and_then_the_end
            a_failure_may_come_before_and_after_parts
            a_trap_ends_the_stream_and_nothing_else
            what_is_used_is_bounded_from_one_part_to_the_next
            who_cancels_or_goes_away_ends_the_stream_where_it_stands
            a_client_that_does_not_read_holds_the_plugin_back
            streams_run_beside_each_other_and_end_with_the_server
        })*
    };
}

cases! {
    rust, crate::streaming::PLUGIN, true;
    javascript, crate::javascript_streams::PLUGIN, crate::languages::is_to_be_had("js");
    python, crate::python::PLUGIN, crate::languages::is_to_be_had("python");
}

/// Starts a server with the plugin, with `keys` beside its component, `echo`, and these sections.
pub(super) fn server_with(plugin: &Plugin, keys: &str, sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    // Components that take long to compile come from the cache.
    let cache = format!("cache = {:?}", root().join("target/tmp/authors/lictor"));
    let setup = Setup::new().master("tester", &tester).echo().server(&cache).section(sections);
    let component = (plugin.component)();
    (setup.plugin("streams", &component, plugin.commands, keys).section(plugin.grants).start(), tester)
}

pub(super) fn connected(plugin: &Plugin, keys: &str) -> (Server, Connection) {
    let (server, tester) = server_with(plugin, keys, "");
    let connection = server.connect(&tester);
    (server, connection)
}

pub(super) fn begin(connection: &mut Connection, sequence: &str, line: &str) {
    connection.send(format!("{line}\r\nSequence: {sequence}\r\n\r\n"));
}

/// Returns the bytes of all parts of the next stream, and the frame that ends it.
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

/// Reads two streams to their ends; returns the parts and the end of each, in the order of `sequences`.
fn read_both(connection: &mut Connection, sequences: [&str; 2]) -> [(Vec<u8>, Frame); 2] {
    let mut wholes = [Vec::new(), Vec::new()];
    let mut ends = [None, None];
    while ends.iter().any(Option::is_none) {
        let frame = connection.read_frame();
        let sequence = frame.field("Sequence").expect("it is of a stream");
        let at = sequences.iter().position(|known| *known == sequence).expect("it is of one of these");
        assert!(ends[at].is_none(), "behind its end: {frame:?}");
        match frame.status.as_str() {
            "PART" => wholes[at].extend(frame.body),
            _ => ends[at] = Some(frame),
        }
    }
    let [one, other] = wholes;
    let [end, other_end] = ends.map(|end| end.expect("both have ended"));
    [(one, end), (other, other_end)]
}

/// Returns the printed line, or the message about the plugin.
fn said(entry: &Entry) -> &str {
    entry.text("line").unwrap_or_else(|| entry.message())
}

fn parts_come_one_by_one_and_then_the_end(plugin: &Plugin) {
    let (server, mut connection) = connected(plugin, "");
    begin(&mut connection, "s", "count 3 100");
    for number in 1..=3 {
        let frame = connection.read_frame();
        assert_eq!((frame.status.as_str(), frame.field("Sequence")), ("PART", Some("s")), "{frame:?}");
        assert_eq!(frame.body, format!("{number}\n").into_bytes());
    }
    let end = connection.read_frame();
    assert_eq!((end.text(), end.field("Sequence"), end.field("Size")), ("", Some("s"), Some("0")));
    for (line, whole) in plugin.wholes {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!((parts.as_slice(), end.status.as_str(), end.text()), (*whole, "OK", ""), "{line}");
    }
    let (whole, end) = stream(&mut connection, "whole 1048576");
    assert!(whole.len() == 1 << 20 && whole.iter().all(|byte| *byte == b'w'), "{end:?}");
    assert_eq!((end.status.as_str(), end.text()), ("OK", ""));
    connection.send("count 3\r\n\r\n@ping\r\n\r\n");
    assert_eq!(connection.read_reply(), "ERR Reply needs a Sequence header");
    assert_eq!(connection.read_reply(), "pong");
    server.wait_for_log("the refusal", |entry| {
        entry.text("code") == Some("reply-unframeable") && entry.text("outcome") == Some("not-run")
    });
}

fn a_failure_may_come_before_and_after_parts(plugin: &Plugin) {
    let (_server, mut connection) = connected(plugin, "timeout = \"1m\"");
    for (line, whole, failure, message) in plugin.failures {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!(String::from_utf8_lossy(&parts), *whole, "{line}");
        assert_eq!((end.failure(), end.message.as_str()), (*failure, *message), "{line}");
    }
}

fn a_trap_ends_the_stream_and_nothing_else(plugin: &Plugin) {
    let (server, mut connection) = connected(plugin, "timeout = \"1m\"");
    let (line, words) = plugin.trap;
    begin(&mut connection, "other", "count 20 50");
    begin(&mut connection, "trap", line);
    let [(whole, end), (_, other)] = read_both(&mut connection, ["trap", "other"]);
    assert_eq!((whole, end.failure()), (b"1\n2\n".to_vec(), ("plugin-trapped", "unknown")));
    assert_eq!(other.text(), "");
    server.wait_for_log("why", |entry| {
        said(entry).contains(words) || entry.text("reason").is_some_and(|reason| reason.contains(words))
    });
    assert!(!end.message.contains("in the middle"), "the log alone is told: {end:?}");
}

fn what_is_used_is_bounded_from_one_part_to_the_next(plugin: &Plugin) {
    let (_server, mut connection) = connected(plugin, plugin.patience);
    let check = |connection: &mut Connection, line: &str, code: &str| {
        let (whole, end) = stream(connection, line);
        assert_eq!(end.failure(), (code, "unknown"), "{line}: {end:?}");
        assert_eq!(whole.is_empty(), line.contains('0'), "{line}");
    };
    for line in plugin.stalls {
        check(&mut connection, line, "timeout");
    }
    let (whole, end) = stream(&mut connection, &format!("count 8 {}", plugin.every_ms));
    assert_eq!((whole.len(), end.text()), (16, ""), "longer than the timeout in all");
    assert_eq!(stream(&mut connection, plugin.prints).1.text(), "", "more in all than a call may print");
    let (_server, mut connection) = connected(plugin, plugin.bounds);
    for line in plugin.greedy {
        check(&mut connection, line, "plugin-limit");
    }
    let (whole, end) = stream(&mut connection, "count 1000 20\r\nTimeout-Ms: 500");
    assert_eq!(
        (end.failure(), whole.is_empty()),
        (("timeout", "unknown"), false),
        "the client's own deadline"
    );
}

/// Runs a stream once the only slot is free; while another stream holds it, one more is refused.
fn run_when_free(connection: &mut Connection) {
    eventually("a free slot", || {
        let (_, end) = stream(connection, "count 1");
        if end.status == "ERR" {
            assert_eq!(end.failure(), ("busy", "not-run"));
        }
        (end.status == "OK").then_some(())
    });
}

fn who_cancels_or_goes_away_ends_the_stream_where_it_stands(plugin: &Plugin) {
    let one_slot = "[limits]\nconcurrent_streams = 1\nqueue_timeout = \"10ms\"";
    let (server, tester) = server_with(plugin, "timeout = \"1h\"", one_slot);
    let mut connection = server.connect(&tester);
    let mut other = server.connect(&tester);
    for line in plugin.endless {
        begin(&mut connection, "long", line);
        assert_eq!(connection.read_frame().status, "PART", "{line}");
        begin(&mut other, "second", "count 1");
        assert_eq!(read_stream(&mut other).1.failure(), ("busy", "not-run"), "{line}");
        connection.send("@cancel long\r\nSequence: c\r\n\r\n");
        let [(_, cancels), (_, long)] = read_both(&mut connection, ["c", "long"]);
        assert_eq!((cancels.text(), long.failure()), ("cancelling long", ("cancelled", "unknown")), "{line}");
        run_when_free(&mut other);
        for says_goodbye in [false, true] {
            let mut leaving = server.connect(&tester);
            begin(&mut leaving, "long", line);
            assert_eq!(leaving.read_frame().status, "PART", "{line}");
            if says_goodbye {
                leaving.end_sending();
            }
            drop(leaving);
            run_when_free(&mut other);
        }
    }
    assert!(!server.log().iter().any(|entry| said(entry).contains("finally ran")), "no `finally` runs");
}

fn a_client_that_does_not_read_holds_the_plugin_back(plugin: &Plugin) {
    let (server, tester) = server_with(plugin, "timeout = \"1s\"", "");
    let mut slow = server.connect(&tester);
    begin(&mut slow, "s", "flood");
    let flooded = || {
        let lines = server.log();
        let counts =
            lines.iter().filter_map(|entry| said(entry).strip_prefix("flooded ")?.parse::<usize>().ok());
        counts.max().unwrap_or(0)
    };
    // Once the sockets are full nothing moves, for much longer than the plugin's timeout.
    let mut before = 0;
    let held = eventually("a standstill", || {
        let now = flooded();
        let stands = now > 0 && now == before;
        before = now;
        let_pass(Duration::from_secs(2));
        stands.then_some(now)
    });
    assert!(held < 32, "{held} MiB were taken from the plugin for a client that reads nothing");
    assert_eq!(server.connect(&tester).ask("echo others go on"), "others go on");
    // It resumes where it stopped, as soon as the client reads.
    let mut whole = 0;
    while whole < (held + 8) << 20 {
        let frame = slow.read_frame();
        assert_eq!(frame.status, "PART", "{frame:?}");
        assert!(frame.body.iter().all(|byte| *byte == b'f'));
        whole += frame.body.len();
    }
    eventually("more of the flood", || (flooded() > held + 4).then_some(()));
}

fn streams_run_beside_each_other_and_end_with_the_server(plugin: &Plugin) {
    let (mut server, mut connection) = connected(plugin, "timeout = \"1h\"");
    begin(&mut connection, "one", "count 10 20");
    begin(&mut connection, "two", "count 10 20");
    for (whole, end) in read_both(&mut connection, ["one", "two"]) {
        let whole = String::from_utf8_lossy(&whole);
        assert_eq!((whole.as_ref(), end.text()), ("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", ""));
    }
    begin(&mut connection, "long", plugin.endless[1]);
    assert_eq!(connection.read_frame().status, "PART");
    server.signal("TERM");
    assert_eq!(connection.read_frame().failure(), ("shutting-down", "unknown"));
    connection.assert_closed();
    assert_eq!(server.wait(), Some(0));
}

/// Asserts that `lictor plugin inspect` recognizes a plugin built for streams.
pub(super) fn is_built_for_streams(inspected: &str) {
    for words in ["of the world lictor:plugin/streaming-plugin@0.1.0", "lictor:plugin/events@0.1.0"] {
        assert!(inspected.contains(words), "no {words:?} in {inspected}");
    }
    let counts = inspected
        .lines()
        .any(|line| line.contains("count TO [EVERY-MS]") && line.ends_with("counts (may be repeated)"));
    assert!(counts && !inspected.contains("lictor:plugin/files"), "{inspected}");
}
