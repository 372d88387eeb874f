//! Parses the command line, does what it says, exits.

use std::process::ExitCode;

use clap::Parser;
use lictor::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse()).into()
}
