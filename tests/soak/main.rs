//! Mixed traffic against the real server for a time, and its effects: nothing may have failed, got lost or
//! grown.
//!
//! | module     | participants |
//! |------------|--------------|
//! | `steady`   | well-behaved clients; their answers are known beforehand, and their counts must be stored |
//! | `passing`  | clients that connect and disconnect, in good order and otherwise |
//! | `wild`     | clients whose plugins misbehave, whose bytes are invalid requests, and strangers |
//! | `operator` | an operator that repeatedly swaps a plugin, the server's certificate and a client |
//! | `gauge`    | the resources of the process, and their growth |
//! | `report`   | the table of a run |
//!
//! Among the other tests it runs until every role has done a few rounds. `cargo xtask soak` runs the same for
//! the time in `LICTOR_SOAK_MINUTES`, and takes the table from the file `LICTOR_SOAK_TABLE`.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

mod gauge;
mod operator;
mod passing;
mod report;
mod steady;
mod wild;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::components;
use testkit::let_pass;
use testkit::server::{Server, Setup};

use gauge::{Gauge, Sample};
use operator::version;

/// A kind of client: its name, the number of them, and the work of each during its shift.
type Role = (&'static str, usize, fn(&Soak, &Shift<'_>));

const ROLES: [Role; 11] = [
    ("request known replies", 2, steady::ask),
    ("count", steady::COUNTERS, steady::count),
    ("connect and disconnect", 1, passing::come_and_go),
    ("disconnect mid-request", 1, passing::break_off),
    ("start and cancel streams", 1, passing::stream),
    ("make plugins misbehave", 2, wild::misbehave),
    ("make the host hold memory", 1, wild::hold),
    ("send malformed requests", 1, wild::send_nonsense),
    ("repeat requests and do not read", 1, wild::send_again),
    ("are strangers", 1, wild::be_strange),
    ("reload", 1, operator::reload),
];

/// Least number of rounds of every role, before the first sample and between the two.
const ROUNDS: (u64, u64) = (2, 5);

/// Least warm-up of a long run: by then the sandbox has used every slot, and allocators have their reserves.
const WARM_UP: Duration = Duration::from_secs(120);

/// Time between two samples.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Small bounds, so that all of them are met.
const LIMITS: &str = "[limits]
handshake_timeout = \"2s\"
concurrent_commands = 8
concurrent_commands_per_client = 6
concurrent_streams = 4
in_flight = 64
plugin_memory = \"64MiB\"
queue_timeout = \"10s\"
idempotency_keys = 50
compile_memory = \"512MiB\"
compile_time = \"15s\"
idempotency_window = \"20s\"";

/// The server, its clients, and their results.
struct Soak {
    server: Server,
    steady: Identity,
    passing: Identity,
    wild: Identity,
    operator: Identity,
    stranger: Identity,
    tally: steady::Tally,
    /// Rounds done by each role.
    rounds: [AtomicU64; ROLES.len()],
    is_over: AtomicBool,
}

/// One client's shift.
struct Shift<'a> {
    soak: &'a Soak,
    role: usize,
    /// Number among the clients of its role.
    number: usize,
}

impl Shift<'_> {
    /// Does one round after the other, until the shift is over.
    fn each(&self, pause: Duration, mut round: impl FnMut(u64)) {
        for number in 0.. {
            if self.soak.is_over.load(Ordering::Relaxed) {
                return;
            }
            round(number);
            self.soak.rounds[self.role].fetch_add(1, Ordering::Relaxed);
            let_pass(pause);
        }
    }
}

impl Soak {
    fn start() -> Self {
        let [steady, passing, wild, operator, stranger] =
            ["steady", "passing", "wild", "operator", "stranger"].map(Identity::new);
        let setup = Setup::new()
            .client("steady", &steady, &["echo", "kv-*", "version", "@ping"])
            .client("passing", &passing, &["*", "@cancel", "@ping"])
            .client("wild", &wild, &["*", "@ping"])
            .master("operator", &operator)
            .section(LIMITS)
            .section("[log]\ncommands_per_second = 0")
            .section("[state]\nengine = \"sqlite\"\npath = \"state.db\"")
            .echo();
        let commands = ["kv-get", "kv-set", "kv-delete", "kv-increment", "kv-list"];
        let warm =
            "instances = \"shared\"\nidle_timeout = \"1s\"\n[plugins.kv.grants]\nkeyvalue = [\"default\"]";
        let small = "instances = \"per-client\"\nidle_timeout = \"1s\"\ntimeout = \"2s\"\ncpu_time = \"20ms\"\n\
                     memory = \"4MiB\"\nreply = \"64KiB\"";
        let guest = version(setup.folder(), 'A');
        let holding = |grants: &str| format!("{small}\n[plugins.{grants}");
        wild::crowded(setup.folder());
        let server = setup
            .plugin("kv", components::kv(), &commands, warm)
            .hostile(small)
            .plugin("streams", components::streams(), &["count"], "timeout = \"30s\"")
            .plugin("stalls", components::streams(), &["stall"], "timeout = \"1s\"")
            .plugin(
                "web",
                components::web(),
                &["hoard-methods", "hoard-paths", "hoard-fields"],
                &holding("web.grants]\nhttp = []"),
            )
            .plugin(
                "folders",
                components::folders(),
                &["list", "hold-lists", "hold-streams"],
                &holding("folders.grants.directories]\n\"/data\" = \"crowded\""),
            )
            .plugin("guest", &guest, &["version"], "instances = \"shared\"\nidle_timeout = \"1s\"")
            .start();
        let tally = steady::Tally::default();
        let rounds = [const { AtomicU64::new(0) }; ROLES.len()];
        let is_over = AtomicBool::new(false);
        Self { server, steady, passing, wild, operator, stranger, tally, rounds, is_over }
    }

    /// Runs all clients until it `is_enough`; returns the samples taken meanwhile.
    fn run(&self, gauge: &mut Gauge, is_enough: impl Fn(&Self) -> bool) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.is_over.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for (role, (_, count, work)) in ROLES.iter().enumerate() {
                for number in 0..*count {
                    let work = move || {
                        let _raised = RaisedAtTheEnd(&self.is_over);
                        work(self, &Shift { soak: self, role, number });
                    };
                    workers.push(scope.spawn(work));
                }
            }
            let _raised = RaisedAtTheEnd(&self.is_over);
            while !self.is_over.load(Ordering::Relaxed) && !is_enough(self) {
                samples.push(gauge.sample());
                let_pass(BETWEEN_LOOKS);
            }
            self.is_over.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
        samples
    }

    /// Returns the number of rounds each role has done.
    fn done(&self) -> [u64; ROLES.len()] {
        self.rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed))
    }

    /// Returns true if each role has done this many rounds.
    fn has_done(&self, rounds: &[u64]) -> bool {
        self.done().iter().zip(rounds).all(|(done, wanted)| done >= wanted)
    }
}

/// Ends all shifts with that of one, which may have found a failure.
struct RaisedAtTheEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn mixed_traffic_leaves_nothing_behind() {
    let minutes = std::env::var("LICTOR_SOAK_MINUTES").ok().map(|minutes| minutes.parse::<f64>().unwrap());
    let time = Duration::from_secs_f64(60.0 * minutes.unwrap_or_default());
    let (mut soak, began) = (Soak::start(), Instant::now());
    let mut gauge = Gauge::new(&soak);
    let warm = soak.done().map(|rounds| rounds + ROUNDS.0);
    let warm_up = (time / 10).max(WARM_UP.min(time));
    soak.run(&mut gauge, |soak| soak.has_done(&warm) && began.elapsed() > warm_up);
    let before = gauge.at_rest();
    let (enough, begins) = (soak.done().map(|rounds| rounds + ROUNDS.1), Instant::now());
    let samples = soak.run(&mut gauge, |soak| soak.has_done(&enough) && begins.elapsed() > time);
    let (after, grown) = gauge.at_rest_after(&before);
    let time = began.elapsed();
    drop(gauge);
    soak.tally.check(&mut soak.server.connect(&soak.steady));
    soak.server.start_anew();
    soak.tally.check(&mut soak.server.connect(&soak.steady));
    let table = report::table(&soak, time, &before, &samples, &after);
    assert!(grown.is_empty(), "{}\n\n{table}", grown.join("\n"));
    report::hand_over(&table);
}
