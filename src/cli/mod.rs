//! The command line: one file a subcommand. The only place that prints, asks, or chooses exit codes.
//!
//! In a subcommand, a fault of the command line, the config or the other end is a `Failure`, reported once,
//! here.

mod access;
mod bench;
mod call;
mod cert;
mod check;
mod client;
mod compile;
mod config_file;
mod doctor;
mod exit;
mod init;
mod nagios;
mod output;
mod paste;
mod plugin;
mod prompt;
mod question;
mod reload;
mod request;
mod revision;
mod running;
mod schema;
mod serve;
mod session;
mod state;
mod status;
mod support_bundle;
mod target;
mod trust;

use std::ffi::OsStr;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::Exit;
use exit::Failure;

/// A plugin-hosting command server: clients authenticate with a TLS certificate and run commands in sandboxed
/// WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "lictor", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Init),
    Serve(serve::Serve),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Compile(compile::Compile),
    Call(call::Call),
    Reload(reload::Reload),
    Status(status::Status),
    SupportBundle(support_bundle::SupportBundle),
    Schema(schema::Schema),
    Bench(Box<bench::Bench>),
    #[command(subcommand)]
    Cert(cert::Cert),
    #[command(subcommand)]
    Client(client::Client),
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    #[command(subcommand)]
    State(state::State),
}

const EXAMPLES: &str = "\
Examples:
  lictor init                 create a config, certificates and an example plugin here
  lictor serve                start the server
  lictor call echo hello      run a command on the server (in another terminal)
  lictor call                 run commands at a prompt
  lictor bench echo hello     measure throughput and latency

Exit codes: 0 done, 1 the command failed, 2 usage or config, 3 could not connect or authenticate.";

/// Parses this process's command line, or ends it with what is wrong. An empty environment variable counts as
/// unset.
///
/// # Errors
///
/// The exit code, where what is wrong was told as a monitoring plugin does.
pub fn parse() -> Result<Cli, Exit> {
    let matches = without_empty_variables(Cli::command()).try_get_matches();
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .or_else(|error| nagios::tell_usage(&error).map_or_else(|| error.exit(), Err))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let arguments = command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_empty(name) => argument.env(None::<&'static str>),
        _ => argument,
    });
    arguments.mut_subcommands(without_empty_variables)
}

/// Runs the command line.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    // A panic's message may quote foreign text.
    std::panic::set_hook(Box::new(|panic| {
        output::note(&format!("a bug in lictor; please report it: {panic}"))
    }));
    let done = match cli.verb {
        Verb::Init(verb) => verb.run(),
        Verb::Serve(verb) => verb.run(),
        Verb::Check(verb) => verb.run(),
        Verb::Doctor(verb) => verb.run(),
        Verb::Compile(verb) => verb.run(),
        Verb::Call(verb) => verb.run(),
        Verb::Reload(verb) => verb.run(),
        Verb::Status(verb) => verb.run(),
        Verb::SupportBundle(verb) => verb.run(),
        Verb::Schema(verb) => verb.run(),
        Verb::Bench(verb) => verb.run(),
        Verb::Cert(verb) => verb.run(),
        Verb::Client(verb) => verb.run(),
        Verb::Plugin(verb) => verb.run(),
        Verb::State(verb) => verb.run(),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => output::failure(&failure),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Parses a command line.
    pub(super) fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("lictor").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_examples() {
        fn visit(command: &clap::Command, verbs: &mut usize) {
            for verb in command.get_subcommands() {
                visit(verb, verbs);
                if verb.has_subcommands() {
                    continue;
                }
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:\n  lictor "), "{}: {help}", verb.get_name());
                *verbs += 1;
            }
        }
        let mut verbs = 0;
        visit(&Cli::command(), &mut verbs);
        assert!(verbs >= 6);
    }

    #[test]
    fn config_is_server_toml_unless_said() {
        for (line, path) in [("serve", "server.toml"), ("serve --config a/b.toml", "a/b.toml")] {
            let Verb::Serve(serve) = parse(line).unwrap().verb else { panic!("{line}") };
            assert_eq!(serve.config.path, Path::new(path));
        }
        let Verb::Check(check) = parse("check").unwrap().verb else { panic!() };
        assert_eq!(check.config.path, Path::new("server.toml"));
    }

    #[test]
    fn usage_errors_and_help_have_their_exit_codes() {
        for (line, code) in
            [("", 2), ("nonsense", 2), ("serve extra", 2), ("cert new", 2), ("--help", 0), ("-V", 0)]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), code, "{line}");
        }
    }
}
