//! What the process takes, by `/proc` and by `@status`.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::Soak;
use crate::support::client::Connection;

/// What is looked at: its name, its unit, and by how much it may be more at the end than after the warm-up.
///
/// Memory: what allocators keep for later differs by some megabytes from one rest to the next. Files: the state's engine opens
/// readers as it needs them. Threads: those that do what blocks end some time after they were last needed.
pub const LOOKED_AT: [(&str, &str, u64); 5] = [
    ("resident memory", "KiB", 24 << 10),
    ("its own part of shared memory and the rest (PSS)", "KiB", 24 << 10),
    ("open files", "", 2),
    ("threads", "", 2),
    ("tasks", "", 0),
];

/// How long nothing has to change until the server is said to be at rest, and how long that is waited for.
const REST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// One look: a number for each that is [looked at](LOOKED_AT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub figures: [u64; LOOKED_AT.len()],
    connections: u64,
}

impl Sample {
    /// What does not change at rest; memory does, a little.
    fn counts(&self) -> (&[u64], u64) {
        (&self.figures[2..], self.connections)
    }

    /// What is more than it may be after `before`, in words.
    fn grown_since(&self, before: &Self) -> Vec<String> {
        let pairs = self.figures.iter().zip(before.figures).zip(LOOKED_AT);
        let grown = pairs.filter(|((now, before), (.., margin))| **now > before + margin);
        grown
            .map(|((now, before), (name, unit, margin))| {
                format!("{name} grew: {now} {unit} after {before}, and {margin} more are allowed")
            })
            .collect()
    }
}

/// Looks at one server, by a connection of an operator.
pub struct Gauge {
    process: PathBuf,
    connection: Connection,
}

impl Gauge {
    pub fn new(soak: &Soak) -> Self {
        let process = PathBuf::from(format!("/proc/{}", soak.server.process()));
        Self { process, connection: soak.server.connect(&soak.operator) }
    }

    pub fn sample(&mut self) -> Sample {
        let status = self.connection.ask("@status");
        let told = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{status}"))
        };
        // The server is not dumpable: its open files and its memory in detail are for root alone, and 0 to others.
        let entries = |folder: &str| {
            fs::read_dir(self.process.join(folder)).map_or(0, |entries| entries.count() as u64)
        };
        Sample {
            figures: [
                self.kib("status", "VmRSS:"),
                self.kib("smaps_rollup", "Pss:"),
                entries("fd"),
                entries("task"),
                told("tasks"),
            ],
            connections: told("connections"),
        }
    }

    /// A line of a file of the process; nothing where the kernel has no such file, or does not show it.
    fn kib(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.process.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// The first look after nothing has changed for a while.
    pub fn at_rest(&mut self) -> Sample {
        let (began, mut last, mut since) = (Instant::now(), self.sample(), Instant::now());
        loop {
            thread::sleep(BETWEEN_LOOKS);
            let now = self.sample();
            if now.counts() != last.counts() {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > REST {
                return now;
            }
            assert!(began.elapsed() < PATIENCE, "there is no rest: {last:?}");
        }
    }

    /// The first look at which nothing has grown since `before`; where something has, a late one, and what that is.
    pub fn at_rest_after(&mut self, before: &Sample) -> (Sample, Vec<String>) {
        let began = Instant::now();
        loop {
            let now = self.at_rest();
            let grown = now.grown_since(before);
            if grown.is_empty() || began.elapsed() > PATIENCE {
                return (now, grown);
            }
        }
    }
}
