//! Resources that plugins and clients can't exhaust: computing time, memory, slots, the disk.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::components::{self, Minimal};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::metrics::metrics;

/// Starts a server with the hostile plugin, configured by `keys`, for one client that may do anything.
fn hostile_with(setup: Setup, keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = setup.master("tester", &tester).echo().hostile(keys).start();
    (server, tester)
}

fn is_failure(frame: &Frame, code: &str, outcome: &str) -> bool {
    frame.status == "ERR" && frame.failure() == (code, outcome)
}

#[test]
fn a_plugin_that_computes_for_too_long_is_stopped_long_before_its_timeout() {
    let (server, tester) = hostile_with(Setup::new(), "cpu_time = \"50ms\"\ntimeout = \"25s\"");
    let mut connection = server.connect(&tester);
    let frame = connection.ask_framed("spin");
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{}", frame.message);
    assert!(frame.message.contains("computed for more than its 50ms"), "{}", frame.message);
    let stopped = server.wait_for_log("the stop", |entry| entry.message().contains("computed for too long"));
    let used = stopped.value("used_ms").and_then(serde_json::Value::as_u64).unwrap();
    assert!((50..25_000).contains(&used), "{used} ms");
    assert_eq!(connection.ask("echo next"), "next");
}

#[test]
fn a_plugin_that_waits_does_not_compute() {
    let (server, tester) = hostile_with(Setup::new(), "cpu_time = \"50ms\"\ntimeout = \"25s\"");
    assert_eq!(server.connect(&tester).ask("sleep 300"), "slept");
}

#[test]
fn a_plugin_that_computes_for_too_long_as_it_describes_itself_is_refused() {
    let setup = Setup::new();
    let spinner = Minimal::new(&["run"]).describing_by("(loop (br 0))").write(setup.folder(), "spinner");
    let setup = setup.plugin("spinner", &spinner, &["run"], "cpu_time = \"20ms\"\ntimeout = \"1h\"");
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("spinner") && checked.stderr.contains("cpu_time"), "{}", checked.stderr);
}

#[test]
fn idle_instances_make_room_for_those_that_run() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).section("[limits]\nplugin_memory = \"64MiB\"");
    let holds = "instances = \"shared\"";
    let setup = setup.plugin("holder", components::hostile(), &["alloc", "leak"], holds);
    let server = setup.plugin("other", components::hostile(), &["big"], "reply = \"64MiB\"").start();
    let mut connection = server.connect(&tester);
    for _ in 0..3 {
        assert_eq!(connection.ask("leak"), "1");
        assert_eq!(connection.ask("alloc 40000000"), "held 40000000");
        assert_eq!(connection.ask("leak"), "2", "the same instance, which has the memory still");
        assert_eq!(connection.ask_framed("big 30000000").body.len(), 30_000_000);
    }
}

#[test]
fn idle_instances_make_room_in_the_pool() {
    let tester = Identity::new("tester");
    let mut setup = Setup::new().master("tester", &tester).section("[limits]\nconcurrent_commands = 1");
    let names = ["a", "b", "c", "d"];
    for name in names {
        let component = Minimal::new(&[name]).write(setup.folder(), name);
        setup = setup.plugin(name, &component, &[name], "instances = \"shared\"");
    }
    let server = setup.start();
    let mut connection = server.connect(&tester);
    for name in names.iter().cycle().take(12) {
        assert_eq!(connection.ask(name), "ok", "there are places for two");
    }
}

/// Starts a server whose plugins have 64 MiB, of which the endless command `hold` takes this many pages.
fn with_memory_held(pages: usize) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).section("[limits]\nplugin_memory = \"64MiB\"");
    let grows = format!("(drop (memory.grow (i32.const {pages}))) (loop (br 0))");
    let holder = Minimal::new(&["hold"]).handling_by(&grows).write(setup.folder(), "holder");
    let setup = setup.plugin("holder", &holder, &["hold"], "timeout = \"10m\"");
    (setup.hostile("").start(), tester)
}

#[test]
fn a_call_for_which_there_is_no_memory_is_not_run() {
    let (server, tester) = with_memory_held(1015);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("leak"), "1");
    connection.send("hold\r\nSequence: h\r\n\r\n");
    assert_eq!(connection.ask("@ping"), "pong");
    let mut other = server.connect(&tester);
    let refused = eventually("no memory to be left", || {
        Some(other.ask_framed("leak")).filter(|frame| frame.status == "ERR")
    });
    assert_eq!(refused.failure(), ("busy", "not-run"), "{}", refused.message);
    assert!(refused.message.contains("memory"), "{}", refused.message);
    drop(connection);
    eventually("memory to be left", || (other.ask("leak") == "1").then_some(()));
}

#[test]
fn a_call_that_needs_more_memory_than_there_is_left_is_told_to_come_again() {
    let (server, tester) = with_memory_held(800);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("alloc 30000000"), "held 30000000");
    connection.send("hold\r\nSequence: h\r\n\r\n");
    assert_eq!(connection.ask("@ping"), "pong");
    let mut other = server.connect(&tester);
    let refused = eventually("little memory to be left", || {
        Some(other.ask_framed("alloc 30000000")).filter(|frame| frame.status == "ERR")
    });
    assert_eq!(refused.failure(), ("busy", "unknown"), "{}", refused.message);
    assert_eq!(other.ask("alloc 1000000"), "held 1000000", "there is some");
    drop(connection);
    eventually("memory to be left", || (other.ask("alloc 30000000") == "held 30000000").then_some(()));
}

/// Lets a client spin, on two connections, in more calls than it may run at once.
fn greedy(server: &Server, identity: &Identity) -> [Connection; 2] {
    [(); 2].map(|()| {
        let mut connection = server.connect(identity);
        for number in 0..10 {
            connection.send(format!("spin\r\nSequence: {number}\r\n\r\n"));
        }
        assert_eq!(connection.ask("@ping"), "pong", "read after the others");
        connection
    })
}

#[test]
fn a_client_leaves_turns_to_the_others() {
    let (greedy_one, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let limits =
        "[limits]\nconcurrent_commands = 4\nconcurrent_commands_per_client = 3\nqueue_timeout = \"20s\"";
    let setup = Setup::new().master("greedy", &greedy_one).master("quiet", &quiet).section(limits);
    let server = setup.echo().hostile("timeout = \"10m\"").start();
    let mut connections = greedy(&server, &greedy_one);
    let mut connection = server.connect(&quiet);
    for _ in 0..5 {
        assert_eq!(connection.ask("echo hello"), "hello", "a fourth slot is free for others");
    }
    // Its waiting calls run in turn, on either connection.
    connections[0].send("echo\r\nSequence: e\r\nSize: 2\r\n\r\nme");
    connections[0].send("@cancel 0\r\nSequence: c0\r\n\r\n");
    for number in 0..10 {
        connections[1].send(format!("@cancel {number}\r\nSequence: c{number}\r\n\r\n"));
    }
    for number in 1..10 {
        connections[0].send(format!("@cancel {number}\r\nSequence: c{number}\r\n\r\n"));
    }
    let frames = std::iter::repeat_with(|| connections[0].read_frame()).take(21);
    let echoed = frames.filter(|frame| frame.field("Sequence") == Some("e")).collect::<Vec<_>>();
    assert_eq!(echoed[0].text(), "me");
}

#[test]
fn a_client_that_waits_too_long_for_itself_is_told() {
    let (greedy_one, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let limits = "[limits]\nconcurrent_commands_per_client = 1\nqueue_timeout = \"100ms\"";
    let setup = Setup::new().master("greedy", &greedy_one).master("quiet", &quiet).section(limits);
    let server = setup.hostile("timeout = \"10m\"").start();
    let mut connection = server.connect(&greedy_one);
    connection.send("spin\r\nSequence: s\r\n\r\nleak\r\nSequence: l\r\n\r\n");
    let frame = connection.read_frame();
    assert!(is_failure(&frame, "busy", "not-run"), "{frame:?}");
    assert_eq!(server.connect(&quiet).ask("leak"), "1");
}

#[test]
fn calls_that_compute_take_turns_and_leave_room_for_short_ones() {
    let (greedy_one, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let setup = Setup::new().master("greedy", &greedy_one).master("quiet", &quiet).echo();
    let server = setup.hostile("timeout = \"10m\"\ncpu_time = \"1m\"").start();
    let mut spinners = server.connect(&greedy_one);
    for number in 0..64 {
        spinners.send(format!("spin\r\nSequence: {number}\r\n\r\n"));
    }
    assert_eq!(spinners.ask("@ping"), "pong", "read after the others, which therefore run");
    let mut connection = server.connect(&quiet);
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(connection.ask("echo hello"), "hello");
    }
    // One tick of each spinner before each echo would take 6.4 seconds on two processors.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?} beside 64 spinners", begun.elapsed());
}

#[test]
fn calls_that_compute_do_it_on_threads_of_their_own() {
    let (server, tester) = hostile_with(Setup::new(), "cpu_time = \"20ms\"\ntimeout = \"10m\"");
    let mut connection = server.connect(&tester);
    let (_, of_the_start) = server.computed_ticks("compute");
    // All of them start again and again.
    for _ in 0..10 {
        let frames = connection.ask_all(&[("spin", ""); 16]);
        assert!(frames.iter().all(|frame| is_failure(frame, "plugin-limit", "unknown")), "{frames:?}");
    }
    let (there, elsewhere) = server.computed_ticks("compute");
    let elsewhere = elsewhere - of_the_start;
    assert!(there > 4 * elsewhere, "{there} ticks on them, and {elsewhere} on all others");
}

#[test]
fn every_call_that_computes_has_its_turn() {
    let (server, tester) = hostile_with(Setup::new(), "cpu_time = \"20ms\"\ntimeout = \"10m\"");
    let mut connection = server.connect(&tester);
    for number in 0..20 {
        connection.send(format!("spin\r\nSequence: {number}\r\n\r\n"));
    }
    for _ in 0..20 {
        let frame = connection.read_frame();
        assert!(is_failure(&frame, "plugin-limit", "unknown"), "{frame:?}");
    }
}

#[test]
fn a_client_leaves_places_in_the_queue_to_the_others() {
    let (greedy_one, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let limits = "[limits]\nconcurrent_commands_per_client = 1\nqueue = 4\nqueue_timeout = \"5m\"";
    let setup = Setup::new().master("greedy", &greedy_one).master("quiet", &quiet).section(limits);
    let server = setup.hostile("timeout = \"10m\"\nconcurrency = 1").start();
    let mut connection = server.connect(&greedy_one);
    for number in 0..10 {
        connection.send(format!("spin\r\nSequence: {number}\r\n\r\n"));
    }
    for _ in 0..7 {
        let frame = connection.read_frame();
        assert!(is_failure(&frame, "busy", "not-run"), "one runs and two wait: {frame:?}");
    }
    let mut waiting = server.connect(&quiet);
    waiting.send("leak\r\nSequence: w\r\n\r\n");
    assert_eq!(waiting.ask("@ping"), "pong", "read after the other, which therefore waits");
    drop(connection);
    assert_eq!(waiting.read_frame().text(), "1");
}

fn dumps_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("dumps")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_trap_leaves_a_core_dump_where_they_are_asked_for() {
    const TRAPS: usize = 20;
    let (server, tester) = hostile_with(Setup::new().server("core_dumps = \"dumps\""), "");
    let mut connection = server.connect(&tester);
    for number in 1..=TRAPS {
        assert!(is_failure(&connection.ask_framed("trap"), "plugin-trapped", "unknown"));
        eventually("a core dump in the log", || {
            let dumps = server.log().iter().filter(|entry| entry.message() == "core dump").count();
            (dumps == number).then_some(())
        });
    }
    let last = server.wait_for_log("a core dump", |entry| entry.message() == "core dump");
    assert_eq!(last.text("plugin"), Some("hostile"));
    let dumps = dumps_in(server.folder());
    assert_eq!(dumps.len(), 16, "{dumps:?}");
    assert_eq!(metrics(&mut connection)["lictor_core_dumps_removed_total"], 4);
    assert_eq!(mode(&server.folder().join("dumps")), 0o700);
    for dump in dumps {
        assert!(fs::read(&dump).unwrap().starts_with(b"\0asm"), "{dump:?}");
        assert_eq!(mode(&dump), 0o600);
        let name = dump.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("hostile-c1-") && name.ends_with(".core"), "{name}");
    }
    // The log has the place of the trap, and not the core dump.
    let broke_off = server.wait_for_log("a trap", |entry| entry.message() == "plugin broke off");
    let error = broke_off.text("error").unwrap();
    assert!(error.contains("unreachable") && error.contains("wasm backtrace"), "{error}");
    assert!(!error.contains("coredump"), "{error}");
}

#[test]
fn a_trap_leaves_nothing_where_it_was_not_asked_for() {
    let (server, tester) = hostile_with(Setup::new(), "");
    assert!(is_failure(&server.connect(&tester).ask_framed("trap"), "plugin-trapped", "unknown"));
    server.wait_for_log("the trap", |entry| entry.message() == "plugin broke off");
    assert!(server.log().iter().all(|entry| entry.message() != "core dump"));
    assert!(!server.folder().join("dumps").exists());
}

#[test]
fn an_author_gets_a_core_dump_too() {
    let setup = Setup::new();
    let run = |command: &str, dump: &str| {
        let mut lictor = lictor(setup.folder());
        lictor.args(["plugin", "run", "--core-dump", dump]).arg(components::hostile()).arg(command);
        finish(&mut lictor)
    };
    let trapped = run("trap", "trap.core");
    assert_eq!(trapped.code, Some(1), "{trapped:?}");
    assert!(trapped.stderr.contains("trap.core"), "{}", trapped.stderr);
    let dump = setup.folder().join("trap.core");
    assert!(fs::read(&dump).unwrap().starts_with(b"\0asm"));
    assert_eq!(mode(&dump), 0o600);
    assert_eq!(run("leak", "none.core").code, Some(0));
    assert!(!setup.folder().join("none.core").exists());
}

#[test]
fn compiled_plugins_that_nobody_uses_are_removed_at_the_start() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let cache = setup.folder().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    let name = format!("{}-{}", "a".repeat(64), "b".repeat(16));
    let old = [format!("{name}.cwasm"), format!("{name}.sha256"), format!("{name}.cwasm.12345.tmp")];
    let kept = ["notes.cwasm".to_owned(), format!("{}-{}.cwasm", "c".repeat(64), "b".repeat(16))];
    for (file, days) in old.iter().map(|file| (file, 31)).chain([(&kept[0], 300), (&kept[1], 29)]) {
        fs::write(cache.join(file), "x").unwrap();
        let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::open(cache.join(file)).unwrap().set_modified(at).unwrap();
    }
    let server = setup.start();
    eventually("old entries to be gone", || old.iter().all(|file| !cache.join(file).exists()).then_some(()));
    assert!(kept.iter().all(|file| cache.join(file).exists()));
    server.wait_for_log("how many", |entry| {
        entry.message().contains("removed") && entry.value("files").is_some_and(|files| files == 3)
    });
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello");
}

#[test]
fn requests_beyond_a_clients_rate_are_answered_in_their_turn() {
    let (one, other) = (Identity::new("one"), Identity::new("other"));
    let setup = Setup::new().master("one", &one).master("other", &other).echo();
    let server = setup.section("[limits]\nrequests_per_second = 10").start();
    let mut connection = server.connect(&one);
    let frames = connection.ask_all(&[("echo a", ""); 40]);
    let refused = frames.iter().filter(|frame| frame.status == "ERR").count();
    assert!((20..=30).contains(&refused), "{refused} of 40 with 10 at once and 10 a second");
    let is_right = |frame: &testkit::client::Frame| {
        frame.status == "OK" || frame.failure() == ("rate-limited", "not-run")
    };
    assert!(frames.iter().all(is_right));
    // Another connection of the same client counts as the same client; another client does not.
    let refused = server.connect(&one).ask_all(&[("@ping", ""); 10]);
    assert!(refused.iter().any(|frame| frame.status == "ERR"));
    assert!(server.connect(&other).ask_all(&[("@ping", ""); 10]).iter().all(|frame| frame.status == "OK"));
    // Plain replies keep their order.
    connection.send("echo a\r\n\r\n".repeat(30));
    let replies: Vec<String> = (0..30).map(|_| connection.read_reply()).collect();
    assert!(
        replies.iter().all(|reply| reply == "a" || reply.starts_with("ERR Too many requests")),
        "{replies:?}"
    );
    eventually("the next request of the rate", || (connection.ask("echo again") == "again").then_some(()));
}
