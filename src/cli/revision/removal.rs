//! Removal of a section from a config file: `client rm` and `plugin rm`.

use std::time::SystemTime;

use super::{RevisionOptions, SectionKind};
use crate::app::may;
use crate::cli::running::{Edit, Running};
use crate::cli::target::RELOAD;
use crate::cli::{Failure, output};
use crate::config::Config;

impl RevisionOptions {
    /// Takes a section out of the config file.
    pub(in crate::cli) fn remove(&self, kind: SectionKind, name: &str) -> Result<(), Failure> {
        let (original, edited) = self.originals()?.with(kind, name)?;
        original.check(&edited)?;
        original.show(&edited)?;
        let path = original.path().display();
        if original.is_removed_by(&edited) {
            output::line(&format!("{path} is removed, as nothing is left in it"))?;
        }
        let (effect, until_reload, leaving) = match kind {
            SectionKind::Client => (
                format!("the connections of {name} are closed and its commands stopped"),
                format!("still admits {name}"),
                Some(name),
            ),
            SectionKind::Plugin => (
                format!(
                    "new requests for the commands of {name} are refused as unknown; those that run go on"
                ),
                format!("still runs the commands of {name}"),
                None,
            ),
        };
        output::line(&format!("once the server has reloaded, {effect}"))?;
        if let Some(loss) = leaving.zip(original.config()).and_then(|(name, config)| loss(config, name)) {
            output::note(&format!("warning: {loss}"));
        }
        self.confirm()?;
        let running = Running::before(original.whole(), Edit { leaving, until_reload: &until_reload });
        original.replace(&edited)?;
        output::line(&format!("removed the {kind} {name} from {path}"))?;
        running.reload()
    }
}

/// The commands by which verbs reach a server, each with the words for a config in which no client may run
/// it.
const BY_VERBS: [(&str, &str); 2] = [
    (RELOAD, "edits are put in force by SIGHUP (`systemctl reload lictor`)"),
    ("@status", "`lictor status` is refused"),
];

/// Says in one line which verbs no client may use once `leaving` is gone, if this one may and no other.
fn loss(config: &Config, leaving: &str) -> Option<String> {
    let now = SystemTime::now();
    let is_last = |command: &str| {
        let able = config.clients.iter().filter(|(_, client)| {
            client.expires.is_none_or(|expires| now < expires) && may(client, &[command.to_owned()])
        });
        able.map(|(name, _)| name.as_ref()).eq([leaving])
    };
    let lost: Vec<_> = BY_VERBS.into_iter().filter(|(command, _)| is_last(command)).collect();
    let (commands, effects): (Vec<_>, Vec<_>) = lost.into_iter().unzip();
    let (commands, effects) = (commands.join(" and "), effects.join(", and "));
    (!commands.is_empty())
        .then(|| format!("{leaving} is the last client that may run {commands}: without it {effects}"))
}
