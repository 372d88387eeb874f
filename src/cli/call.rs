//! `lictor call`: runs commands on a server.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use super::output::Reply;
use super::request::{RequestOptions, request};
use super::session::{Interrupt, Session};
use super::target::{TargetOptions, Wanted};
use super::{Failure, prompt};
use crate::client::Request;

/// Run a command on a server, or several at a prompt
///
/// In a folder with a server.toml, calls that server, as the first client (by name) whose key is here and
/// that may run the command; use --cert FILE for another client. Elsewhere, give the server and the client's
/// certificate. The thumbprint of an unknown server is shown, and the server is trusted if you confirm it.
///
/// Without a command, shows a prompt. If standard input is not a terminal, runs the commands in it, one per
/// line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor call echo hello
  lictor call --timeout 500ms kv-get colour
  lictor call --body picture.png put picture
  lictor call --idempotency-key invoice-17 pay 17
  lictor call --server cmd.example.com --cert laptop.pem echo hello
  lictor call --raw export > dump.bin
  lictor call                       a prompt
  lictor call < commands.txt        one command a line")]
pub(super) struct Call {
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    options: RequestOptions,
    /// Send this file as the request's body; - is standard input
    #[arg(long, value_name = "FILE", requires = "command")]
    body: Option<PathBuf>,
    /// Run the command at most once, even if it is sent repeatedly with this key
    #[arg(long, value_name = "KEY", requires = "command")]
    idempotency_key: Option<String>,
    /// Command and arguments; everything after the command is passed to it, including options
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Call {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.command.is_empty() {
            return if io::stdin().is_terminal() {
                prompt::converse(self.target.resolve(Wanted::Any)?, &self.options)
            } else {
                prompt::run_lines(self.target.resolve(Wanted::Any)?, &self.options, io::stdin().lock())
            };
        }
        let request = self.request()?;
        let target = self.target.resolve(Wanted::Command(&self.command))?;
        let mut session = Session::open(target, Interrupt::Ends, self.options.timeout())?;
        let done = session.run(request, self.options.timeout(), self.options.reply());
        session.close();
        done
    }

    /// Builds the request, before any connection is made.
    fn request(&self) -> Result<Request, Failure> {
        let request = request(&self.command, self.body.as_deref())?;
        let request = self.options.applied(request).and_then(|request| match &self.idempotency_key {
            Some(key) => request.idempotency_key(key),
            None => Ok(request),
        });
        request.map_err(|error| Failure::usage(error.to_string()))
    }
}

/// Runs one built-in command without arguments, with these headers, and prints its reply.
pub(super) fn ask(target: TargetOptions, command: &str, headers: &[(&str, &str)]) -> Result<(), Failure> {
    let mut request = request(&[command.to_owned()], None)?;
    for (name, value) in headers {
        request = request.header(name, value).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let target = target.resolve(Wanted::BuiltIn(command))?;
    let mut session = Session::open(target, Interrupt::Ends, None)?;
    let done = session.run(request, None, Reply::text());
    session.close();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Exit, Verb};
    use clap::Parser;

    fn parse(arguments: &[&str]) -> Result<Call, clap::Error> {
        let cli = Cli::try_parse_from(["lictor", "call"].iter().chain(arguments))?;
        let Verb::Call(call) = cli.verb else { panic!("{cli:?}") };
        Ok(call)
    }

    fn encoded(arguments: &[&str]) -> String {
        String::from_utf8(parse(arguments).unwrap().request().unwrap().encode().unwrap()).unwrap()
    }

    #[test]
    fn what_stands_behind_the_command_is_its_own() {
        assert_eq!(
            encoded(&["echo", "--raw", "-x", "--server", "a b"]),
            "echo --raw -x --server \"a b\"\r\n\r\n"
        );
        assert_eq!(encoded(&["--raw", "echo", "--", "-"]), "echo -- -\r\n\r\n");
        let call = parse(&["--raw", "echo", "--timeout", "1s"]).unwrap();
        assert!(call.options.raw && call.options.timeout.is_none());
    }

    #[test]
    fn options_become_headers() {
        let arguments = ["--timeout", "1s", "--header", "A: b c", "--header", "d:e", "echo"];
        assert_eq!(encoded(&arguments), "echo\r\nA: b c\r\nd: e\r\nTimeout-Ms: 1000\r\n\r\n");
        assert_eq!(encoded(&["--idempotency-key", "k", "pay"]), "pay\r\nIdempotency-Key: k\r\n\r\n");
    }

    #[test]
    fn a_body_is_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "bytes").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(encoded(&["--body", path, "put"]), "put\r\nSize: 5\r\n\r\nbytes");
        assert!(parse(&["--body", path]).is_err() && parse(&["--idempotency-key", "k"]).is_err());
        assert_eq!(parse(&["--body", "no/such", "put"]).unwrap().request().unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn what_is_wrong_with_the_command_line_is_a_usage_error() {
        for arguments in [
            &["--timeout", "soon", "echo"][..],
            &["--timeout", "0s", "echo"],
            &["--header", "nonsense", "echo"],
            &["--pin", "abc", "echo"],
            &["--server", "a b", "echo"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
        for arguments in [
            &["--tiemout", "1s", "echo"][..],
            &["--header", "Size: 1", "echo"],
            &["--idempotency-key", "a b", "echo"],
            &[""],
        ] {
            assert_eq!(parse(arguments).unwrap().request().unwrap_err().exit(), Exit::Usage, "{arguments:?}");
        }
    }
}
