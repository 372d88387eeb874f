//! Clients that together make the server hold more memory than the process may, each within all bounds of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::assert_serves;
use crate::support::certs::Identity;
use crate::support::client::Connection;
use crate::support::components;
use crate::support::eventually;
use crate::support::server::{Server, Setup};

const MIB: u64 = 1 << 20;

/// How much the process may hold beyond what it holds at rest.
const SPARE: u64 = 64 * MIB;

/// What may come between two looks of a watch that a loaded machine keeps from its processor.
const MARGIN: u64 = 128 * MIB;

/// Connections, each with a body of the largest size: eight times what there is to spare.
const CROWD: usize = 512;
const BODY: usize = 1 << 20;

/// Calls that hold a body each while they wait; one client may have as many at once.
const CALLS: usize = 96;

/// Anonymous and shared memory of the server, in bytes.
fn held(server: &Server) -> u64 {
    (server.memory_kib("RssAnon:") + server.memory_kib("RssShmem:")) << 10
}

/// A server whose mark is [`SPARE`] above what it holds at rest, the mark, and an attacker, a client that does no wrong, and an
/// operator.
fn start() -> (Server, u64, [Identity; 3]) {
    let identities = ["greedy", "quiet", "operator"].map(Identity::new);
    let [greedy, quiet, operator] = &identities;
    let setup = Setup::new().master("greedy", greedy).client("quiet", quiet, &["echo", "@ping"]).echo();
    let setup = setup
        .master("operator", operator)
        .section("[limits]\nbody_timeout = \"10m\"\nprocess_memory = \"64GiB\"");
    let setup = setup.plugin("hostile", components::hostile(), &["sleep", "body-size"], "timeout = \"10m\"");
    let mut server = setup.start();
    // To compile plugins takes memory that is not what this is about; those that are compiled already are mapped.
    server.start_anew();
    assert_serves(&server, quiet);
    let mark = (held(&server) + SPARE) / MIB * MIB;
    server.edit(|text| text.replace("64GiB", &format!("{}MiB", mark / MIB)));
    let told = server.connect(operator).ask("@reload");
    assert!(told.contains("live     changed  limits.process_memory"), "{told}");
    (server, mark, identities)
}

/// Runs `attack` and gives the most that the server held meanwhile.
fn most_during(server: &Server, attack: impl FnOnce()) -> u64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(held(server));
                thread::sleep(Duration::from_millis(1));
            }
            most
        });
        attack();
        is_over.store(true, Ordering::Relaxed);
        most.join().unwrap()
    })
}

fn is_logged(server: &Server, message: &str) -> bool {
    server.log().iter().any(|entry| entry.message() == message)
}

const SHORT: &str = "memory is short: calls are refused, connections wait";
const RELIEVED: &str = "memory is short no more";

#[test]
fn above_the_mark_calls_are_refused_and_built_ins_go_on_until_there_is_relief() {
    let (server, mark, [greedy, quiet, operator]) = start();
    let (mut calm, mut asked) = (server.connect(&quiet), server.connect(&operator));
    let mut attackers: Vec<Connection> = (0..CALLS).map(|_| server.connect(&greedy)).collect();
    let body = "b".repeat(BODY);
    let most = most_during(&server, || {
        for attacker in &mut attackers {
            attacker.send(format!("sleep 600000\r\nSequence: s\r\nSize: {BODY}\r\n\r\n{body}"));
        }
        eventually("the mark to be passed", || is_logged(&server, SHORT).then_some(()));
        // The calls that run hold what they hold; nothing is added to it.
        let refused = calm.ask_framed("echo hello");
        assert_eq!(refused.failure(), ("busy", "not-run"), "{refused:?}");
        assert_eq!(calm.ask("echo hello"), "ERR The server is short of memory; try again later");
        assert_eq!(calm.ask_framed("@ping").text(), "pong");
        for (pipelined, frame) in calm.ask_all(&[("@ping", ""); 20]).into_iter().enumerate() {
            assert_eq!(frame.text(), "pong", "{pipelined}");
        }
        let status = asked.ask("@status");
        assert!(status.contains(", short: calls are refused"), "{status}");
        assert!(asked.ask("@status metrics").contains("\nlictor_process_memory_mark_passed_total 1\n"));
        let attacker = attackers.last_mut().unwrap();
        attacker.send(format!("body-size\r\nSequence: b\r\nSize: {BODY}\r\n\r\n{body}"));
        let mut refused = attacker.read_frame();
        while refused.field("Sequence") != Some("b") {
            refused = attacker.read_frame();
        }
        assert_eq!(refused.failure(), ("busy", "not-run"), "{refused:?}");
    });
    assert!(most <= mark + MARGIN, "{} MiB, the mark is {} MiB", most / MIB, mark / MIB);
    thread::scope(|scope| {
        let late = scope.spawn(|| server.connect(&quiet).ask("echo late"));
        // It is accepted once there is memory for it.
        thread::sleep(Duration::from_millis(300));
        assert!(!late.is_finished(), "a connection was served above the mark");
        for number in 0..CALLS {
            attackers[number].send("@cancel s\r\nSequence: c\r\n\r\n");
        }
        eventually("relief", || is_logged(&server, RELIEVED).then_some(()));
        assert_eq!(late.join().unwrap(), "late");
    });
    assert_eq!(calm.ask("echo hello"), "hello");
    assert_serves(&server, &quiet);
    eventually("the memory to be given back", || (held(&server) < mark - SPARE / 2).then_some(()));
}

#[test]
fn bodies_that_are_never_whole_are_given_up_above_the_mark() {
    let (server, mark, [greedy, quiet, _operator]) = start();
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
        // The attackers are there all the time, and hold nothing.
        eventually("relief", || is_logged(&server, RELIEVED).then_some(()));
        eventually("a command to be run", || {
            (server.connect(&quiet).ask_framed("echo hello").status == "OK").then_some(())
        });
    });
    assert!(most <= mark + MARGIN, "{} MiB, the mark is {} MiB", most / MIB, mark / MIB);
    // What is left of a body that was given up is no request; what comes behind it is one.
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
}
