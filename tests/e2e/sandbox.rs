//! The protection of the server, other clients and the log from a plugin, and the look of its failures.

use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::{Server, Setup, shared};

/// Starts a server with the hostile plugin, configured by `keys`, for one client that may do anything.
fn hostile_with(keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile(keys).start();
    (server, tester)
}

/// Asserts that each request fails with this code and outcome, framed and plain, and the connection goes on.
fn assert_failures(connection: &mut Connection, requests: &[&str], code: &str, outcome: &str) {
    for request in requests {
        let frame = connection.ask_framed(request);
        assert_eq!(frame.failure(), (code, outcome), "{request}: {}", frame.message);
        assert!(!frame.message.is_empty(), "{request} fails without a word");
        assert_keeps_secrets(&frame.message);
        assert_eq!(connection.ask("echo next"), "next", "after {request}");
        let plain = connection.ask(request);
        assert!(plain.starts_with("ERR "), "{request}: {plain:?}");
        assert_keeps_secrets(&plain);
        assert_eq!(connection.ask("echo next"), "next", "after {request}");
    }
}

/// Asserts that a client sees no backtrace and no path of the server's.
fn assert_keeps_secrets(message: &str) {
    for secret in ["wasm backtrace", "stack backtrace", "hostile::", ".wasm", "/tmp", "lib.rs"] {
        assert!(!message.contains(secret), "{message:?} tells {secret:?}");
    }
}

#[test]
fn a_plugin_that_does_not_return_is_stopped_at_its_deadline() {
    let (server, tester) = hostile_with("timeout = \"300ms\"");
    let mut connection = server.connect(&tester);
    let begun = Instant::now();
    assert_failures(&mut connection, &["spin", "sleep 10000", "flood", "flood-err"], "timeout", "unknown");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?} for eight calls of 300 ms", begun.elapsed());
}

#[test]
fn a_plugin_that_crashes_is_told_as_such() {
    let mut connection = shared().connect();
    assert_failures(
        &mut connection,
        &["trap", "panic at the disco", "recurse", "exit 0", "exit 1"],
        "plugin-trapped",
        "unknown",
    );
}

#[test]
fn a_plugin_that_takes_too_much_is_told_as_such() {
    let (server, tester) = hostile_with("memory = \"8MiB\"\nreply = \"1MiB\"");
    let mut connection = server.connect(&tester);
    assert_failures(
        &mut connection,
        &["grow", "alloc 9000000", "big 104857600", "big 1048577", "big 1200000"],
        "plugin-limit",
        "unknown",
    );
    // The longest reply that fits into the memory never arrived whole.
    server.wait_for_log("the trap", |entry| {
        entry.message() == "plugin broke off"
            && entry.text("reason").is_some_and(|told| told.ends_with("bytes of memory"))
    });
    server.wait_for_log("the long reply", |entry| {
        let most = entry.value("max_bytes").and_then(|max| max.as_u64());
        entry.message() == "reply too large" && most == Some(1 << 20)
    });
    assert_eq!(connection.ask("alloc 1000000"), "held 1000000");
    assert_eq!(connection.ask_framed("big 1048576").body.len(), 1 << 20);
}

#[test]
fn memory_is_given_back_after_every_call() {
    let (server, tester) = hostile_with("memory = \"64MiB\"");
    let mut connection = server.connect(&tester);
    for _ in 0..30 {
        assert_eq!(connection.ask("alloc 50000000"), "held 50000000");
    }
}

#[test]
fn tables_count_as_memory() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let forever = "(loop (br_if 0 (i32.ne (table.grow $table (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable";
    let tables = Minimal::new(&["tables"]).handling_by(forever).write(setup.folder(), "tables");
    let server = setup.plugin("tables", &tables, &["tables"], "memory = \"128KiB\"").start();
    let mut connection = server.connect(&tester);
    assert_failures(&mut connection, &["tables"], "plugin-limit", "unknown");
}

#[test]
fn a_plugin_that_breaks_the_interface_is_told_as_such() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    // A reply outside the plugin's memory, a case that the result type lacks, a failure that is not UTF-8.
    let liars = [
        ("outside", "(i32.store (i32.const 30004) (i32.const 0xfffffff0))"),
        ("no-case", "(i32.store (i32.const 30000) (i32.const 7))"),
        (
            "bad-text",
            "(i32.store (i32.const 30000) (i32.const 1)) (i32.store (i32.const 30012) (i32.const 30016)) \
             (i32.store (i32.const 30016) (i32.const 0xffffffff))",
        ),
    ];
    let mut setup = setup;
    for (name, instructions) in liars {
        let component = Minimal::new(&[name]).handling_by(instructions).write(setup.folder(), name);
        setup = setup.plugin(name, &component, &[name], "");
    }
    let server = setup.start();
    let mut connection = server.connect(&tester);
    assert_failures(&mut connection, &["outside", "no-case", "bad-text"], "plugin-trapped", "unknown");
}

#[test]
fn a_long_failure_is_cut() {
    let mut connection = shared().connect();
    let frame = connection.ask_framed("fail-big");
    assert_eq!(frame.failure(), ("plugin-failed", "failed"));
    assert!(frame.message.starts_with("mmmm") && frame.message.len() < 2048, "{} bytes", frame.message.len());
    assert!(connection.ask("fail-big").len() < 2048);
}

#[test]
fn by_default_every_request_has_a_fresh_instance() {
    let mut one = shared().connect();
    let mut other = shared().connect();
    for _ in 0..5 {
        assert_eq!((one.ask("leak"), other.ask("leak")), ("1".into(), "1".into()));
    }
}

#[test]
fn a_shared_instance_sees_all_clients() {
    let (one, other) = (Identity::new("one"), Identity::new("other"));
    let setup = Setup::new().master("one", &one).master("other", &other);
    let server = setup.hostile("instances = \"shared\"").start();
    let (mut of_one, mut of_other) = (server.connect(&one), server.connect(&other));
    let counted = [of_one.ask("leak"), of_other.ask("leak"), of_one.ask("leak")];
    assert_eq!(counted, ["1", "2", "3"]);
}

#[test]
fn a_clients_own_instance_sees_nobody_else() {
    let (one, other) = (Identity::new("one"), Identity::new("other"));
    let setup = Setup::new().master("one", &one).master("other", &other);
    let server = setup.hostile("instances = \"per-client\"").start();
    let (mut of_one, mut also_of_one, mut of_other) =
        (server.connect(&one), server.connect(&one), server.connect(&other));
    let counted = [of_one.ask("leak"), of_one.ask("leak"), also_of_one.ask("leak"), of_other.ask("leak")];
    assert_eq!(counted, ["1", "2", "3", "1"], "one client has two connections");
    // The caller belongs to the request, not to the instance.
    assert!(of_one.ask("whoami").starts_with("one "));
    assert!(of_other.ask("whoami").starts_with("other "));
}

#[test]
fn a_warm_instance_is_given_up_after_whatever_went_wrong_in_it() {
    let (server, tester) = hostile_with("instances = \"shared\"\ntimeout = \"300ms\"\nmemory = \"8MiB\"");
    let mut connection = server.connect(&tester);
    for end in ["trap", "panic", "exit 0", "spin", "sleep 10000", "grow", "recurse"] {
        assert_eq!(connection.ask("leak"), "1", "before {end}");
        assert_eq!(connection.ask("leak"), "2", "before {end}");
        assert!(connection.ask(end).starts_with("ERR "), "{end}");
    }
    assert_eq!(connection.ask("leak"), "1");
    assert_eq!(connection.ask("fail conflict no"), "ERR no");
    assert_eq!(connection.ask("leak"), "2", "a plugin's own failure is no harm to it");
}

#[test]
fn a_warm_instance_is_given_up_after_its_last_call_and_when_it_was_idle() {
    let (server, tester) = hostile_with("instances = \"shared\"\nmax_calls = 3");
    let mut connection = server.connect(&tester);
    let counted: Vec<_> = (0..7).map(|_| connection.ask("leak")).collect();
    assert_eq!(counted, ["1", "2", "3", "1", "2", "3", "1"]);

    let (server, tester) = hostile_with("instances = \"shared\"\nidle_timeout = \"1ms\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("leak"), "1");
    eventually("an idle instance to be dropped", || (connection.ask("leak") == "1").then_some(()));
}

#[test]
fn a_warm_instance_does_not_remember_a_request() {
    let (server, tester) = hostile_with("instances = \"shared\"");
    let mut connection = server.connect(&tester);
    connection.send("body\r\nSize: 6\r\nX-Secret: yes\r\n\r\nsecret");
    assert_eq!(connection.read_reply(), "secret");
    assert_eq!(connection.ask("body-size"), "0");
    assert_eq!(connection.ask("header X-Secret"), "None");
}

#[test]
fn a_plugin_knows_its_caller_and_its_request() {
    let mut connection = shared().connect();
    assert_eq!(connection.ask("whoami"), format!("tester {}", shared().tester.sha256()));
    let (first, second) = (connection.ask("id"), connection.ask("id"));
    assert!(!first.is_empty() && first != second, "{first:?} and {second:?}");
    let left: u64 = connection.ask("time-left").parse().unwrap();
    assert!((1..=5000).contains(&left), "{left} ms of the 5 s that a plugin has by default");
    shared().server.wait_for_log("the request's id", |entry| entry.text("request") == Some(&first));
}

#[test]
fn a_plugin_sees_no_environment_and_no_files() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).hostile("").start_by(|mut lictor| {
        lictor.env("SECRET", "of the operator");
        lictor
    });
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("env"), "");
    let attempts = connection.ask_framed("files");
    let attempts: Vec<_> = attempts.text().lines().collect();
    assert_eq!(attempts.len(), 6);
    for attempt in attempts {
        assert!(attempt.ends_with(": refused"), "{attempt}");
    }
    assert!(!server.folder().join("hostile.txt").exists());
}

#[test]
fn random_numbers_differ_from_instance_to_instance() {
    let mut connection = shared().connect();
    let (first, second) = (connection.ask("random"), connection.ask("random"));
    assert_ne!(first, second);
}

#[test]
fn what_a_plugin_prints_goes_to_the_log_on_one_line_each_and_escaped() {
    let (server, tester) = hostile_with("");
    assert_eq!(server.connect(&tester).ask("forge-log"), "forged");
    let last = server.wait_for_log("the last line", |entry| {
        entry.text("line").is_some_and(|line| line.contains("reversed"))
    });
    assert_eq!(last.text("plugin"), Some("hostile"));
    assert_eq!(last.text("stream"), Some("stdout"));
    for line in server.printed().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "no entry: {line:?}");
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }
    let log = server.log();
    assert!(log.iter().all(|entry| entry.message() != "forged"), "a plugin's line is no entry");
    for entry in log.iter().filter_map(|entry| entry.text("line")) {
        assert!(!entry.contains(char::is_control), "{entry:?} is not escaped");
    }
    let lines: Vec<_> = log.iter().filter_map(|entry| entry.text("line")).collect();
    assert!(lines.iter().any(|line| line.contains("\\x1b[2J")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("before\\rafter")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("{\"level\":\"ERROR\"")), "{lines:?}");
}

#[test]
fn a_panics_words_are_in_the_log() {
    let (server, tester) = hostile_with("");
    assert!(server.connect(&tester).ask("panic \"these words\"").starts_with("ERR "));
    server.wait_for_log("the panic's words", |entry| {
        entry.text("line").is_some_and(|line| line.contains("these words"))
    });
}

#[test]
fn a_plugin_cannot_fill_the_log() {
    const MOST: usize = 1 << 20;
    let (server, tester) = hostile_with("");
    let mut connection = server.connect(&tester);
    for flood in ["flood 10000000", "flood-err 10000000", "flood-line 10000000"] {
        assert_eq!(connection.ask(flood), "flooded");
    }
    assert_eq!(connection.ask("echo hello"), "hello");
    server.wait_for_log("a line of the flood", |entry| {
        entry.text("line").is_some_and(|line| line.contains("floodflood"))
    });
    let size = server.printed().len();
    assert!(size < MOST, "30 MB of output made {size} bytes of log");
}

#[test]
fn a_spinning_plugin_can_be_cancelled() {
    let (server, tester) = hostile_with("timeout = \"60s\"");
    let mut connection = server.connect(&tester);
    connection.send("spin\r\nSequence: s\r\n\r\n@cancel s\r\n\r\n");
    let begun = Instant::now();
    // A plain reply and a frame, in either order.
    let replies = [connection.read_reply(), connection.read_reply()];
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let cancelled =
        replies.iter().find(|reply| reply.contains("Sequence: s")).expect("the spinner is answered");
    assert!(cancelled.starts_with("ERR ") && cancelled.contains("Code: cancelled"), "{cancelled:?}");
    assert_eq!(connection.ask("echo hello"), "hello");
}

#[test]
fn a_call_is_stopped_when_its_client_goes_away() {
    let (server, tester) = hostile_with("timeout = \"60s\"\nconcurrency = 1");
    for forever in ["spin", "sleep 60000"] {
        let mut connection = server.connect(&tester);
        connection.send(format!("{forever}\r\nSequence: s\r\n\r\n"));
        assert_eq!(connection.ask("@ping"), "pong", "read after the other, which therefore runs");
        drop(connection);
        let mut next = server.connect(&tester);
        // The plugin's only slot is free again, long before the deadline of the call that held it.
        eventually("the plugin to be free", || (next.ask("leak") == "1").then_some(()));
    }
}

#[test]
fn spinning_plugins_leave_room_for_others() {
    let (server, tester) = hostile_with("timeout = \"3s\"");
    let mut spinners = server.connect(&tester);
    for number in 0..8 {
        spinners.send(format!("spin\r\nSequence: {number}\r\n\r\n"));
    }
    assert_eq!(spinners.ask("@ping"), "pong", "read after the others, which therefore run");
    let mut connection = server.connect(&tester);
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(connection.ask("echo hello"), "hello");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?} beside eight spinners", begun.elapsed());
    for _ in 0..8 {
        assert_eq!(spinners.read_frame().failure(), ("timeout", "unknown"));
    }
}

#[test]
fn a_plugin_has_no_more_turns_than_it_is_given() {
    let limits = "[limits]\nqueue = 2\nqueue_timeout = \"10s\"";
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("concurrency = 1").section(limits);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    for number in 0..8 {
        connection.send(format!("sleep 300\r\nSequence: {number}\r\n\r\n"));
    }
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello", "another plugin");
    let frames: Vec<_> = (0..8).map(|_| connection.read_frame()).collect();
    let (done, refused): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| frame.status == "OK");
    assert_eq!(done.len(), 3, "one runs and two wait");
    for frame in refused {
        assert_eq!(frame.failure(), ("busy", "not-run"));
    }
}

#[test]
fn a_call_that_waits_too_long_for_its_turn_is_told() {
    let limits = "[limits]\nqueue_timeout = \"100ms\"";
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).hostile("concurrency = 1").section(limits);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 1500\r\nSequence: first\r\n\r\nleak\r\nSequence: second\r\n\r\n");
    assert_eq!(connection.read_frame().failure(), ("busy", "not-run"));
    assert_eq!(connection.read_frame().text(), "slept");
}
