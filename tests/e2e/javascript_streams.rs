//! Commands in JavaScript whose replies come in parts, over a real server.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::javascript::built;
use crate::languages::{at_leisure, author, is_to_be_had};
use crate::streaming::{ONE_SLOT, begin, read_stream, run_when_free, stream};
use crate::support::certs::Identity;
use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::server::{Server, Setup};
use crate::support::web::Web;

/// The commands of `javascript/streams.js` that a server is given.
const COMMANDS: [&str; 22] = [
    "hello",
    "count",
    "plain",
    "one",
    "nothing",
    "empty",
    "refuse",
    "break-off",
    "panic",
    "odd",
    "whole",
    "flood",
    "hold",
    "stall",
    "sleep",
    "spin",
    "deep",
    "caller",
    "print",
    "fetch",
    "subscribe",
    "publish",
];

/// The plugin of streams, built once.
fn streams() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("streams"))
}

/// A server with that plugin, with `keys` beside its component, and these sections.
fn server_with(keys: &str, sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().section(sections);
    (setup.plugin("streams", streams(), &COMMANDS, keys).section(GRANTS).start(), tester)
}

const GRANTS: &str =
    "[plugins.streams.grants]\nevents = [\"a/*\", \"publish b\"]\nhttp = []\nkeyvalue = [\"default\"]";

fn connected(keys: &str) -> (Server, Connection) {
    let (server, tester) = server_with(keys, "");
    let connection = server.connect(&tester);
    (server, connection)
}

#[test]
fn the_build_makes_of_it_what_streams_and_imports_what_is_used() {
    if !is_to_be_had("js") {
        return;
    }
    let mut inspect = author(streams().parent().unwrap());
    let inspected = at_leisure(inspect.args(["plugin", "inspect"]).arg(streams()));
    for words in [
        "of the world lictor:plugin/streaming-plugin@0.1.0",
        "count TO [EVERY-MS]  counts (may be repeated)",
        "lictor:plugin/events@0.1.0",
    ] {
        assert!(inspected.contains(words), "no {words:?} in {inspected}");
    }
    assert!(!inspected.contains("lictor:plugin/files"), "{inspected}");
}

#[test]
fn parts_come_as_they_are_yielded_and_then_the_end() {
    if !is_to_be_had("js") {
        return;
    }
    let (_server, mut connection) = connected("");
    begin(&mut connection, "s", "count 3 100");
    for number in 1..=3 {
        let frame = connection.read_frame();
        assert_eq!((frame.status.as_str(), frame.field("Sequence")), ("PART", Some("s")), "{frame:?}");
        assert_eq!(frame.body, format!("{number}\n").into_bytes());
    }
    let end = connection.read_frame();
    assert_eq!((end.text(), end.field("Size")), ("", Some("0")));
    for (line, whole) in [
        ("plain 2", b"12last".as_slice()),
        ("one", b"\x00\xff"),
        ("nothing", b""),
        ("empty", b"x"),
        ("hello Ada", b"hello Ada"),
        ("caller", b"tester  true"),
    ] {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!((parts.as_slice(), end.status.as_str(), end.text()), (whole, "OK", ""), "{line}");
    }
    let (whole, end) = stream(&mut connection, "whole 1048576");
    assert!(
        whole.len() == 1 << 20 && whole.iter().all(|byte| *byte == b'w') && end.status == "OK",
        "{end:?}"
    );
    connection.send("count 3\r\n\r\n@ping\r\n\r\n");
    assert_eq!(connection.read_reply(), "ERR Reply needs a Sequence header");
    assert_eq!(connection.read_reply(), "pong");
}

#[test]
fn a_failure_comes_before_or_after_parts() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, mut connection) = connected("");
    for (line, whole, failure, message) in [
        ("count", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count 1 2 3", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("refuse", "", ("conflict", "failed"), "refused"),
        ("break-off 0", "", ("not-found", "failed"), "no more"),
        ("break-off 3", "1\n2\n3\n", ("not-found", "failed"), "no more"),
        ("panic 2", "1\n2\n", ("plugin-failed", "failed"), "the plugin met an error that it did not expect"),
        ("odd", "1\n", ("plugin-failed", "failed"), "the plugin met an error that it did not expect"),
        ("subscribe b", "", ("denied", "failed"), "the plugin may not subscribe to these topics"),
        ("fetch 1 http://127.0.0.1:9/", "", ("denied", "failed"), "this URL is not granted to the plugin"),
    ] {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!(String::from_utf8_lossy(&parts), whole, "{line}");
        assert_eq!((end.failure(), end.message.as_str()), (failure, message), "{line}");
    }
    let logged = server.wait_for_log("the error", |entry| {
        entry.text("line").is_some_and(|line| line.contains("uncaught TypeError"))
    });
    assert!(logged.text("line").is_some_and(|line| line.contains("plugin.js:")), "{logged:?}");
}

#[test]
fn a_trap_ends_the_stream_and_nothing_else() {
    if !is_to_be_had("js") {
        return;
    }
    let (_server, mut connection) = connected("timeout = \"1m\"");
    begin(&mut connection, "other", "count 20 50");
    begin(&mut connection, "trap", "deep 2");
    let (mut whole, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < 2 {
        let frame = connection.read_frame();
        match (frame.field("Sequence"), frame.status.as_str()) {
            (Some("trap"), "PART") => whole.extend(frame.body),
            (_, "PART") => {}
            _ => ends.push(frame),
        }
    }
    assert_eq!(whole, b"1\n2\n");
    assert_eq!((ends[0].field("Sequence"), ends[0].failure()), (Some("trap"), ("plugin-trapped", "unknown")));
    assert_eq!((ends[1].field("Sequence"), ends[1].text()), (Some("other"), ""));
}

#[test]
fn time_is_bounded_from_one_part_to_the_next() {
    if !is_to_be_had("js") {
        return;
    }
    let (_server, mut connection) = connected("timeout = \"600ms\"");
    for line in ["stall 0", "stall 2", "sleep 0", "sleep 2"] {
        let (whole, end) = stream(&mut connection, line);
        assert_eq!(end.failure(), ("timeout", "unknown"), "{line}: {end:?}");
        assert_eq!(whole.is_empty(), line.ends_with('0'), "{line}");
    }
    let (whole, end) = stream(&mut connection, "count 8 150");
    assert_eq!((whole.len(), end.text()), (16, ""), "longer than the timeout in all");
    assert_eq!(stream(&mut connection, "print 200").1.text(), "", "more in all than a call may print");
    let (_server, mut connection) = connected("timeout = \"1h\"\ncpu_time = \"300ms\"");
    assert_eq!(stream(&mut connection, "spin 2").1.failure(), ("plugin-limit", "unknown"));
    let (whole, end) = stream(&mut connection, "count 1000 20\r\nTimeout-Ms: 500");
    assert_eq!((end.failure(), whole.is_empty()), (("timeout", "unknown"), false));
}

#[test]
fn a_client_that_cancels_or_goes_away_ends_the_stream_where_it_stands() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, tester) = server_with("timeout = \"1h\"", &format!("[limits]\n{ONE_SLOT}"));
    let mut connection = server.connect(&tester);
    let mut other = server.connect(&tester);
    for line in ["count 1000000 5", "stall 1", "sleep 1", "spin 1", "flood", "hold", "subscribe a/*"] {
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
        assert_eq!(
            (ends[0].text(), ends[1].failure()),
            ("cancelling long", ("cancelled", "unknown")),
            "{line}"
        );
        run_when_free(&mut other);

        let mut leaving = server.connect(&tester);
        begin(&mut leaving, "long", line);
        assert_eq!(leaving.read_frame().status, "PART", "{line}");
        drop(leaving);
        run_when_free(&mut other);
    }
    let said = server.log().into_iter().any(|entry| entry.text("line") == Some("finally ran"));
    assert!(!said, "no `finally` runs");
}

#[test]
fn a_client_that_does_not_read_holds_the_plugin_back() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, tester) = server_with("timeout = \"1s\"", "");
    let mut slow = server.connect(&tester);
    begin(&mut slow, "s", "flood");
    let flooded = |server: &Server| {
        let lines = server
            .log()
            .into_iter()
            .filter_map(|entry| entry.text("line")?.strip_prefix("flooded ")?.parse::<usize>().ok());
        lines.max().unwrap_or(0)
    };
    let mut before = usize::MAX;
    let held = eventually("a standstill", || {
        let now = flooded(&server);
        let stands = now > 0 && now == before;
        before = now;
        thread::sleep(Duration::from_secs(2));
        stands.then_some(now)
    });
    assert!(held < 32, "{held} MiB were taken from the plugin for a client that reads nothing");
    let mut whole = 0;
    while whole < (held + 4) << 20 {
        let frame = slow.read_frame();
        assert_eq!(frame.status, "PART", "{frame:?}");
        assert!(frame.body.iter().all(|byte| *byte == b'f'));
        whole += frame.body.len();
    }
    eventually("more of the flood", || (flooded(&server) > held + 2).then_some(()));
}

#[test]
fn streams_run_beside_each_other_and_end_with_the_server() {
    if !is_to_be_had("js") {
        return;
    }
    let (mut server, mut connection) = connected("timeout = \"1h\"");
    begin(&mut connection, "one", "count 10 20");
    begin(&mut connection, "two", "count 10 20");
    let mut wholes = [Vec::new(), Vec::new()];
    let mut ended = 0;
    while ended < 2 {
        let frame = connection.read_frame();
        match frame.status.as_str() {
            "PART" => wholes[usize::from(frame.field("Sequence") == Some("two"))].extend(frame.body),
            _ => ended += 1,
        }
    }
    assert_eq!(wholes[0], b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    assert_eq!(wholes[0], wholes[1]);
    begin(&mut connection, "long", "stall 1");
    assert_eq!(connection.read_frame().status, "PART");
    server.signal("TERM");
    assert_eq!(connection.read_frame().failure(), ("shutting-down", "unknown"));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn events_come_to_a_command_that_subscribed() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, tester) = server_with("timeout = \"500ms\"", "");
    let [mut one, mut other] = [(); 2].map(|()| server.connect(&tester));
    begin(&mut one, "s", "subscribe a/*");
    assert_eq!(one.read_frame().body, b"subscribed\n");
    // No time passes for it while it waits.
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(stream(&mut other, "publish a/1 first").0, b"1");
    assert_eq!(one.read_frame().body, b"a/1 0 first\n");
    assert_eq!(stream(&mut other, "publish b elsewhere").0, b"0");
    assert_eq!(stream(&mut other, "publish a/2 ☃").0, b"1");
    assert_eq!(one.read_frame().body, "a/2 0 ☃\n".as_bytes());
    one.send("@cancel s\r\n\r\n");
    eventually("the end of a subscription", || (stream(&mut other, "publish a/1 x").0 == b"0").then_some(()));
}

#[test]
fn a_stream_sends_requests_between_its_parts() {
    if !is_to_be_had("js") {
        return;
    }
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
    let tester = Identity::new("tester");
    let grants = GRANTS.replace("http = []", &format!("http = [\"http://{}\"]", web.address));
    let setup = Setup::new().master("tester", &tester).plugin("streams", streams(), &COMMANDS, "");
    let server = setup.section(&grants).start();
    let mut connection = server.connect(&tester);
    let (whole, end) = stream(&mut connection, &format!("fetch 3 http://{}/", web.address));
    assert_eq!((whole.as_slice(), end.text()), (b"page\npage\npage\n".as_slice(), ""), "{end:?}");
}
