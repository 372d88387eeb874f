//! `lictor compile`: a process that Lictor starts to compile one component, or to read its debug file, within
//! limits.

use std::io;
use std::time::Duration;

use super::{Exit, Failure, output};
use crate::app::{self, Compilation, Compiling, Work};

/// Compile the component on standard input, and write its code to standard output
///
/// Used by the server and by commands that load components. Before it reads, it gives up all rights except
/// memory, CPU time and these two files.
#[derive(Debug, clap::Args)]
#[command(
    hide = true,
    after_help = "\
Examples:
  lictor compile --world plugin --component-bytes 1000000 --memory-bytes 1000000000 --milliseconds 10000 < echo.wasm > code"
)]
pub(super) struct Compile {
    /// World of the plugin: plugin or streaming-plugin
    #[arg(long, value_name = "WORLD", default_value = "plugin")]
    world: String,
    /// Write source locations instead of code, from the debug file of this size that follows the component
    #[arg(long, value_name = "N", conflicts_with = "world")]
    debug_bytes: Option<usize>,
    /// Maximum size of the component
    #[arg(long, value_name = "N")]
    component_bytes: usize,
    /// Maximum address space
    #[arg(long, value_name = "N")]
    memory_bytes: usize,
    /// Maximum CPU time
    #[arg(long, value_name = "N")]
    milliseconds: u64,
}

impl Compile {
    pub(super) fn run(self) -> Result<(), Failure> {
        // The component is the cause, and the parent process says so: a position in Lictor's source is of no
        // use to its author.
        std::panic::set_hook(Box::new(|panic| {
            output::diagnostics(panic.payload_as_str().unwrap_or_default());
        }));
        let time = Duration::from_millis(self.milliseconds);
        let compiling = Compiling::by_itself(self.component_bytes, self.memory_bytes, time);
        let work = match self.debug_bytes {
            Some(debug_bytes) => Work::Places { debug_bytes },
            None => Work::Code { world: self.world },
        };
        let done = app::compile_alone(&compiling, &work, io::stdin().lock());
        let Compilation { kept_rights, made } = done.map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => Failure::told(Exit::NoMemory),
            _ => Failure::usage(error.to_string()),
        })?;
        let made = made.map_err(|words| {
            output::diagnostics(&words);
            Failure::told(Exit::Failed)
        })?;
        let mut written = output::Reply::raw();
        written.part(&made)?;
        written.end()?;
        if !kept_rights.is_empty() {
            output::diagnostics(&kept_rights.join("; "));
        }
        Ok(())
    }
}
