//! Instruction counts of the hot paths, compared with stored counts.
//!
//! Times vary by half on a busy machine; the instructions of one binary vary by a hundredth. Gains are
//! therefore guarded by counting instructions under valgrind's callgrind. Each path runs in its own process,
//! once N times and once 3 N times; the difference is the cost of the runs themselves, without their setup.
//!
//! `cargo xtask instructions` builds the components, installs valgrind if it is missing, and compares with
//! `benches/instructions/kept.toml`: a path that exceeds the margin fails. `cargo xtask instructions --write`
//! stores the counts; a change that makes a path dearer on purpose says why in its commit.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod connection;
mod paths;

/// The same allocator as the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Allowed excess over the stored count, in per cent.
const MARGIN_PERCENT: f64 = 1.0;

/// Allowed excess of a connection's path: its runtime polls timers and sockets depending on when they are
/// due, which varies by a hundredth from one build to the next.
const CONNECTION_MARGIN_PERCENT: f64 = 2.0;

/// Counts of a path before it fails. Hashes with random keys, addresses and the firing of timers move a count
/// by up to a hundredth, so the lowest of several counts is compared.
const TRIES: usize = 5;

/// Counts of a path before one is stored.
const TRIES_TO_STORE: usize = 3;

/// Saving after which a new count should be stored, so that the gain is not lost again unnoticed.
const SLACK_PERCENT: f64 = 10.0;

/// File of stored counts, from the root of the repository.
const KEPT: &str = "benches/instructions/kept.toml";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--path", name, times] => {
            paths::run(name, times.parse().unwrap());
            ExitCode::SUCCESS
        }
        ["--compare"] => {
            let kept = kept();
            compare(&count_all(|name, count| exceeds(&kept, name, count), TRIES), &kept)
        }
        ["--write"] => {
            write(&count_all(|_, _| true, TRIES_TO_STORE));
            ExitCode::SUCCESS
        }
        // `cargo test --benches` only checks that the benchmark runs.
        _ => {
            paths::PATHS.iter().for_each(|(name, _)| paths::run(name, 1));
            ExitCode::SUCCESS
        }
    }
}

/// Counts the instructions of one run of each path: the lowest of at most `tries` counts, repeated while it
/// is `counted_again`.
fn count_all(counted_again: impl Fn(&str, u64) -> bool, tries: usize) -> BTreeMap<String, u64> {
    let least = |&(name, times): &(&str, u64)| {
        let mut least = count(name, times);
        for _ in 1..tries {
            if !counted_again(name, least) {
                break;
            }
            least = least.min(count(name, times));
        }
        (name.to_owned(), least)
    };
    paths::PATHS.iter().map(least).collect()
}

/// Returns a count's excess over the stored one, in per cent; `None` if none is stored.
fn change(kept: &BTreeMap<String, u64>, name: &str, count: u64) -> Option<f64> {
    kept.get(name).map(|stored| (count as f64 / *stored as f64 - 1.0) * 100.0)
}

fn exceeds(kept: &BTreeMap<String, u64>, name: &str, count: u64) -> bool {
    change(kept, name, count).is_some_and(|change| change > margin_percent(name))
}

fn margin_percent(name: &str) -> f64 {
    if name.starts_with("connection/") { CONNECTION_MARGIN_PERCENT } else { MARGIN_PERCENT }
}

fn count(name: &str, times: u64) -> u64 {
    let (few, many) = (collected(name, times), collected(name, 3 * times));
    many.saturating_sub(few) / (2 * times)
}

/// Counts the instructions of a process that runs the path this many times.
fn collected(name: &str, times: u64) -> u64 {
    let output = Command::new("valgrind")
        // The process that compiles plugins has to see the same processor. Its count goes to its own error
        // output, not here.
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=yes"])
        .arg(std::env::current_exe().unwrap())
        .args(["--path", name, &times.to_string()])
        .output()
        .unwrap_or_else(|error| {
            panic!("valgrind cannot be started: {error}; `cargo xtask instructions` installs it")
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed under valgrind:\n{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count);
    collected.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in:\n{said}"))
}

fn compare(counted: &BTreeMap<String, u64>, kept: &BTreeMap<String, u64>) -> ExitCode {
    let mut is_kept = true;
    println!("| path | instructions | stored | |\n|---|---|---|---|");
    for (name, &count) in counted {
        let (Some(stored), Some(change)) = (kept.get(name), change(kept, name, count)) else {
            println!("| {name} | {count} | – | **not stored** |");
            is_kept = false;
            continue;
        };
        let verdict = if change > margin_percent(name) {
            "**too many**"
        } else if change < -SLACK_PERCENT {
            "**fewer: store it**"
        } else {
            "ok"
        };
        is_kept &= verdict == "ok";
        println!("| {name} | {count} | {stored} | {change:+.1} % {verdict} |");
    }
    for name in kept.keys().filter(|name| !counted.contains_key(*name)) {
        println!("| {name} | – | | **there is no such path** |");
        is_kept = false;
    }
    if is_kept {
        return ExitCode::SUCCESS;
    }
    println!(
        "\nWhere the change is meant, store it with `cargo xtask instructions --write` and say why in the commit."
    );
    ExitCode::FAILURE
}

fn kept() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEPT)).unwrap();
    toml::from_str(&text).unwrap()
}

fn write(counted: &BTreeMap<String, u64>) {
    let mut text = String::from(
        "# Instructions of one run of each hot path, counted by `cargo xtask instructions --write` in the profile `dev`, whose\n\
         # crates are optimized. Not a measure of speed: they repeat where times do not, so that what was won is kept.\n",
    );
    for (name, count) in counted {
        text.push_str(&format!("{name:?} = {count}\n"));
    }
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEPT), text).unwrap();
    println!("stored in {KEPT}");
}
