//! Differences between one config and the next, key by key, and when each applies. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::narrow::only_narrowed;
use super::{
    Admin, Client, ClientName, Config, Identity, Log, Plugin, PluginName, Protocol, Role, RoleName, Server,
    State, Telemetry,
};

/// The moment a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applies {
    /// At the next reload.
    Live,
    /// At the next server start; a reload keeps the running value.
    Restart,
}

/// A key whose value has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key with its section, such as `server.listen`; `clients.NAME` for a client added or removed.
    pub key: String,
    /// The moment the new value takes effect.
    pub applies: Applies,
    /// The kind of change.
    pub kind: Kind,
}

/// The kind of change to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only the new config has the key.
    Added,
    /// Only the old config has the key.
    Removed,
    /// The value differs.
    Changed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applies = match self.applies {
            Applies::Live => "live",
            Applies::Restart => "restart",
        };
        write!(f, "{applies:<8} {:<8} {}", self.kind, self.key)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

/// Limits built into the sandbox and the accept path at server start.
const RESTART_LIMITS: &[&str] = &[
    "connections",
    "connections_per_address",
    "unauthenticated_connections",
    "unauthenticated_per_address",
    "handshakes_per_second",
    "concurrent_commands",
    "concurrent_streams",
    "plugin_memory",
    "http_requests",
    "queue",
    "queue_timeout",
];

/// Pushes a change for each field that differs. The pattern names every field, so that none is forgotten;
/// one that is no key of its own stands `beside`.
macro_rules! compare {
    ($changes:ident, $section:expr, $old:expr, $new:expr, $type:ident { $($field:ident => $key:literal $applies:ident,)* } $(beside $($beside:ident),*)?) => {{
        let $type { $($field: _,)* $($($beside: _,)*)? } = $new;
        $(if $old.$field != $new.$field {
            $changes.push(changed(format!("{}.{}", $section, $key), Applies::$applies));
        })*
    }};
}

fn changed(key: String, applies: Applies) -> Change {
    Change { key, applies, kind: Kind::Changed }
}

/// Lists what differs between `old` and `new`, section by section. The paths of the config's files are no
/// keys. Disabled entries count as absent, so disabling one removes it.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let Config {
        path: _,
        included: _,
        patterns: _,
        server,
        protocol,
        identity,
        limits,
        log,
        roles,
        clients,
        plugins,
        state,
        admin,
        telemetry,
        disabled: _,
        entries: _,
    } = new;
    compare!(changes, "server", old.server, server, Server {
        listen => "listen" Restart,
        certificate => "certificate" Live,
        private_key => "private_key" Live,
        min_tls => "min_tls_version" Live,
        drain_timeout => "drain_timeout" Live,
        cache => "cache" Restart,
        core_dumps => "core_dumps" Restart,
        watch => "watch" Restart,
    });
    compare!(changes, "protocol", old.protocol, protocol, Protocol { close_on_error => "close_on_error" Live, });
    compare!(changes, "identity", old.identity, identity, Identity {
        authorities => "authorities" Live,
        revocation_lists => "revocation_lists" Live,
    });
    for key in old.limits.differing(limits) {
        let applies = if RESTART_LIMITS.contains(&key) { Applies::Restart } else { Applies::Live };
        changes.push(changed(format!("limits.{key}"), applies));
    }
    compare!(changes, "log", old.log, log, Log {
        level => "level" Restart,
        format => "format" Restart,
        arguments => "arguments" Live,
        commands_per_second => "commands_per_second" Live,
    });
    each(&mut changes, RoleName::key, &old.roles, roles, role);
    each(&mut changes, ClientName::key, &old.clients, clients, client);
    changes.extend(only_narrowed(old, new).map(|key| changed(key, Applies::Live)));
    each(&mut changes, PluginName::key, &old.plugins, plugins, plugin);
    state_and_admin(&mut changes, old, (state, admin));
    self::telemetry(&mut changes, old.telemetry.as_ref(), telemetry.as_ref());
    changes
}

/// Compares `[state]` and `[admin]`.
fn state_and_admin(changes: &mut Vec<Change>, old: &Config, (state, admin): (&State, &Admin)) {
    compare!(changes, "state", old.state, state, State {
        engine => "engine" Restart,
        path => "path" Restart,
        file_size => "file_size" Restart,
        store_keys => "store_keys" Live,
        store_bytes => "store_bytes" Live,
    });
    compare!(changes, "admin", old.admin, admin, Admin {
        listen => "listen" Restart,
        tls_listen => "tls_listen" Restart,
        health => "health" Restart,
        client_labels => "client_labels" Live,
    });
}

/// Compares `[telemetry]`.
fn telemetry(changes: &mut Vec<Change>, old: Option<&Telemetry>, new: Option<&Telemetry>) {
    let kind = match (old, new) {
        (Some(old), Some(new)) => {
            compare!(changes, "telemetry", old, new, Telemetry {
                otlp => "otlp" Live,
                sample => "sample" Live,
            });
            return;
        }
        (None, None) => return,
        (Some(_), None) => Kind::Removed,
        (None, Some(_)) => Kind::Added,
    };
    changes.push(Change { key: "telemetry".to_owned(), applies: Applies::Live, kind });
}

/// Compares two maps: added and removed entries, and the differences of entries in both.
fn each<N: Ord, T>(
    changes: &mut Vec<Change>,
    key: fn(&N) -> String,
    old: &BTreeMap<N, T>,
    new: &BTreeMap<N, T>,
    compare: fn(&mut Vec<Change>, &str, &T, &T),
) {
    let names: BTreeSet<&N> = old.keys().chain(new.keys()).collect();
    for name in names {
        let key = key(name);
        let kind = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => {
                compare(changes, &key, old, new);
                continue;
            }
            (Some(_), None) => Kind::Removed,
            _ => Kind::Added,
        };
        changes.push(Change { key, applies: Applies::Live, kind });
    }
}

fn role(changes: &mut Vec<Change>, section: &str, old: &Role, new: &Role) {
    compare!(changes, section, old, new, Role { commands => "commands" Live, trace => "trace" Live, } beside place);
}

fn client(changes: &mut Vec<Change>, section: &str, old: &Client, new: &Client) {
    compare!(changes, section, old, new, Client {
        thumbprints => "thumbprints" Live,
        certificates => "certificates" Live,
        uris => "uris" Live,
        roles => "roles" Live,
        commands => "commands" Live,
        report_until => "report_until" Live,
        expires => "expires" Live,
        limits => "limits" Live,
    } beside permissions, trace, place);
}

fn plugin(changes: &mut Vec<Change>, section: &str, old: &Plugin, new: &Plugin) {
    compare!(changes, section, old, new, Plugin {
        component => "component" Live,
        sha256 => "sha256" Live,
        commands => "commands" Live,
        instances => "instances" Live,
        timeout => "timeout" Live,
        cpu_time => "cpu_time" Live,
        memory_bytes => "memory" Live,
        reply_bytes => "reply" Live,
        concurrency => "concurrency" Live,
        max_calls => "max_calls" Live,
        idle => "idle_timeout" Live,
        host_calls => "host_calls" Live,
        host_bytes => "host_bytes" Live,
        store_keys => "store_keys" Live,
        store_bytes => "store_bytes" Live,
        config => "config" Live,
        grants => "grants" Live,
    } beside place);
}

impl Config {
    /// Returns this config as a reload may apply it to a server that runs `running`: keys that need a restart
    /// keep their running values.
    #[must_use]
    pub fn applied_to(mut self, running: &Self) -> Self {
        let old = running.clone();
        self.server.listen = old.server.listen;
        self.server.cache = old.server.cache;
        self.server.core_dumps = old.server.core_dumps;
        self.server.watch = old.server.watch;
        self.log.level = old.log.level;
        self.log.format = old.log.format;
        self.state.engine = old.state.engine;
        self.state.path = old.state.path;
        self.state.file_size = old.state.file_size;
        self.admin = Admin { client_labels: self.admin.client_labels, ..old.admin };
        let (new, old) = (&mut self.limits, old.limits);
        new.connections = old.connections;
        new.connections_per_address = old.connections_per_address;
        new.unauthenticated_connections = old.unauthenticated_connections;
        new.unauthenticated_per_address = old.unauthenticated_per_address;
        new.handshakes_per_second = old.handshakes_per_second;
        new.concurrent_commands = old.concurrent_commands;
        new.concurrent_streams = old.concurrent_streams;
        new.plugin_memory_bytes = old.plugin_memory_bytes;
        new.http_requests = old.http_requests;
        new.queue = old.queue;
        new.queue_timeout = old.queue_timeout;
        self
    }
}

#[cfg(test)]
mod tests;
