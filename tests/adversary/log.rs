//! The log under attack: floods meant to hide something, and names meant to look like something else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls, tcp};
use testkit::components::{self, Minimal};
use testkit::eventually;
use testkit::server::{Entry, Server, Setup};
use testkit::tools::{finish, lictor};

use crate::{assert_serves, server_with};

fn is_command_of(entry: &Entry, client: &str, command: &str) -> bool {
    entry.message() == "command"
        && entry.text("client") == Some(client)
        && entry.text("command") == Some(command)
}

fn count_in(log: &[Entry], fits: impl Fn(&Entry) -> bool) -> usize {
    log.iter().filter(|entry| fits(entry)).count()
}

/// Waits until `total` events are accounted for: written one by one, or counted.
fn wait_for_all(
    server: &Server,
    total: u64,
    is_written: impl Fn(&Entry) -> bool,
    is_counted: impl Fn(&Entry) -> bool,
) {
    eventually("all events, written or counted", || {
        let log = server.log();
        let counts = log.iter().filter(|entry| is_counted(entry));
        let counted: u64 = counts.filter_map(|entry| entry.value("count")?.as_u64()).sum();
        let written = count_in(&log, &is_written) as u64;
        assert!(written + counted <= total, "{written} written and {counted} counted of {total}");
        (written + counted == total).then_some(())
    });
}

#[test]
fn a_client_cannot_hide_its_own_commands_among_others() {
    const PINGS: usize = 1000;
    let alice = Identity::new("alice");
    let store = "[plugins.kv.grants]\nkeyvalue = [\"default\"]";
    let server = Setup::new()
        .client("alice", &alice, &["@ping", "kv-set"])
        .plugin("kv", components::kv(), &["kv-set", "kv-get"], store)
        .section("[state]\nengine = \"memory\"")
        .start();
    let mut connection = server.connect(&alice);
    for _ in 0..5 {
        let write = "@ping\r\n\r\n".repeat(PINGS) + "kv-set secret stolen\r\n\r\n";
        connection.send(write);
        for _ in 0..PINGS {
            assert_eq!(connection.read_reply(), "pong");
        }
        assert!(!connection.read_reply().starts_with("ERR"));
    }
    eventually("each kv-set in the log", || {
        (count_in(&server.log(), |entry| is_command_of(entry, "alice", "kv-set")) == 5).then_some(())
    });
    let is_counted = |entry: &Entry| {
        entry.message() == "commands not logged one by one" && entry.text("command") == Some("@ping")
    };
    wait_for_all(&server, 5 * PINGS as u64, |entry| is_command_of(entry, "alice", "@ping"), is_counted);
}

#[test]
fn a_clients_refusals_do_not_hide_anothers() {
    const FLOOD: usize = 1100;
    let (alice, bob) = (Identity::new("alice"), Identity::new("bob"));
    let setup = Setup::new().client("alice", &alice, &["echo"]).client("bob", &bob, &["echo"]).echo();
    let server = setup.start();
    let (mut flooding, mut other) = (server.connect(&alice), server.connect(&bob));
    let flood = |connection: &mut Connection| {
        // Each a different word, none of which may become an entry of its own.
        let requests: String = (0..FLOOD).map(|number| format!("nosuch{number}\r\n\r\n")).collect();
        connection.send(requests);
        (0..FLOOD).for_each(|_| assert!(connection.read_reply().starts_with("ERR Unknown command")));
    };
    for _ in 0..8 {
        flood(&mut flooding);
        assert!(other.ask("@drain").contains("not allowed"));
    }
    eventually("each @drain in the log", || {
        let log = server.log();
        let drains = log.iter().filter(|entry| is_command_of(entry, "bob", "@drain"));
        (drains.filter(|entry| entry.text("code") == Some("forbidden")).count() == 8).then_some(())
    });
    let is_alices = |entry: &Entry| {
        entry.text("client") == Some("alice") && entry.text("code") == Some("unknown-command")
    };
    let is_written = |entry: &Entry| is_alices(entry) && entry.message() == "command";
    let is_counted = |entry: &Entry| is_alices(entry) && entry.message() == "commands not logged one by one";
    wait_for_all(&server, 8 * FLOOD as u64, is_written, is_counted);
}

#[test]
fn strangers_fill_no_log_and_hide_nobody() {
    const STRANGERS: usize = 600;
    let (server, tester) = server_with("");
    let begun = Instant::now();
    for number in 0..STRANGERS {
        let mut stranger = tcp(server.address());
        // Not a handshake; it may be cut off before everything is sent.
        let _ = std::io::Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\n\r\n");
        if number % 200 == 0 {
            assert_serves(&server, &tester);
        }
    }
    let unknown = Identity::new("nobody");
    for _ in 0..30 {
        let refused = Connection::open(server.address(), Tls::showing(&unknown));
        assert!(refused.is_ok_and(|mut stranger| stranger.read_reply().ends_with("is unknown")));
    }
    let is_of = |message: &'static str| move |entry: &Entry| entry.message() == message;
    let is_counted = |message: &'static str| {
        move |entry: &Entry| {
            entry.message() == "not logged one by one"
                && entry.text("event") == Some(message)
                && entry.text("address") == Some("127.0.0.1")
        }
    };
    wait_for_all(&server, STRANGERS as u64, is_of("handshake failed"), is_counted("handshake failed"));
    wait_for_all(&server, 30, is_of("refused"), is_counted("refused"));
    // Twenty of each per second, and a count of the others.
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    let log = server.log();
    let of_strangers = count_in(&log, |entry| {
        ["handshake failed", "refused"]
            .iter()
            .any(|message| is_of(message)(entry) || is_counted(message)(entry))
    });
    assert!(of_strangers <= 2 * (20 + 1) * seconds, "{of_strangers} lines in {seconds} s");
    assert_eq!(count_in(&log, |entry| entry.message() == "admitted"), 3);
}

/// A client that connects and disconnects repeatedly fills the log as little as a stranger does.
#[test]
fn a_client_that_comes_and_goes_is_counted() {
    let (server, tester) = server_with("");
    const TIMES: u64 = 300;
    let begun = Instant::now();
    for _ in 0..TIMES {
        assert_eq!(server.connect(&tester).ask("@ping"), "pong");
    }
    for message in ["admitted", "ended"] {
        let is_counted =
            |entry: &Entry| entry.text("event") == Some(message) && entry.text("client") == Some("tester");
        wait_for_all(&server, TIMES, |entry| entry.message() == message, is_counted);
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
        let written = count_in(&server.log(), |entry| entry.message() == message);
        assert!(written <= 100 * seconds, "{written} in {seconds} s");
    }
}

/// A plugin's output for one client shares no budget with its output for another.
#[test]
fn a_client_hides_nothing_that_a_plugin_logs_for_another() {
    const PAYMENTS: usize = 10;
    let (evil, victim) = (Identity::new("evil"), Identity::new("victim"));
    let granted = "[plugins.granted.config]\n[plugins.granted.grants]\nlogging = true";
    let server = Setup::new()
        .client("evil", &evil, &["*"])
        .client("victim", &victim, &["*"])
        .plugin("granted", components::granted(), &["log", "log-flood"], granted)
        .hostile("")
        .start();
    let (mut flooding, mut other) = (server.connect(&evil), server.connect(&victim));
    for number in 0..PAYMENTS {
        flooding.ask("log-flood 400");
        flooding.ask("flood 60000");
        flooding.ask("log error flood \"the worst\"");
        other.ask(&format!("log error audit \"payment {number} made\""));
        other.ask("panic \"a line of the victim\"");
    }
    let is_victims = |entry: &Entry| entry.text("client") == Some("victim");
    eventually("all that plugins log for the victim", || {
        let log = server.log();
        let audit = count_in(&log, |entry| is_victims(entry) && entry.text("context") == Some("audit"));
        let panics = count_in(&log, |entry| {
            let says = entry.text("line").is_some_and(|line| line.contains("a line of the victim"));
            is_victims(entry) && entry.message() == "plugin output" && says
        });
        (audit == PAYMENTS && panics >= PAYMENTS).then_some(())
    });
    // The flood's own omitted lines are counted under its client, at their original level.
    let is_count = |entry: &Entry| {
        entry.message() == "not logged one by one" && entry.text("event") == Some("plugin output")
    };
    let is_worst = |entry: &Entry| is_count(entry) && entry.text("level") == Some("ERROR");
    let count = server.wait_for_log("the count of the flood", is_worst);
    assert_eq!((count.text("client"), count.text("plugin")), (Some("evil"), Some("granted")));
    assert_eq!(count_in(&server.log(), |entry| is_count(entry) && is_victims(entry)), 0);
}

/// A log that nobody reads takes bounded memory, however long its lines are; once it is read it goes on.
#[test]
fn a_log_that_nobody_reads_takes_bounded_memory() {
    const REQUESTS: usize = 12_000;
    const AT_ONCE: usize = 100;
    const MOST_KIB: u64 = 40 << 10;
    let tester = Identity::new("tester");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = Setup::new()
        .master("tester", &tester)
        .server(&format!("listen = [\"127.0.0.1:{port}\"]"))
        .section("[log]\nformat = \"json\"\narguments = true\ncommands_per_second = 1000000");
    setup.write();
    let mut child = Killed(lictor(setup.folder()).arg("serve").stderr(Stdio::piped()).spawn().unwrap());
    let address = ([127, 0, 0, 1], port).into();
    eventually("the server to listen", || std::net::TcpStream::connect(address).ok());
    let mut client = Connection::admitted(address, &tester);
    let resident_kib = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // Each is a line of 9 KB.
    let request = format!("@ping {}\r\n\r\n", "\u{202e}".repeat(1024));
    let before = resident_kib();
    for _ in 0..REQUESTS / AT_ONCE {
        client.send(request.repeat(AT_ONCE));
        (0..AT_ONCE).for_each(|_| drop(client.read_reply()));
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "{grown} KiB of lines that nobody reads");
    let metrics = client.ask("@status metrics");
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("lictor_log_lines_dropped_total "));
    let dropped: usize = dropped.unwrap().parse().unwrap();
    assert!(dropped > REQUESTS / 2, "{dropped} lines dropped");
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_command = |line: &String| line.contains("\"command\":\"@ping\"");
    let waited = lines.by_ref().filter(is_command).take(REQUESTS - dropped).count();
    assert_eq!(waited, REQUESTS - dropped);
    client.ask("@whoami");
    assert!(lines.any(|line| line.contains("@whoami")), "the log goes on");
}

/// A log event and a terminal's window title, if they were not escaped, in the syntax of WebAssembly text.
const FORGED: &str = r#"x\0a2026-11-29T22:00:00.000000Z  INFO lictor::command: command client=\"admin\" command=pay outcome=\"ok\"\0a\1b]0;PWNED\07"#;

/// The beginning of its line.
const FORGED_DATE: &str = "2026-11-29T22";

/// Makes components with names disguised as something else, each by its file's name.
fn evil_components(folder: &Path) -> [&'static str; 3] {
    let trap = format!(
        "(drop (call $evil)) (i32.const 0)) (func $evil (@name \"{FORGED}\") (result i32) unreachable"
    );
    Minimal::new(&["pay"]).describing_by(&trap).write(folder, "trap");
    let import = format!("url=<{FORGED}>");
    Minimal::new(&["pay"]).importing(&import, "").write(folder, "import");
    // An invalid name, which the validator quotes.
    let text = format!(r#"(component (instance $i) (export "a{FORGED}" (instance $i)))"#);
    fs::write(folder.join("invalid.wasm"), invalid(&text)).unwrap();
    ["trap", "import", "invalid"]
}

/// Makes a component that the assembler refuses: by way of a placeholder of the same length.
fn invalid(text: &str) -> Vec<u8> {
    let name = text.split('"').nth(1).unwrap().to_owned();
    let bytes =
        FORGED.replace("\\0a", "\n").replace("\\1b", "\x1b").replace("\\07", "\x07").replace("\\\"", "'");
    let evil = format!("a{bytes}");
    let placeholder = "a".repeat(evil.len());
    let whole = wat::parse_str(format!("(component (instance $i) (export \"{placeholder}\" (instance $i)))"))
        .unwrap();
    assert!(name.starts_with('a'));
    let at = whole.windows(evil.len()).position(|bytes| bytes == placeholder.as_bytes()).unwrap();
    [&whole[..at], evil.as_bytes(), &whole[at + evil.len()..]].concat()
}

/// Asserts that nothing in `text` controls a terminal, and that no line begins like an event.
#[track_caller]
pub fn assert_harmless(text: &str) {
    assert!(!text.contains(|c: char| c != '\n' && c.is_control()), "{text:?}");
    for line in text.lines() {
        assert!(!line.starts_with(FORGED_DATE), "{text}");
    }
}

#[test]
fn no_name_of_a_component_forges_an_event_or_reaches_a_terminal() {
    let tester = Identity::new("tester");
    for name in evil_components(tempfile::tempdir().unwrap().path()) {
        let setup = Setup::new().master("tester", &tester).section("[log]\nformat = \"human\"");
        evil_components(setup.folder());
        let component = setup.folder().join(name).with_extension("wasm");
        let good = setup.write();
        let setup = setup.plugin("evil", &component, &["pay"], "");
        let evil = setup.write();
        let told = [
            finish(lictor(setup.folder()).args(["plugin", "inspect"]).arg(&component)),
            finish(lictor(setup.folder()).args(["check", "--config"]).arg(&evil)),
            finish(lictor(setup.folder()).args(["serve", "--config"]).arg(&evil)),
        ];
        for finished in told {
            assert_ne!(finished.code, Some(0), "{name}");
            assert!(finished.stderr.contains("PWNED"), "{name}: {}", finished.stderr);
            assert_harmless(&(finished.stdout + &finished.stderr));
        }
        assert_eq!(good, evil);
        assert_reload_is_harmless(setup, &tester, name);
    }
}

/// Serves without the evil plugin, reloads with it, and reads the log and `@status` as the operator does.
fn assert_reload_is_harmless(setup: Setup, tester: &Identity, name: &str) {
    let with_evil = fs::read_to_string(setup.write()).unwrap();
    let (before, _) = with_evil.split_once("[plugins.evil]").unwrap();
    // The address cannot be read from such a log, so the server listens on a known one.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = setup.folder().join("server.toml");
    let write =
        |text: &str| fs::write(&config, text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    write(before);
    let log = setup.folder().join("log");
    let mut command = lictor(setup.folder());
    let child = command.arg("serve").stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut child = Killed(child);
    let address = ([127, 0, 0, 1], port).into();
    eventually("the server to listen", || std::net::TcpStream::connect(address).ok());
    let mut operator = Connection::admitted(address, tester);
    write(&with_evil);
    let reply = operator.ask_framed("@reload");
    assert_eq!(reply.failure().0, "conflict", "{reply:?}");
    assert_harmless(&reply.message);
    let status = operator.ask_framed("@status");
    assert!(status.text().contains("the last reload failed"), "{name}: {}", status.text());
    assert_harmless(status.text());
    let printed = eventually("the fault in the log", || {
        let printed = fs::read_to_string(&log).unwrap();
        printed.contains("not reloaded").then_some(printed)
    });
    assert_harmless(&printed);
    child.0.kill().unwrap();
}

/// A mistake in the config shows no secret in `check`, in the log, in a reload's reply, or in the status.
#[test]
fn no_fault_of_a_config_shows_a_secret() {
    const SECRET: &str = "hunter2SECRET";
    let (server, tester) = server_with("");
    let mut operator = server.connect(&tester);
    let good = fs::read_to_string(server.config()).unwrap();
    for slip in [
        "[plugins.echo.config] password = \"S\"",
        "[plugins.new.config]x=\"S\"",
        "[plugins.new] config = { x = \"S\" }",
        "[plugins.echo.config]\n\"S\" = 5 # S",
        "[plugins.echo.grants]\nhttp = [\"https://h/?token=S\", \"https://u:S@h\"]",
        "[plugins.new]\ncomponent = \"https://u:S@h/x?S\"",
    ] {
        server.edit(|_| format!("{good}\n{}\n", slip.replace('S', SECRET)));
        let reply = operator.ask_framed("@reload");
        let checked = finish(lictor(server.folder()).arg("check"));
        let told = [reply.message, operator.ask("@status"), server.printed(), checked.stdout, checked.stderr];
        assert_eq!(checked.code, Some(2), "{slip}");
        assert!(told[1].contains("the last reload failed"), "{slip}: {}", told[1]);
        told.iter().for_each(|told| assert!(!told.contains("hunter2"), "{slip}: {told}"));
    }
}

/// A child that is killed with its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
