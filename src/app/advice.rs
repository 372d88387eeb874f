//! What an operator should look at in a config that may be served, beyond what its own lines are warned of: one list, which
//! `lictor check` prints, and which the start and each reload log.

use std::time::SystemTime;

use super::plugins::Plugins;
use super::{addresses, dates, memory};
use crate::config::{Config, Fault};

/// All that `config`, which names `plugins`, should be looked at for at `now`.
pub(super) fn advice(config: &Config, plugins: &Plugins, now: SystemTime) -> Vec<Fault> {
    let mut found = undescribed(config, plugins);
    found.extend(addresses::advice(&config.server.listen));
    found.extend(dates::advice(config, now));
    found.extend(memory::advice(config));
    found.iter().map(|words| Fault::warning(&config.path, words, None)).collect()
}

/// Commands that go to a plugin which does not describe them.
fn undescribed(config: &Config, plugins: &Plugins) -> Vec<String> {
    let mut found = Vec::new();
    for (name, plugin) in plugins.iter() {
        let commands = config.plugins.get(name).map(|plugin| plugin.commands.as_slice()).unwrap_or_default();
        let is_described =
            |command: &str| plugin.commands().iter().any(|described| described.name == *command);
        for command in commands.iter().filter(|command| !is_described(command.as_ref())) {
            found.push(format!(
                "`plugins.{name}.commands` holds `{command}`, of which the plugin's `describe` says nothing"
            ));
        }
    }
    found
}

/// Logs warnings of a config that is served, or is to be.
pub(super) fn log(warnings: &[Fault]) {
    for warning in warnings {
        tracing::warn!(target: "lictor::reload", warning = warning.line(), "a config warning");
    }
}
