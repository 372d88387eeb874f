//! `lictor plugin run`: one command of a plugin, without a server.

use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, bytes, output};
use crate::app::{self, TrialRun};
use crate::cli::call::{RequestOptions, read_body};
use crate::client::{Request, private_file};
use crate::config::ByteSize;

/// Run one command of a component, without a server, and show what it cost
///
/// The plugin gets everything that can be granted. What it prints and logs goes to standard error, as do the figures.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin run plugins/echo.wasm echo hello
  lictor plugin run greet.wasm --config greeting=hello greet you
  lictor plugin run resize.wasm --body picture.png resize 100 > small.png")]
pub(in crate::cli) struct Run {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A value that the plugin reads through wasi:config
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// The client that the plugin sees
    #[arg(long, value_name = "NAME", default_value = "dev")]
    client: String,
    /// The most memory that it may use
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    memory: ByteSize,
    /// A file for a core dump, if the plugin traps: its memory and its stack, for a debugger
    #[arg(long, value_name = "FILE")]
    core_dump: Option<PathBuf>,
    /// A file to give as the request's body; - is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    request: RequestOptions,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// How long a command may take where --timeout says nothing: as in a config file.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request =
            Request::from_arguments(&self.command).map_err(|error| Failure::usage(error.to_string()))?;
        let request = self.request.applied(request).map_err(|error| Failure::usage(error.to_string()))?;
        let request = match &self.body {
            Some(path) => request.body(read_body(path)?),
            None => request,
        };
        let request = request.encode().map_err(|error| Failure::usage(error.to_string()))?;
        let trial = app::try_out(&TrialRun {
            component: self.file,
            client: self.client,
            config: self.config.into_iter().collect(),
            memory_bytes: usize::try_from(self.memory.bytes()).unwrap_or(usize::MAX),
            timeout: self.request.timeout().unwrap_or(DEFAULT_TIMEOUT),
            core_dump: self.core_dump.is_some(),
            request,
        });
        let trial = trial.map_err(|error| Failure::failed(format!("{error:#}")))?;
        output::diagnostics(&format!(
            "instance {:.1?}, call {:.1?} ({:.1?} computing), memory {}",
            trial.instantiation,
            trial.wall,
            trial.cpu,
            bytes(trial.memory_bytes)
        ));
        if let (Some(path), Some(dump)) = (&self.core_dump, &trial.core_dump) {
            private_file::replace(path, dump)
                .map_err(|error| Failure::failed(format!("can't write {}: {error}", path.display())))?;
            output::diagnostics(&format!("core dump of {} in {}", bytes(dump.len()), path.display()));
        }
        match trial.answer {
            Ok(body) => {
                let mut reply = self.request.reply();
                reply.part(&body)?;
                reply.end()
            }
            Err(error) => {
                Err(Failure::failed(format!("{} ({}, {})", error.message, error.code, error.outcome)))
            }
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::try_from(text.to_owned()).map_err(|refusal| refusal.to_string())
}
