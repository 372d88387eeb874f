//! Parses the command line, does what it says, exits.

use std::process::ExitCode;

use lictor::cli::{parse, run};
use mimalloc::MiMalloc;

/// A request makes and drops a dozen short allocations; docs/performance.md has what this one saves of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    run(parse()).into()
}
