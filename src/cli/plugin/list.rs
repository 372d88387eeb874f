//! `lictor plugin list`: the plugins of a config.

use serde_json::{Value, json};

use super::{Failure, output};
use crate::app::granted;
use crate::cli::config_file::{ConfigFile, load_named_config};
use crate::config::{Plugin, PluginName};

/// List the plugins in the config file
///
/// Shows the component, the commands and the grants of each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin list
  lictor plugin list --json")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = load_named_config(&self.config.path)?.config;
        let enabled = config.plugins.iter().map(|(name, plugin)| (name, Some(plugin)));
        let mut listed: Vec<_> =
            enabled.chain(config.disabled.plugins.keys().map(|name| (name, None))).collect();
        listed.sort_by_key(|(name, _)| *name);
        if self.json {
            let plugins: Vec<_> = listed.iter().map(|(name, plugin)| in_json(name, *plugin)).collect();
            return output::json(&json!({ "plugins": plugins }));
        }
        let width = listed.iter().map(|(name, _)| name.as_ref().len()).max().unwrap_or_default();
        let line = |(name, plugin): &(&PluginName, Option<&Plugin>)| {
            format!("{name:width$}  {}", plugin.map_or_else(|| "disabled".to_owned(), in_words))
        };
        let lines: Vec<_> = listed.iter().map(line).collect();
        match lines.is_empty() {
            true => output::line("no plugins; `lictor plugin add FILE` adds one"),
            false => output::line(&lines.join("\n")),
        }
    }
}

fn in_words(plugin: &Plugin) -> String {
    let commands: Vec<_> = plugin.commands.iter().map(AsRef::<str>::as_ref).collect();
    let mut parts = vec![plugin.component.display().to_string(), format!("commands {}", commands.join(", "))];
    let granted = granted(plugin);
    if !granted.is_empty() {
        let keys: Vec<_> = granted.keys().map(String::as_str).collect();
        parts.push(format!("grants {}", keys.join(", ")));
    }
    if plugin.sha256.is_some() {
        parts.push("pinned".to_owned());
    }
    parts.join("; ")
}

fn in_json(name: &PluginName, plugin: Option<&Plugin>) -> Value {
    let Some(plugin) = plugin else { return json!({ "name": name.as_ref(), "enabled": false }) };
    let commands: Vec<_> = plugin.commands.iter().map(AsRef::<str>::as_ref).collect();
    json!({
        "name": name.as_ref(),
        "enabled": true,
        "component": plugin.component.display().to_string(),
        "sha256": plugin.sha256.map(|sha256| base16ct::lower::encode_string(&sha256)),
        "instances": plugin.instances.as_str(),
        "commands": commands,
        "grants": granted(plugin),
        "place": plugin.place.to_string(),
    })
}
