//! Clients that together make the server exceed the process's memory, each within all of its own bounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::{eventually, let_pass};

use crate::{assert_serves, tell_memory};

const MIB: u64 = 1 << 20;

/// Memory that the process may take above its memory at rest. Half of it stays resident for seconds after a
/// burst, in what the pool of instances keeps and in threads that wait for work.
const SPARE: u64 = 64 * MIB;

/// Memory that may be taken between two looks of the watch, on a machine busy enough to delay it.
const MARGIN: u64 = 128 * MIB;

/// Connections, each with a body of the largest size: eight times the spare memory.
const CROWD: usize = 512;
const BODY: usize = 1 << 20;

/// Waiting calls, each with a body and an instance: more than the spare memory.
const CALLS: usize = 120;

/// Returns the server's anonymous and shared memory, in bytes.
fn held(server: &Server) -> u64 {
    (server.memory_kib("RssAnon:") + server.memory_kib("RssShmem:")) << 10
}

/// Starts a server with an irrelevant mark, for an attacker, a well-behaved client, and an operator.
fn start() -> (Server, [Identity; 3]) {
    start_with("", |setup| setup)
}

/// Does the same with these further limits, and with the additions of `more`.
fn start_with(limits: &str, more: impl FnOnce(Setup) -> Setup) -> (Server, [Identity; 3]) {
    let identities = ["greedy", "quiet", "operator"].map(Identity::new);
    let [greedy, quiet, operator] = &identities;
    let setup = Setup::new().master("greedy", greedy).client("quiet", quiet, &["echo", "@ping"]).echo();
    let limits = format!("[limits]\nbody_timeout = \"10m\"\nprocess_memory = \"64GiB\"\n{limits}");
    let setup = more(setup.master("operator", operator).section(&limits));
    let warm = "timeout = \"10m\"\ninstances = \"shared\"";
    let setup = setup.plugin("hostile", components::hostile(), &["sleep"], "timeout = \"10m\"");
    let mut server = setup.plugin("warm", components::hostile(), &["body-size"], warm).start();
    // Memory used for compiling plugins would distort the figures; after a restart compiled ones are mapped.
    server.start_anew();
    assert_serves(&server, quiet);
    (server, identities)
}

/// Reloads the server with this mark.
fn set_mark(server: &Server, operator: &mut Connection, bytes: u64) {
    server.edit(|text| text.replace("64GiB", &format!("{}MiB", bytes / MIB)));
    let told = operator.ask("@reload");
    assert!(told.contains("live     changed  limits.process_memory"), "{told}");
}

/// Runs `attack` and returns the server's peak memory meanwhile.
fn most_during(server: &Server, attack: impl FnOnce()) -> u64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(held(server));
                let_pass(Duration::from_millis(1));
            }
            most
        });
        let attacked = RaisedAtTheEnd(&is_over);
        attack();
        drop(attacked);
        most.join().unwrap()
    })
}

/// Sets the flag even if the attack panics.
struct RaisedAtTheEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_logged(server: &Server, message: &str) -> bool {
    server.log().iter().any(|entry| entry.message() == message)
}

const SHORT: &str = "memory is short: calls are refused, connections wait";
const RELIEVED: &str = "memory is no longer short";

#[test]
fn above_the_mark_calls_are_refused_and_built_ins_go_on_until_there_is_relief() {
    let (server, [greedy, quiet, operator]) = start();
    let (mut calm, mut asked) = (server.connect(&quiet), server.connect(&operator));
    let at_rest = held(&server);
    assert_eq!(asked.ask("body-size"), "0", "an instance is warm from now on");
    let mut attackers: Vec<Connection> = (0..CALLS).map(|_| server.connect(&greedy)).collect();
    let body = "b".repeat(BODY);
    for attacker in &mut attackers {
        attacker.send(format!("sleep 600000\r\nSequence: s\r\nSize: {BODY}\r\n\r\n{body}"));
    }
    eventually("the calls to hold it all", || (held(&server) > at_rest + 3 * SPARE / 2).then_some(()));
    set_mark(&server, &mut asked, at_rest + SPARE);
    server.wait_for_log("that memory is short", |entry| entry.message() == SHORT);

    for _ in 0..3 {
        let refused = calm.ask_framed("echo hello");
        assert_eq!(refused.failure(), ("busy", "not-run"), "{refused:?}");
        assert_eq!(calm.ask("echo hello"), "ERR The server is short of memory; try again later");
        assert!(calm.ask_all(&[("@ping", ""); 20]).iter().all(|frame| frame.text() == "pong"));
    }
    let with_body = calm.ask_all(&[("echo", "|of which nothing is kept"), ("@ping", "")]);
    assert_eq!(with_body[0].failure(), ("busy", "not-run"), "{:?}", with_body[0]);
    assert_eq!(with_body[1].text(), "pong");
    let status = asked.ask("@status");
    assert!(status.contains(", short: calls are refused"), "{status}");
    eventually("the warm instance to be given up", || {
        asked.ask("@status metrics").contains("\nlictor_idle_instances_given_up_total 1\n").then_some(())
    });
    assert!(asked.ask("@status metrics").contains("\nlictor_process_memory_mark_passed_total 1\n"));

    thread::scope(|scope| {
        let late = scope.spawn(|| server.connect(&quiet).ask("echo late"));
        // Long enough for one that is accepted to be answered.
        let_pass(Duration::from_millis(300));
        assert!(!late.is_finished(), "a connection was served above the mark");
        assert!(!is_logged(&server, RELIEVED), "what runs holds what it holds");
        for attacker in &mut attackers {
            attacker.send("@cancel s\r\nSequence: c\r\n\r\n");
        }
        assert_eq!(late.join().unwrap(), "late", "it is accepted at relief");
    });
    server.wait_for_log("that there is relief", |entry| entry.message() == RELIEVED);
    assert_eq!(calm.ask("echo hello"), "hello");
    assert_serves(&server, &quiet);
    eventually("the memory to be given back", || (held(&server) < at_rest + SPARE).then_some(()));
}

#[test]
fn above_the_mark_nothing_that_runs_grows_and_neither_what_waits_nor_a_nested_call_begins() {
    let long = "timeout = \"10m\"\nhost_calls = 1000000000\nmemory = \"1GiB\"";
    let (server, [greedy, quiet, operator]) = start_with("queue_timeout = \"10m\"", |setup| {
        setup
            .plugin("creeping", components::hostile(), &["creep"], &format!("concurrency = 1\n{long}"))
            .plugin("calling", components::reaching(), &["loop"], long)
            .section("[plugins.calling.grants]\nfiles = []\ncommands = [\"echo\"]")
    });
    let at_rest = held(&server);
    let mut asked = server.connect(&operator);
    let send = |command: &str| {
        let mut connection = server.connect(&greedy);
        connection.send(format!("{command}\r\nSequence: c\r\n\r\n"));
        connection
    };
    // One grows until it gets no more, one runs other commands until one is refused, one waits for the first.
    let (mut growing, mut calling) = (send("creep"), send("loop echo hello"));
    server.wait_for_log("a call that grows", |entry| entry.text("line") == Some("creeping"));
    server.wait_for_log("a nested call", |entry| entry.text("via") == Some("calling"));
    let mut waiting = send("creep");
    eventually("a call to wait", || {
        asked.ask("@status metrics").contains("\nlictor_plugin_calls_delayed_total 1\n").then_some(())
    });
    let request = format!("sleep 600000\r\nSize: {BODY}\r\n\r\n{}", "b".repeat(BODY));
    let attackers: Vec<Connection> = (0..CALLS)
        .map(|_| {
            let mut attacker = server.connect(&greedy);
            attacker.send(&request);
            attacker
        })
        .collect();
    eventually("the calls to hold it all", || (held(&server) > at_rest + 3 * SPARE / 2).then_some(()));
    set_mark(&server, &mut asked, at_rest + SPARE);
    server.wait_for_log("that memory is short", |entry| entry.message() == SHORT);

    let grown = growing.read_frame();
    assert_eq!(grown.failure(), ("busy", "unknown"), "{grown:?}");
    assert!(grown.message.contains("needed more memory than the server has left"), "{grown:?}");
    assert_eq!(calling.read_frame().text(), "busy: The server is short of memory; try again later");
    // It has its turn, but there is no memory for it.
    let refused = waiting.read_frame();
    assert_eq!(refused.failure(), ("busy", "not-run"), "{refused:?}");
    assert!(!is_logged(&server, RELIEVED));
    drop((attackers, growing, calling, waiting));
    eventually("relief", || is_logged(&server, RELIEVED).then_some(()));
    assert_serves(&server, &quiet);
}

#[test]
fn bodies_that_are_never_whole_are_given_up_above_the_mark() {
    let (server, [greedy, quiet, operator]) = start();
    let mark = held(&server) + SPARE;
    set_mark(&server, &mut server.connect(&operator), mark);
    let mut attackers: Vec<Connection> = (0..CROWD).map(|_| server.connect(&greedy)).collect();
    let request = format!("echo\r\nSequence: b\r\nSize: {BODY}\r\n\r\n{}", "b".repeat(BODY - 1));
    let most = most_during(&server, || {
        thread::scope(|scope| {
            for some in attackers.chunks_mut(CROWD / 4) {
                let request = &request;
                scope.spawn(move || some.iter_mut().for_each(|attacker| attacker.send(request)));
            }
        });
        eventually("the mark to be passed", || is_logged(&server, SHORT).then_some(()));
        // The attackers stay connected, and hold nothing.
        eventually("relief", || is_logged(&server, RELIEVED).then_some(()));
        eventually("a command to be run", || {
            (server.connect(&quiet).ask_framed("echo hello").status == "OK").then_some(())
        });
    });
    assert!(most <= mark + MARGIN, "{} MiB, the mark is {} MiB", most / MIB, mark / MIB);
    // The rest of an abandoned body is not a request; the text after it is.
    let mut refused = 0;
    for attacker in &mut attackers {
        attacker.send("b@ping\r\nSequence: p\r\n\r\n");
        for frame in [attacker.read_frame(), attacker.read_frame()] {
            match frame.field("Sequence") {
                Some("p") => assert_eq!(frame.text(), "pong"),
                _ if frame.status == "OK" => {}
                _ => {
                    assert_eq!(frame.failure(), ("busy", "not-run"), "{frame:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0, "nobody was told");
    assert_serves(&server, &quiet);
    tell_memory(&server, (mark - SPARE) / 1024);
}
