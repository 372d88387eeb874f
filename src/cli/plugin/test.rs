//! `lictor plugin test`: the conformance suite.

use std::path::PathBuf;
use std::time::Duration;

use super::options::{CompileOptions, size, time};
use super::{Failure, output};
use crate::author::{self, Fault, Report, SuiteLimits};
use crate::config::{ByteSize, TimeSpan};

/// Run the conformance suite on a component
///
/// For SDK authors: checks that a language and its toolchain can implement plugins. docs/conformance.md
/// specifies the commands that the component must have.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin test conformance.wasm
  lictor plugin test --memory 256MiB --timeout 10s conformance.wasm")]
pub(in crate::cli) struct Test {
    /// Component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Maximum memory of an instance
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = |text: &str| size(text, "plugins.NAME", "memory"))]
    memory: ByteSize,
    /// Time limit for one call, and for `describe`
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = |text: &str| time(text, "plugins.NAME", "timeout"))]
    timeout: TimeSpan,
    #[command(flatten)]
    compile: CompileOptions,
    /// Show only failed checks and the summary
    #[arg(long)]
    quiet: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        let limits = SuiteLimits {
            timeout: Duration::from_millis(self.timeout.milliseconds()),
            memory_bytes: usize::try_from(self.memory.bytes()).unwrap_or(usize::MAX),
            compiling: self.compile.compiling(),
        };
        let report =
            author::test(&self.file, limits).map_err(|error| Failure::failed(format!("{error:#}")))?;
        let mut failed = 0;
        for verdict in &report.verdicts {
            let name = &verdict.name;
            match &verdict.fault {
                None if self.quiet => {}
                None => output::line(&format!("ok       {name}"))?,
                Some(Fault::Missing) => output::line(&format!("MISSING  {name}"))?,
                Some(Fault::Wrong(words)) => output::line(&format!("FAILED   {name}: {words}"))?,
            }
            failed += usize::from(verdict.fault.is_some());
        }
        output::line(&summary(&report, failed))?;
        if failed == 0 { Ok(()) } else { Err(Failure::failed(format!("{failed} failed"))) }
    }
}

fn summary(report: &Report, failed: usize) -> String {
    let time = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{time:.1?}"));
    format!(
        "{} passed, {failed} failed; loaded in {:.1?}, fresh call {}, warm call {}",
        report.verdicts.len() - failed,
        report.load,
        time(report.fresh_call),
        time(report.warm_call),
    )
}
