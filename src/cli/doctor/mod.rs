//! `lictor doctor`: the config, the machine and the running server examined together.

pub(super) mod server;

use serde_json::{Value, json};

use super::config_file::{ConfigFile, want_file};
use super::{Exit, Failure, output};
use crate::app::{self, Finding, Seen, Verdict};
use crate::config::{self, Loaded};

/// Examine the config, this machine and the running server, and say what to do
///
/// Does everything that `check` does; then looks at the user, the clock, limits, disks and addresses, and
/// asks the server if it runs. Changes nothing, except that it compiles plugins into `cache`, as `check`
/// does. Run it as the server's user. Ends with 1 if something will not work, with 2 if the config is faulty,
/// and with 0 if there are only warnings.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor doctor
  runuser -u lictor -- lictor doctor --config /etc/lictor/server.toml
  lictor doctor --json | jq '.findings[] | select(.verdict != \"ok\")'")]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (findings, exit) = examine(&self.config)?;
        if self.json {
            output::json(&to_json(&findings))?;
        } else {
            output::line(&to_text(&findings))?;
        }
        if exit == Exit::Done { Ok(()) } else { Err(Failure::told(exit)) }
    }
}

/// Examines everything; also returns the exit code that the findings deserve.
pub(super) fn examine(file: &ConfigFile) -> Result<(Vec<Finding>, Exit), Failure> {
    want_file(&file.path)?;
    let own = file.want();
    // A config that others may have written chooses neither the server nor the key.
    let look = |loaded: &Loaded| match &own {
        Ok(()) => server::look(loaded),
        Err(failure) => {
            let why = failure.report().unwrap_or("others may have written it").to_owned();
            (Seen::Unasked, vec![Finding::fault("config", why)])
        }
    };
    let (findings, exit) = match config::load_to_check(&file.path) {
        Ok(loaded) => {
            let (seen, of_server) = look(&loaded);
            (app::examine(&loaded, seen).into_iter().chain(of_server).collect(), Exit::Failed)
        }
        Err(faults) => {
            let mut findings = vec![Finding::fault("config", faults.to_string().trim_end().to_owned())];
            // Whatever does not depend on the faults is examined all the same.
            if let Ok(loaded) = config::load_of_anybody(&file.path) {
                let (seen, of_server) = look(&loaded);
                findings.extend(app::machine(&loaded, seen).into_iter().chain(of_server));
            }
            (findings, Exit::Usage)
        }
    };
    let is_faulty = findings.iter().any(|finding: &Finding| finding.verdict == Verdict::Fault);
    Ok((findings, if is_faulty { exit } else { Exit::Done }))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Fault => "fault",
    }
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

/// Returns the findings as lines, and their sum.
pub(super) fn to_text(findings: &[Finding]) -> String {
    let line = |Finding { subject, verdict, what, help }: &Finding| {
        let help = help.iter().map(|help| format!("\n                   {help}")).collect::<String>();
        format!("{:<8} {subject:<9} {}{help}\n", word(*verdict), what.replace('\n', "\n                   "))
    };
    let lines: String = findings.iter().map(line).collect();
    let (faults, warnings) = (count(findings, Verdict::Fault), count(findings, Verdict::Warning));
    format!("{lines}faults: {faults}, warnings: {warnings}")
}

/// Returns the findings as a JSON object.
pub(super) fn to_json(findings: &[Finding]) -> Value {
    let each = findings.iter().map(|Finding { subject, verdict, what, help }| {
        json!({ "subject": subject, "verdict": word(*verdict), "what": what, "help": help })
    });
    json!({
        "findings": each.collect::<Vec<_>>(),
        "faults": count(findings, Verdict::Fault),
        "warnings": count(findings, Verdict::Warning),
    })
}
