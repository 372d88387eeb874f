//! `lictor client list`: the clients of a config.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::config_file::{ConfigFile, load_named_config};
use crate::cli::{Failure, output};
use crate::config::{Client, ClientName, OwnLimits};

/// List the clients in the config file
///
/// Shows how each is identified, its roles, the commands and limits of its own, and when it expires.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor client list
  lictor client list --json")]
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
        let enabled = config.clients.iter().map(|(name, client)| Listed::new(name, client));
        let disabled = config.disabled.clients.keys().map(Listed::disabled);
        let mut listed: Vec<_> = enabled.chain(disabled).collect();
        listed.sort_by_key(|listed| listed.name);
        if self.json {
            let clients: Vec<_> = listed.iter().map(Listed::json).collect();
            return output::json(&json!({ "clients": clients }));
        }
        let width = listed.iter().map(|listed| listed.name.as_ref().len()).max().unwrap_or_default();
        let lines: Vec<_> = listed.iter().map(|listed| listed.line(width)).collect();
        match lines.is_empty() {
            true => output::line("no clients; `lictor client add NAME` adds one"),
            false => output::line(&lines.join("\n")),
        }
    }
}

/// A client in the list; without its config if it is disabled.
struct Listed<'c> {
    name: &'c ClientName,
    client: Option<&'c Client>,
}

impl<'c> Listed<'c> {
    fn new(name: &'c ClientName, client: &'c Client) -> Self {
        Self { name, client: Some(client) }
    }

    fn disabled(name: &'c ClientName) -> Self {
        Self { name, client: None }
    }

    fn line(&self, width: usize) -> String {
        let name = self.name;
        let Some(client) = self.client else { return format!("{name:width$}  disabled") };
        let certificates = client.certificates.iter().map(|path| path.display().to_string());
        // Those of the files come last.
        let by_hash = client.thumbprints.len().saturating_sub(client.certificates.len());
        let hashes = client.thumbprints.iter().take(by_hash).map(|pin| format!("{:?}", pin.thumbprint));
        let uris = client.uris.iter().map(ToString::to_string);
        let mut parts = vec![certificates.chain(hashes).chain(uris).collect::<Vec<_>>().join(", ")];
        if !client.roles.is_empty() {
            let roles: Vec<_> = client.roles.iter().map(ToString::to_string).collect();
            parts.push(format!("roles {}", roles.join(", ")));
        }
        let commands: Vec<_> =
            client.commands.iter().map(|pattern| format!("\"{}\"", pattern.value)).collect();
        if !commands.is_empty() {
            parts.push(format!("commands {}", commands.join(", ")));
        }
        let limits: Vec<_> =
            limits(&client.limits).iter().map(|(key, limit)| format!("{key} {limit}")).collect();
        if !limits.is_empty() {
            parts.push(format!("limits {}", limits.join(", ")));
        }
        for (words, time) in [("expires", client.expires), ("report until", client.report_until)] {
            parts.extend(time.and_then(shown_time).map(|time| format!("{words} {time}")));
        }
        format!("{name:width$}  {}", parts.join("; "))
    }

    fn json(&self) -> Value {
        let Some(client) = self.client else {
            return json!({ "name": self.name.as_ref(), "enabled": false });
        };
        let texts = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>();
        json!({
            "name": self.name.as_ref(),
            "enabled": true,
            "certificates": texts(&mut client.certificates.iter().map(|path| path.display().to_string())),
            "thumbprints": texts(&mut client.thumbprints.iter().map(|pin| pin.thumbprint.to_string())),
            "uris": texts(&mut client.uris.iter().map(ToString::to_string)),
            "roles": texts(&mut client.roles.iter().map(ToString::to_string)),
            "commands": texts(&mut client.commands.iter().map(|pattern| pattern.value.to_string())),
            "limits": limits(&client.limits),
            "expires": client.expires.and_then(shown_time),
            "report_until": client.report_until.and_then(shown_time),
            "place": client.place.to_string(),
        })
    }
}

/// Writes a time as the config does.
fn shown_time(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// The limits of a client's own, by their keys.
fn limits(own: &OwnLimits) -> Map<String, Value> {
    let OwnLimits {
        requests_per_second,
        concurrent_commands,
        connections,
        idempotency_keys,
        idempotency_bytes,
    } = own;
    let all = [
        ("requests_per_second", requests_per_second.map(Value::from)),
        ("concurrent_commands", concurrent_commands.map(Value::from)),
        ("connections", connections.map(Value::from)),
        ("idempotency_keys", idempotency_keys.map(Value::from)),
        ("idempotency_bytes", idempotency_bytes.map(Value::from)),
    ];
    all.into_iter().filter_map(|(key, limit)| Some((key.to_owned(), limit?))).collect()
}
