//! A client whose plugin commits all misdeeds at once, beside one that works.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::HOSTILE_COMMANDS;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::assert_serves;

/// Requests to the hostile plugin, each of its commands at least once.
const MISDEEDS: [&str; 40] = [
    "spin",
    "grow",
    "creep",
    "recurse",
    "deep",
    "trap",
    "panic at the disco",
    "exit 0",
    "sleep 60000",
    "flood",
    "flood-err",
    "flood-line 10000000",
    "forge-log",
    "big 100000000",
    "blank-line",
    "ends-crlf",
    "not-utf8",
    "fail denied no",
    "fail-big",
    "alloc 60000000",
    "leak",
    "whoami",
    "header X",
    "headers",
    "body",
    "body-size",
    "time-left",
    "id",
    "args a b",
    "env",
    "files",
    "random",
    "queue-more",
    "queue-next",
    "queue-reply",
    "queue-leave",
    "queue-exit return",
    "queue-exit trap",
    "queue-exit late",
    "hoard 5000",
];

/// Connections of the attack. A client may use half of the slots, and these need fewer.
const CONNECTIONS: usize = 3;

/// Requests of the other client.
const REQUESTS: usize = 300;

#[test]
fn every_misdeed_at_once_costs_a_well_behaved_client_no_request() {
    for command in HOSTILE_COMMANDS {
        assert!(MISDEEDS.iter().any(|misdeed| misdeed.split(' ').next() == Some(command)), "{command}");
    }
    for instances in ["per-request", "per-client", "shared"] {
        let (greedy, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
        let setup = Setup::new().master("greedy", &greedy).client("quiet", &quiet, &["echo", "@ping"]).echo();
        let keys = format!("instances = \"{instances}\"\ntimeout = \"500ms\"");
        let server = setup.hostile(&keys).start();
        let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let attackers =
                [(); CONNECTIONS].map(|()| scope.spawn(|| misbehave(&server, &greedy, &is_over, &rounds)));
            let worked = RaisedAtTheEnd(&is_over);
            work(&server, &quiet, &rounds);
            drop(worked);
            attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
        });
        assert_serves(&server, &quiet);
    }
}

/// Ends the attack with the work, even if the work panics.
struct RaisedAtTheEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Requests all misdeeds together, repeatedly. Each gets an answer, and the connection goes on.
fn misbehave(server: &Server, greedy: &Identity, is_over: &AtomicBool, rounds: &AtomicUsize) {
    let mut connection = server.connect(greedy);
    while !is_over.load(Ordering::Relaxed) {
        for frame in connection.ask_all(&MISDEEDS.map(|misdeed| (misdeed, ""))) {
            assert!(frame.status == "OK" || !frame.failure().0.is_empty(), "{frame:?}");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends requests that must all succeed, until there are enough and the attack has run for a while.
fn work(server: &Server, quiet: &Identity, rounds: &AtomicUsize) {
    let mut connection = server.connect(quiet);
    let request = |number: usize, connection: &mut Connection| {
        assert_eq!(connection.ask(&format!("echo {number}")), number.to_string());
        assert_eq!(connection.ask_framed("@ping").text(), "pong");
    };
    (0..REQUESTS).for_each(|number| request(number, &mut connection));
    eventually("each attacker to have done all misdeeds", || {
        request(REQUESTS, &mut connection);
        (rounds.load(Ordering::Relaxed) >= 2 * CONNECTIONS).then_some(())
    });
}
