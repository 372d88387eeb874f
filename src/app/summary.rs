//! The text by which `lictor check` describes a config that may be served.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use super::plugins::Plugins;
use crate::authz::PermissionPattern;
use crate::config::{Admin, AdminAddress, Config, Telemetry};
use crate::identity::Utc;

pub(super) fn summary(config: &Config, plugins: &Plugins) -> String {
    let mut text = format!("{}: ok\n", config.path.display());
    let addresses: Vec<_> = config.server.listen.iter().map(ToString::to_string).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  listens on {}", addresses.join(", "));
    for (shows, at) in admin(&config.admin).into_iter().filter(|(_, at)| !at.is_empty()) {
        let _ = writeln!(text, "  shows {shows} on {}", at.join(", "));
    }
    if let Some(Telemetry { otlp, sample }) = &config.telemetry {
        let _ = writeln!(text, "  sends traces of {} of the requests to {}", sample.value(), otlp.url);
    }
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

/// The addresses of `[admin]` by what they show.
fn admin(admin: &Admin) -> [(&'static str, Vec<String>); 3] {
    let listen = admin.listen.iter().map(|address| match address {
        AdminAddress::Socket(path) => format!("unix:{}", path.display()),
        AdminAddress::Loopback(address) => address.to_string(),
    });
    let shown = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect();
    [
        ("metrics and health", listen.collect()),
        ("metrics and health to clients", shown(&admin.tls_listen)),
        ("health", shown(&admin.health)),
    ]
}

/// Shows a pattern so that its words are not taken for several patterns.
fn shown(pattern: &PermissionPattern) -> String {
    if pattern.as_ref().contains(' ') { format!("`{pattern}`") } else { pattern.to_string() }
}

fn switched_off(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let plugins = config.disabled.plugins.keys().map(|name| ("plugin", name.as_ref()));
    plugins.chain(config.disabled.clients.keys().map(|name| ("client", name.as_ref())))
}
