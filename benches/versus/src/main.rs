//! Lictor beside other programs: Redis, which has the protocol and the clients, and `wasmtime serve`, which
//! has the sandbox.
//!
//! `cargo xtask versus` fetches everything that this needs, and runs it. Each server is a process on one
//! core; its load, this program, is on another. Every server is measured in every round, so that disturbances
//! of the machine affect all of them. Reported is the median over the rounds, and for ratios the median of
//! the rounds' ratios.
//!
//! The tables go to standard output, in the format of `docs/performance.md`; progress goes to standard error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

mod document;
mod figures;
mod http;
mod machine;
mod measure;
mod options;
mod outcome;
mod peers;
mod plots;
mod process;
mod resp;
mod scenarios;
mod spread;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::lictor::loadgen::{Pace, Plan};
use clap::Parser;
use testkit::certs::Identity;
use tokio::runtime::Runtime;

use machine::Cores;
use options::Options;
use outcome::{Outcome, Picture};
use peers::{lictor, redis, wasmtime};
use scenarios::{ALL, CONNECTIONS};

/// Folder of the pictures, beside the document.
const PICTURES: &str = "performance";

/// Basis of every scenario: this program's options and resources.
pub struct Bench {
    /// Options from the command line.
    pub options: Options,
    /// Cores of this program and of the servers.
    pub cores: Cores,
    /// Runtime that makes all load.
    pub runtime: Runtime,
    /// The client known to all servers.
    pub client: Identity,
}

impl Bench {
    /// Plans the closed loop, with this many requests in flight on each connection.
    pub fn closed(&self, in_flight: usize) -> Plan {
        Plan {
            connections: CONNECTIONS,
            in_flight,
            pace: Pace::Closed,
            warm_up: self.options.warm_up(),
            time: self.options.time(),
        }
    }

    /// Shows progress to the user.
    pub fn tell(&self, message: &str) {
        eprintln!("  {message}");
    }
}

fn main() -> ExitCode {
    let options = Options::parse_from(std::env::args().skip(1));
    match Cores::take().and_then(|cores| run(options, cores)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options, cores: Cores) -> Result<(), String> {
    let bench = Bench { options, cores, runtime: measure::runtime(), client: Identity::new("client") };
    let asked = &bench.options.scenarios;
    for (name, measure) in
        ALL.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|asked| asked == name))
    {
        eprintln!("{name}:");
        let mut outcome = measure(&bench);
        if bench.options.plots {
            write_pictures(&outcome)?;
            outcome.show_pictures(PICTURES);
        }
        let text = outcome.text(&first_line(&bench, name));
        println!("<!-- versus:begin {name} -->\n\n{text}\n\n<!-- versus:end {name} -->\n");
        if bench.options.write {
            write_table(name, &text)?;
        }
    }
    Ok(())
}

/// Says how the text below was made, and on which machine.
fn first_line(bench: &Bench, scenario: &str) -> String {
    let version = |name: &str, version: Result<String, String>| Some(format!("{name} {}", version.ok()?));
    let versions = [
        version("Lictor", lictor::version()),
        version("Redis", redis::version()),
        version("wasmtime", wasmtime::version()),
    ];
    let versions = versions.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let (how, machine) = (bench.options.described(), machine::described());
    format!("By `cargo xtask versus {scenario}`, {how}. {versions}; {machine}.")
}

fn write_table(name: &str, text: &str) -> Result<(), String> {
    let path = docs().join("performance.md");
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let document = fs::read_to_string(&path).map_err(told)?;
    fs::write(&path, document::filled(&document, name, text)?).map_err(told)
}

fn write_pictures(outcome: &Outcome) -> Result<(), String> {
    let folder = docs().join(PICTURES);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for Picture { name, svg, .. } in &outcome.pictures {
        let path = folder.join(name).with_extension("svg");
        fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("  {} written", path.display());
    }
    Ok(())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}
