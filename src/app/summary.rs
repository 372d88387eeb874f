//! The text by which `lictor check` describes a config that may be served.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::plugins::Plugins;
use crate::authz::PermissionPattern;
use crate::config::Config;
use crate::identity::Utc;

pub(super) fn summary(config: &Config, plugins: &Plugins) -> String {
    let mut text = format!("{}: ok\n", config.path.display());
    let addresses: Vec<_> = config.server.listen.iter().map(ToString::to_string).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  listens on {}", addresses.join(", "));
    for (name, _) in plugins.iter() {
        let commands = config.plugins.get(name).map(|plugin| plugin.commands.as_slice()).unwrap_or_default();
        let commands: Vec<_> = commands.iter().map(AsRef::<str>::as_ref).collect();
        let _ = writeln!(text, "  plugin {name}: {}", commands.join(", "));
    }
    for (name, client) in &config.clients {
        let patterns: Vec<_> = client.permissions.patterns().map(shown).collect();
        let uris = match client.uris.len() {
            0 => String::new(),
            uris => format!(", {uris} URI(s)"),
        };
        let pins = client.thumbprints.len();
        let expires = client.expires.map_or_else(String::new, |at| format!(", expires {}", Utc(at)));
        let _ = writeln!(
            text,
            "  client {name}: {pins} certificate(s){uris}{expires}, may run {}",
            patterns.join(" ")
        );
        if let Some(until) = client.report_until.filter(|until| SystemTime::now() < *until) {
            let _ = writeln!(text, "    and until {} all commands of plugins, reported", Utc(until));
        }
    }
    for (kind, name) in switched_off(config) {
        let _ = writeln!(text, "  {kind} {name}: switched off");
    }
    for authority in config.identity.authorities.iter().flat_map(|file| &file.authorities) {
        let _ = writeln!(text, "  authority {}: sha256 {}", authority.name(), authority.thumbprint());
    }
    for list in config.identity.revocation_lists.iter().flat_map(|file| &file.lists) {
        let _ = writeln!(text, "  revocation list of {}: {list}", list.issuer());
    }
    text
}

/// Shows a pattern so that its words are not taken for several patterns.
fn shown(pattern: &PermissionPattern) -> String {
    if pattern.as_ref().contains(' ') { format!("`{pattern}`") } else { pattern.to_string() }
}

fn switched_off(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let plugins = config.disabled.plugins.keys().map(|name| ("plugin", name.as_ref()));
    plugins.chain(config.disabled.clients.keys().map(|name| ("client", name.as_ref())))
}
