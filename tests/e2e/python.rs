//! The kit for Python: the host over which an author tests commands, and commands whose replies come in parts over a real
//! server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::languages::{at_leisure, author, is_to_be_had, root, script, turn};
use crate::streaming::{ONE_SLOT, begin, read_stream, run_when_free, stream};
use crate::support::certs::Identity;
use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::server::{Server, Setup};
use crate::support::web::Web;

/// Runs Python's own runner in a project, over tests of which there are so many.
fn tests_pass(project: &Path, count: usize) {
    let mut python = Command::new("python3");
    let told = python.args(["-W", "error", "-m", "unittest"]).current_dir(project).output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(told.contains(&format!("\nRan {count} tests in ")) && told.ends_with("\nOK\n"), "{told}");
}

/// The same bounds and words as the host's, by what the conformance suite expects and beyond.
#[test]
fn the_host_of_a_test_has_every_function_and_bound_of_the_hosts() {
    let folder = TempDir::new().unwrap();
    let sdk = root().join("sdk");
    let mut assemble = Command::new(sdk.join("assemble.sh"));
    assemble.arg("python").arg(sdk.join("conformance/python")).arg(sdk.join("conformance/world.wit"));
    at_leisure(assemble.arg(folder.path()));
    tests_pass(folder.path(), 27);
}

#[test]
fn a_test_that_fails_fails_the_projects_own_test() {
    if !is_to_be_had("python") {
        return;
    }
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "greet", "--lang", "python"]));
    let project = folder.path().join("greet");
    tests_pass(&project, 2);
    let test = project.join("test_plugin.py");
    let text = std::fs::read_to_string(&test).unwrap();
    std::fs::write(&test, text.replace("good day Grace", "good night Grace")).unwrap();
    let tested = script(&project, "test.sh").output().unwrap();
    let [stdout, stderr] = [&tested.stdout, &tested.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(!tested.status.success() && stderr.contains("good night Grace"), "{stderr}");
    assert!(!stdout.contains("ok "), "{stdout}");
    // Of tests nothing is in the component, be it code or what the code names.
    let mut inspect = author(&project);
    inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(project.join("greet.wasm"));
    std::fs::write(&test, format!("{text}\nfrom lictor import http\n")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    let _turn = turn();
    let inspected = at_leisure(&mut inspect);
    assert!(inspected.contains("wasi:config") && !inspected.contains("lictor:plugin/http"), "{inspected}");
    let component = std::fs::read(project.join("greet.wasm")).unwrap();
    let holds = |words: &str| component.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(holds("greets somebody"));
    assert!(!holds("test_refuses_a_long_name") && !holds("Commands called by a plugin's own tests"));
}

const COMMANDS: [&str; 16] = [
    "hello",
    "count",
    "timers",
    "waits",
    "kinds",
    "nothing",
    "break-off",
    "whole",
    "flood",
    "ends",
    "ended",
    "prints",
    "caller",
    "fetch",
    "subscribe",
    "publish",
];

/// The plugin of streams, built and compiled once.
fn streams() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, component) = BUILT.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        at_leisure(author(folder.path()).args(["plugin", "new", "streams", "--lang", "python"]));
        let project = folder.path().join("streams");
        std::fs::remove_file(project.join("test_plugin.py")).unwrap();
        std::fs::copy(root().join("tests/e2e/python/streams.py"), project.join("plugin.py")).unwrap();
        at_leisure(&mut script(&project, "build.sh"));
        let component = project.join("streams.wasm");
        let _turn = turn();
        let mut inspect = author(folder.path());
        at_leisure(inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(&component));
        (folder, component)
    });
    component
}

/// A server with that plugin, with `keys` beside its component, and these sections.
fn server_with(keys: &str, sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    // What it was compiled to is there.
    let cache = format!("cache = {:?}", root().join("target/tmp/authors/lictor"));
    let setup = Setup::new().master("tester", &tester).echo().server(&cache).section(sections);
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
fn the_build_makes_of_a_plugin_that_streams_what_streams() {
    if !is_to_be_had("python") {
        return;
    }
    let mut inspect = author(streams().parent().unwrap());
    let inspected = at_leisure(inspect.args(["plugin", "inspect"]).arg(streams()));
    for words in [
        "of the world lictor:plugin/streaming-plugin@0.1.0",
        "count TO [EVERY-MS]            counts (may be repeated)",
        "lictor:plugin/events@0.1.0",
    ] {
        assert!(inspected.contains(words), "no {words:?} in {inspected}");
    }
    assert!(!inspected.contains("lictor:plugin/files"), "{inspected}");
}

#[test]
fn parts_come_as_they_are_yielded_and_then_the_end() {
    if !is_to_be_had("python") {
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
        ("timers 2", b"1\n2\nwaited".as_slice()),
        ("waits not", b"xy"),
        ("kinds", b"text \xe2\x98\x83 ? \xff\0abcd11.5"),
        ("nothing", b""),
        ("hello Ada", b"hello Ada"),
        ("caller", b"tester b'' True"),
        ("break-off 1 swallow", b"1\ncaught"),
    ] {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!((parts.as_slice(), end.status.as_str(), end.text()), (whole, "OK", ""), "{line}");
    }
    let (whole, end) = stream(&mut connection, "whole 1048576");
    assert!(whole.len() == 1 << 20 && whole.iter().all(|byte| *byte == b'w'), "{end:?}");
    assert_eq!((end.status.as_str(), end.text()), ("OK", ""));
    connection.send("count 3\r\n\r\n@ping\r\n\r\n");
    assert_eq!(connection.read_reply(), "ERR Reply needs a Sequence header");
    assert_eq!(connection.read_reply(), "pong");
}

#[test]
fn a_failure_comes_before_or_after_parts() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, mut connection) = connected("timeout = \"1m\"");
    const FAULT: (&str, &str) = ("plugin-failed", "failed");
    const UNEXPECTED: &str = "the plugin met an error that it did not expect";
    for (line, whole, failure, message) in [
        ("count", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count 1 2 3", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count x", "", FAULT, UNEXPECTED),
        ("hello nobody", "", ("conflict", "failed"), "refused"),
        ("hello fault", "", FAULT, UNEXPECTED),
        ("break-off 0 failure", "", ("not-found", "failed"), "no more"),
        ("break-off 3 failure", "1\n2\n3\n", ("not-found", "failed"), "no more"),
        ("break-off 2 fault", "1\n2\n", FAULT, UNEXPECTED),
        ("break-off 1 object", "1\n", FAULT, UNEXPECTED),
        ("subscribe b", "", ("denied", "failed"), "the plugin may not subscribe to these topics"),
        ("fetch 1 http://127.0.0.1:9/", "", ("denied", "failed"), "this URL is not granted to the plugin"),
    ] {
        let (parts, end) = stream(&mut connection, line);
        assert_eq!(String::from_utf8_lossy(&parts), whole, "{line}");
        assert_eq!((end.failure(), end.message.as_str()), (failure, message), "{line}");
    }
    let logged = server.wait_for_log("the error", |entry| {
        entry.text("line").is_some_and(|line| line.contains("RuntimeError: in the middle"))
    });
    let line = logged.text("line").unwrap();
    assert!(line.contains("plugin.py:") && !line.contains("lictor/"), "{line}");
}

#[test]
fn a_trap_ends_the_stream_and_nothing_else() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, mut connection) = connected("timeout = \"1m\"");
    begin(&mut connection, "other", "count 20 50");
    begin(&mut connection, "trap", "break-off 2 exit");
    let (mut whole, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < 2 {
        let frame = connection.read_frame();
        match (frame.field("Sequence"), frame.status.as_str()) {
            (Some("trap"), "PART") => whole.extend(frame.body),
            (_, "PART") => {}
            _ => ends.push(frame),
        }
    }
    for (line, parts) in [("waits at-once", b"".as_slice()), ("waits later", b"x")] {
        let (whole, end) = stream(&mut connection, line);
        assert_eq!((whole.as_slice(), end.failure()), (parts, ("plugin-trapped", "unknown")), "{line}");
    }
    server.wait_for_log("why", |entry| {
        entry.text("line").is_some_and(|line| line.contains("the command waits for what nothing does"))
    });
    assert_eq!(whole, b"1\n2\n");
    assert_eq!((ends[0].field("Sequence"), ends[0].failure()), (Some("trap"), ("plugin-trapped", "unknown")));
    assert_eq!((ends[1].field("Sequence"), ends[1].text()), (Some("other"), ""));
}

#[test]
fn time_is_bounded_from_one_part_to_the_next() {
    if !is_to_be_had("python") {
        return;
    }
    let (_server, mut connection) = connected("timeout = \"1500ms\"");
    for line in ["break-off 0 stall", "break-off 2 stall"] {
        let (whole, end) = stream(&mut connection, line);
        assert_eq!(end.failure(), ("timeout", "unknown"), "{line}: {end:?}");
        assert_eq!(whole.is_empty(), line.contains('0'), "{line}");
    }
    let (whole, end) = stream(&mut connection, "count 8 300");
    assert_eq!((whole.len(), end.text()), (16, ""), "longer than the timeout in all");
    assert_eq!(stream(&mut connection, "prints 200").1.text(), "", "more in all than a call may print");
    let (_server, mut connection) = connected("timeout = \"1h\"\ncpu_time = \"300ms\"");
    assert_eq!(stream(&mut connection, "break-off 2 spin").1.failure(), ("plugin-limit", "unknown"));
    let (whole, end) = stream(&mut connection, "count 1000 20\r\nTimeout-Ms: 500");
    assert_eq!((end.failure(), whole.is_empty()), (("timeout", "unknown"), false));
}

#[test]
fn a_client_that_cancels_or_goes_away_ends_the_stream_where_it_stands() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, tester) = server_with("timeout = \"1h\"", &format!("[limits]\n{ONE_SLOT}"));
    let mut connection = server.connect(&tester);
    let mut other = server.connect(&tester);
    for line in ["ends", "break-off 1 stall", "break-off 1 spin", "flood"] {
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
        let told = (ends[0].text(), ends[1].failure());
        assert_eq!(told, ("cancelling long", ("cancelled", "unknown")), "{line}");
        run_when_free(&mut other);

        let mut leaving = server.connect(&tester);
        begin(&mut leaving, "long", line);
        assert_eq!(leaving.read_frame().status, "PART", "{line}");
        drop(leaving);
        run_when_free(&mut other);
    }
    assert_eq!(stream(&mut other, "ended").0, b"False", "a `finally` ran");
}

#[test]
fn a_client_that_does_not_read_holds_the_plugin_back() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, tester) = server_with("timeout = \"1s\"", "");
    let mut slow = server.connect(&tester);
    begin(&mut slow, "s", "flood");
    let flooded = || {
        let lines = server.log().into_iter().filter_map(|entry| {
            entry.text("line")?.strip_prefix("flooded ").and_then(|count| count.parse::<usize>().ok())
        });
        lines.max().unwrap_or(0)
    };
    // Once the sockets are full nothing moves, for much longer than the plugin's timeout.
    let mut before = usize::MAX;
    let held = eventually("a standstill", || {
        let now = flooded();
        let stands = now == before;
        before = now;
        thread::sleep(Duration::from_secs(2));
        stands.then_some(now)
    });
    assert!(held < 32, "{held} MiB were taken from the plugin for a client that reads nothing");
    assert_eq!(server.connect(&tester).ask("echo others go on"), "others go on");
    let mut whole = 0;
    while whole < (held + 8) << 20 {
        let frame = slow.read_frame();
        assert_eq!(frame.status, "PART", "{frame:?}");
        whole += frame.body.len();
    }
}

#[test]
fn http_and_topics_go_on_between_parts() {
    if !is_to_be_had("python") {
        return;
    }
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweb\n");
    let tester = Identity::new("tester");
    let cache = format!("cache = {:?}", root().join("target/tmp/authors/lictor"));
    let url = format!("http://{}", web.address);
    let server = Setup::new()
        .master("tester", &tester)
        .server(&cache)
        .plugin("streams", streams(), &COMMANDS, "timeout = \"1s\"")
        .section(&format!(
            "[plugins.streams.grants]\nevents = [\"a/*\"]\nkeyvalue = []\n\
             http = [{{ url = \"{url}\", networks = [\"127.0.0.0/8\"] }}]"
        ))
        .start();
    let [mut one, mut other] = [(); 2].map(|()| server.connect(&tester));
    let (whole, end) = stream(&mut one, &format!("fetch 3 {url}/x"));
    assert_eq!((String::from_utf8_lossy(&whole).as_ref(), end.text()), ("web\nweb\nweb\n", ""), "{end:?}");
    begin(&mut one, "s", "subscribe a/*");
    eventually("a subscription", || (stream(&mut other, "publish a/x begin").0 == b"1").then_some(()));
    // For longer than the plugin's timeout nothing comes.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(stream(&mut other, "publish a/y second").0, b"1");
    let mut lines = Vec::new();
    while !lines.ends_with(b"a/y second 0\n") {
        let part = one.read_frame();
        assert_eq!(part.status, "PART", "{part:?}");
        lines.extend(part.body);
    }
    assert_eq!(lines, b"a/x begin 0\na/y second 0\n");
    assert_eq!(stream(&mut other, "subscribe a/z 50").1.text(), "", "it waits no longer than it says");
}
