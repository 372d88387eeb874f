//! Effect on a client that asks for `echo` of another client whose plugin misbehaves.
//!
//! The server is the real binary in its own process; both clients are in this one. The misbehaving client
//! keeps several connections full of one kind of misdeed, while the quiet one asks for one `echo` after the
//! other, alternately in a fresh and in a warm instance, and notes how long each took. Kinds are run in turns
//! for several rounds; each figure is the median over the rounds, with its ratio to that of the quiet client
//! alone.
//!
//! Server and clients share the machine: the misbehaving client's own computing slows the quiet one too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};

/// No client misbehaves.
const ALONE: &str = "nobody";

/// A misdeed: its name, the request, and the number in flight on each connection.
const MISDEEDS: &[(&str, &str, usize)] = &[
    (ALONE, "", 0),
    // Not a misdeed, but as many short calls as the machine can take, as a reference for the floods below.
    ("short calls", "fresh hello", 32),
    ("spin", "spin", 16),
    ("memory grows", "grow", 4),
    ("traps", "trap", 32),
    ("failures, each logged", "fail conflict no", 32),
    ("prints 1 MB", "flood 1000000", 16),
    ("replies of 1 MiB", "big 1048576", 8),
    ("instance churn", "leak", 32),
    ("sleeps in all slots", "sleep 400", 64),
];

/// Connections of the misbehaving client.
const CONNECTIONS: usize = 4;

/// The commands of the quiet client.
const ECHOES: [&str; 2] = ["fresh", "warm"];

/// The quantile behind each figure.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

fn main() {
    // `cargo test --benches` only checks that the benchmark runs.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) =
        if is_measured { (7, Duration::from_secs(2)) } else { (1, Duration::from_millis(50)) };
    // As in other benchmarks, a word on the command line selects the misdeeds that contain it; the quiet
    // client alone is always measured.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| name == ALONE || wanted.iter().all(|word| name.contains(word.as_str()));
    let misdeeds: Vec<_> = MISDEEDS.iter().filter(|(name, ..)| is_wanted(name)).collect();
    let (quiet, wild) = (Identity::new("quiet"), Identity::new("wild"));
    let server = start(&quiet, &wild);
    let mut figures = vec![Vec::new(); misdeeds.len()];
    for _ in 0..rounds {
        for (misdeed, of_misdeed) in misdeeds.iter().zip(&mut figures) {
            of_misdeed.push(beside(&server, (&quiet, &wild), misdeed, time));
        }
    }
    let medians = figures.iter().map(|rounds| median(rounds));
    show(&misdeeds.iter().map(|(name, ..)| *name).zip(medians).collect::<Vec<_>>());
}

/// Percentiles in microseconds for each echo.
type Figures = [[f64; PERCENTILES.len()]; ECHOES.len()];

fn start(quiet: &Identity, wild: &Identity) -> Server {
    let mut setup = Setup::new().master("quiet", quiet).master("wild", wild);
    for (name, instances) in [("fresh", "per-request"), ("warm", "shared")] {
        setup = setup.plugin(name, components::echo(), &[name], &format!("instances = \"{instances}\""));
    }
    setup.hostile("timeout = \"500ms\"").start()
}

/// Measures the quiet client for this long beside a misdeed.
fn beside(
    server: &Server,
    (quiet, wild): (&Identity, &Identity),
    &(_, request, in_flight): &(&str, &str, usize),
    time: Duration,
) -> Figures {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..if in_flight == 0 { 0 } else { CONNECTIONS } {
            scope.spawn(|| misbehave(server, wild, request, in_flight, &is_over));
        }
        let mut connection = server.connect(quiet);
        let mut times = ECHOES.map(|_| Vec::new());
        let began = Instant::now();
        // The first fifth is not counted: the misbehaving client is still starting.
        while began.elapsed() < time {
            for (echo, times) in ECHOES.iter().zip(&mut times) {
                let asked = Instant::now();
                assert_eq!(connection.ask(&format!("{echo} 0123456789abcdef")), "0123456789abcdef");
                if began.elapsed() > time / 5 {
                    times.push(asked.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        times.map(percentiles)
    })
}

fn misbehave(server: &Server, wild: &Identity, request: &str, in_flight: usize, is_over: &AtomicBool) {
    let mut connection = server.connect(wild);
    let framed = |number: usize| format!("{request}\r\nSequence: {number}\r\n\r\n");
    connection.send((0..in_flight).map(framed).collect::<String>());
    while !is_over.load(Ordering::Relaxed) {
        let answered = connection.read_frame();
        connection.send(framed(answered.field("Sequence").unwrap().parse().unwrap()));
    }
}

fn percentiles(mut times: Vec<f64>) -> [f64; PERCENTILES.len()] {
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    PERCENTILES.map(|(_, part)| times.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN))
}

fn median(rounds: &[Figures]) -> Figures {
    let mut medians = Figures::default();
    for (echo, figures) in medians.iter_mut().enumerate() {
        for (percentile, figure) in figures.iter_mut().enumerate() {
            let mut all: Vec<f64> = rounds.iter().map(|round| round[echo][percentile]).collect();
            all.sort_by(f64::total_cmp);
            *figure = all[all.len() / 2];
        }
    }
    medians
}

fn show(medians: &[(&str, Figures)]) {
    let columns = ECHOES.iter().flat_map(|echo| PERCENTILES.map(|(name, _)| format!("{echo} {name}")));
    println!("| beside | {} |", columns.collect::<Vec<_>>().join(" | "));
    println!("|---{}|", "|---".repeat(ECHOES.len() * PERCENTILES.len()));
    let alone = &medians[0].1;
    for (name, figures) in medians {
        let cells = figures.iter().flatten().zip(alone.iter().flatten());
        let cells = cells.map(|(figure, alone)| format!("{figure:.0} µs ({:.1})", figure / alone));
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}
