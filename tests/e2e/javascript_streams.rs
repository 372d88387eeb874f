//! Commands in JavaScript that reply in parts, beyond the cases in `streams`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::web::Web;
use testkit::{eventually, let_pass};

use crate::javascript::built;
use crate::languages::{at_leisure, author, is_to_be_had};
use crate::streams::{
    GRANTS, Plugin, UNEXPECTED, begin, connected, is_built_for_streams, server_with, stream,
};

/// Commands of `javascript/streams.js` that the server routes.
const COMMANDS: [&str; 26] = [
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
    "leave",
    "leave-last",
    "stuck",
    "mend",
];

/// Builds the plugin of streams once.
fn streams() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("streams"))
}

/// Description of the plugin for the cases in `streams`.
pub(super) const PLUGIN: Plugin = Plugin {
    component: || streams().to_owned(),
    commands: &COMMANDS,
    grants: GRANTS,
    wholes: &[
        ("plain 2", b"12last"),
        ("one", b"\x00\xff"),
        ("nothing", b""),
        ("empty", b"x"),
        ("hello Ada", b"hello Ada"),
        ("caller", b"tester  true"),
        ("mend", b"caught rejected,rejected"),
    ],
    failures: &[
        ("count", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count 1 2 3", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("refuse", "", ("conflict", "failed"), "refused"),
        ("break-off 0", "", ("not-found", "failed"), "no more"),
        ("break-off 3", "1\n2\n3\n", ("not-found", "failed"), "no more"),
        ("panic 2", "1\n2\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("odd", "1\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("leave now", "1\n2\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("leave later", "1\n2\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("leave followed", "1\n2\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("leave refused", "1\n2\n", ("not-found", "failed"), "none"),
        ("leave-last later", "1\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("stuck", "", ("plugin-failed", "failed"), UNEXPECTED),
        ("subscribe b", "", ("plugin-failed", "failed"), "the plugin met an error that it did not expect"),
        (
            "fetch 1 http://127.0.0.1:9/",
            "",
            ("plugin-failed", "failed"),
            "the plugin met an error that it did not expect",
        ),
    ],
    trap: ("deep 2", "its call stack is exhausted"),
    patience: "timeout = \"600ms\"",
    stalls: &["stall 0", "stall 2", "sleep 0", "sleep 2"],
    every_ms: 150,
    prints: "print 200",
    bounds: "timeout = \"1h\"\ncpu_time = \"300ms\"",
    greedy: &["spin 2"],
    endless: &["count 1000000 5", "stall 1", "sleep 1", "spin 1", "flood", "hold", "subscribe a/*"],
};

#[test]
fn the_build_makes_of_it_what_streams_and_imports_what_is_used() {
    if !is_to_be_had("js") {
        return;
    }
    let mut inspect = author(streams().parent().unwrap());
    let inspected = at_leisure(inspect.args(["plugin", "inspect"]).arg(streams()));
    is_built_for_streams(&inspected);
}

#[test]
fn an_unexpected_error_is_logged_with_its_place() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, mut connection) = connected(&PLUGIN, "");
    // A thrown error, and an unhandled rejection of a promise.
    for line in ["panic 2", "leave later"] {
        let before = server.log().len();
        assert_eq!(stream(&mut connection, line).1.failure(), ("plugin-failed", "failed"), "{line}");
        eventually("the error", || {
            let log = server.log();
            let mut told = log[before..].iter().filter_map(|entry| entry.text("line"));
            told.find(|line| line.contains("uncaught TypeError") && line.contains("plugin.js:")).map(drop)
        });
    }
}

#[test]
fn events_come_to_a_command_that_subscribed() {
    if !is_to_be_had("js") {
        return;
    }
    let (server, tester) = server_with(&PLUGIN, "timeout = \"500ms\"", "");
    let [mut one, mut other] = [(); 2].map(|()| server.connect(&tester));
    begin(&mut one, "s", "subscribe a/*");
    assert_eq!(one.read_frame().body, b"subscribed\n");
    // Waiting takes none of its time.
    let_pass(Duration::from_millis(1200));
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
