//! Resources of the process, from `/proc` and from `@status`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::client::Connection;
use testkit::let_pass;

use crate::Soak;

/// Measured resources: name, unit, and allowed growth from the warm-up to the end.
///
/// Memory: the reserves of allocators differ by some megabytes from one rest to the next. Files: the state's
/// engine opens readers as needed. Threads: those for blocking work end some time after their last use.
pub const LOOKED_AT: [(&str, &str, u64); 5] = [
    ("resident memory", "KiB", 24 << 10),
    ("proportional set size (PSS)", "KiB", 24 << 10),
    ("open files", "", 2),
    ("threads", "", 2),
    ("tasks", "", 0),
];

/// Time without changes after which the server is at rest, and the longest wait for that.
const REST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// One sample: a number for each [measured resource](LOOKED_AT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub figures: [u64; LOOKED_AT.len()],
    connections: u64,
}

impl Sample {
    /// Returns the figures that stay constant at rest; memory varies a little.
    fn counts(&self) -> (&[u64], u64) {
        (&self.figures[2..], self.connections)
    }

    /// Describes each figure that exceeds its allowed growth since `before`.
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

/// Samples one server, through an operator's connection.
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
        // The server is not dumpable: only root sees its open files and its memory in detail, others see 0.
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

    /// Returns a line of a file of the process; 0 if the kernel has no such file, or does not show it.
    fn kib(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.process.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// Returns the first sample after a while without changes.
    pub fn at_rest(&mut self) -> Sample {
        let (began, mut last, mut since) = (Instant::now(), self.sample(), Instant::now());
        loop {
            let_pass(BETWEEN_LOOKS);
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

    /// Returns the first sample that has not grown since `before`; or else a late one, with its growth.
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
