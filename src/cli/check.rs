//! `lictor check`: everything that `serve` does before it opens a socket.

use std::path::{Path, PathBuf};

use super::access::{self, Form};
use super::config_file::{ConfigFile, load_by};
use super::{Exit, Failure, output};
use crate::app;
use crate::config::{self, Config, TimeSpan};
use crate::text::InvalidText;

/// Check a config file and everything it refers to, without serving
///
/// Reads the certificates, compiles every plugin and checks its imports. Opens no socket.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor check
  lictor check --config /etc/lictor/server.toml && systemctl reload lictor
  lictor check --diff server.toml.before        show changes since then, and which need a restart
  lictor check --as ci deploy staging x         show whether the client ci may run this, and by which line
  lictor check --who deploy                     show every client that may run this, with any arguments
  lictor check --unused 30d                     show what nobody has used for 30 days")]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Print each key that differs from this config, and whether a reload applies it (live) or a restart
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Show whether this client may run the command, by which line of which file, or which line would allow
    /// it; runs nothing, and ends with 1 if it may not
    #[arg(
        long = "as",
        value_name = "CLIENT",
        group = "question",
        requires = "command",
        conflicts_with = "diff"
    )]
    client: Option<String>,
    /// Show every client that may run the command, and by which line
    #[arg(long, group = "question", requires = "command", conflicts_with = "diff")]
    who: bool,
    /// Show the permissions and grants that nobody has used for this time, such as 30d, according to the
    /// record of the server that serves this config
    #[arg(long, value_name = "TIME", value_parser = time, group = "question", conflicts_with_all = ["diff", "command"])]
    unused: Option<TimeSpan>,
    /// Print one JSON document
    #[arg(long, requires = "question")]
    json: bool,
    /// Command and arguments for --as and --who
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = if self.json { Form::Json } else { Form::Text };
        if let Some(client) = &self.client {
            return access::of_client(&self.to_ask()?, client, &self.command, form);
        }
        if self.who {
            return access::of_all(&self.to_ask()?, &self.command, form);
        }
        if let Some(period) = self.unused {
            let unused = app::unused(&self.to_ask()?, period);
            let unused = unused.map_err(|error| Failure::failed(format!("{error:#}")))?;
            return match form {
                Form::Json => output::json(&unused.to_json()),
                Form::Text => output::line(&unused.to_string()),
            };
        }
        if let Some(word) = self.command.first() {
            let advice = "a command needs --as CLIENT or --who; a config file is named by --config";
            return Err(Failure::usage(format!("what is {word}? {advice}")));
        }
        let loaded = load_by(config::load_to_check, &self.config.path)?;
        warn(&loaded.warnings);
        let checked = app::check(&loaded.config).map_err(|error| Failure::usage(format!("{error:#}")))?;
        warn(&checked.warnings);
        match &self.diff {
            None => output::line(checked.summary.trim_end_matches('\n')),
            Some(old) => {
                let old = load_old(old)?;
                let changes = config::diff(&old, &loaded.config);
                let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
                if lines.is_empty() {
                    output::line("nothing has changed")
                } else {
                    output::line(&lines.join("\n"))
                }
            }
        }
    }
}

impl Check {
    /// Loads the config that is asked about. Its warnings are those of a check without a question.
    fn to_ask(&self) -> Result<Config, Failure> {
        Ok(load_by(config::load_to_check, &self.config.path)?.config)
    }
}

fn time(text: &str) -> Result<TimeSpan, String> {
    TimeSpan::unused(text).map_err(InvalidText::in_full)
}

/// Loads the config that `--diff` names; it only has to be readable.
fn load_old(path: &Path) -> Result<Config, Failure> {
    if !path.exists() {
        let advice = "name the config file as it was before the change";
        return Err(Failure::usage(format!("there is no {}, which --diff names: {advice}", path.display())));
    }
    let loaded = config::load_to_compare(path).map_err(|faults| {
        output::note(&format!("the old config, {}, which --diff names, has faults:", path.display()));
        output::faults(|style| faults.render(style));
        Failure::told(Exit::Usage)
    })?;
    Ok(loaded.config)
}

pub(super) fn warn(warnings: &[config::Fault]) {
    for warning in warnings {
        output::faults(|style| warning.render(style));
    }
}
