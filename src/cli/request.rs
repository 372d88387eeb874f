//! A request as typed: a command, its body and its options.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::exit::Failure;
use super::output::Reply;
use crate::client::{Request, RequestError};
use crate::config::TimeSpan;
use crate::files::read_named;
use crate::text::InvalidText;

/// Maximum size of a body on any server.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// Options of every request of a call.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RequestOptions {
    /// Time limit for the command, such as 500ms or 2s, and for connecting (at least 2s)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    /// Send this header with the command; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(super) headers: Vec<(String, String)>,
    /// Print the reply's bytes unchanged, even to a terminal (by default, control characters are escaped on a
    /// terminal, and text gets a final newline)
    #[arg(long)]
    pub(super) raw: bool,
}

/// Builds the request of a command as typed, with a body from a file.
pub(super) fn request(command: &[String], body: Option<&Path>) -> Result<Request, Failure> {
    // A misspelled option of the subcommand must not become a command.
    if let Some(option) = command.first().filter(|first| first.starts_with('-')) {
        let advice = "see --help; a command of such a name can be sent at the prompt of `lictor call`";
        return Err(Failure::usage(format!("there is no option {option}: {advice}")));
    }
    let request = Request::from_arguments(command).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(match body {
        Some(path) => request.body(read_body(path)?),
        None => request,
    })
}

impl RequestOptions {
    /// Applies these options to a request.
    pub(super) fn applied(&self, mut request: Request) -> Result<Request, RequestError> {
        for (name, value) in &self.headers {
            request = request.header(name, value)?;
        }
        Ok(match self.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        })
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn reply(&self) -> Reply {
        if self.raw { Reply::raw() } else { Reply::text() }
    }
}

pub(super) fn read_body(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.to_string())
    } else {
        read_named(path, MAX_BODY_BYTES).map_err(|fault| fault.what())
    };
    read.map_err(|error| Failure::usage(format!("cannot read the body {}: {error}", path.display())))
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = time_span(text)?;
    if time.is_zero() { Err("a command needs some time".to_owned()) } else { Ok(time) }
}

/// Parses a time in the config file's notation.
pub(super) fn time_span(text: &str) -> Result<Duration, String> {
    TimeSpan::try_from(text.to_owned()).map(TimeSpan::duration).map_err(InvalidText::in_full)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'Name: value'")?;
    Ok((name.to_owned(), value.to_owned()))
}
