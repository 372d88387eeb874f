//! Parses the command line, runs it, exits.

use std::process::ExitCode;

use lictor::cli::{parse, run};
use mimalloc::MiMalloc;

/// A request makes and drops a dozen short allocations; docs/performance.md shows how much time this
/// allocator saves.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    parse().map_or_else(Into::into, |command| run(command).into())
}
