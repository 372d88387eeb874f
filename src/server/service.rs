//! The service in force, as a reload makes it: admission, permission, routes, and limits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::rate_limit::RateLimits;
use super::traces::Traces;
use super::verify::Rechecks;
use crate::authz::Policy;
use crate::idempotency::Ledger;
use crate::identity::Roster;
use crate::plugin::{ClientLimits, Plugin};
use crate::route::{BUILT_INS, Routes};
use crate::telemetry::CommandLog;

/// The service that connections give to admitted clients.
pub struct Service {
    /// The admitted certificates.
    pub roster: Roster,
    /// Verdicts on the chains of this roster's clients that were checked anew.
    pub rechecks: Rechecks,
    /// Each client's permissions.
    pub policy: Policy,
    /// The plugins' commands.
    pub routes: Routes<Arc<Plugin>>,
    /// Limits on each client's running calls.
    pub client_limits: ClientLimits,
    /// Limits on each client's requests per second.
    pub rate_limits: RateLimits,
    /// The most connections of each client that has such a limit.
    pub most_connections: HashMap<Arc<str>, usize>,
    /// Replies stored by their requests' keys.
    pub idempotency: Ledger,
    /// Bounds on each connection.
    pub limits: ConnectionLimits,
    /// Set if a connection is closed after a command's error.
    pub close_on_error: bool,
    /// The log of commands.
    pub log: CommandLog,
    /// The requests that are traced; `None` if none is.
    pub traces: Option<Traces>,
}

/// Returns all commands, each with the name of its plugin: first the built-ins, which have none, then the
/// others in the order of these names.
pub fn named_commands(routes: &Routes<Arc<Plugin>>) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    let built_ins = BUILT_INS.iter().map(|(_, command, ..)| (Arc::from(*command), Arc::from("")));
    let of_plugins = routes.plugin_commands().map(|(command, plugin)| (plugin.name(), command));
    let of_plugins: BTreeSet<(&str, &str)> = of_plugins.collect();
    built_ins.chain(of_plugins.into_iter().map(|(plugin, command)| (command.into(), plugin.into())))
}

/// Bounds on one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Requests under way: framed ones that run, and plain ones that run or wait. At the limit the server
    /// stops reading.
    pub in_flight: usize,
    /// Bytes of the requests under way. Past the limit the server stops reading.
    pub in_flight_bytes: usize,
    /// The largest `Size`, in bytes.
    pub body_bytes: usize,
    /// Longest time from a head's first byte to its last.
    pub head_timeout: Duration,
    /// Longest time from a head's end to its body's.
    pub body_timeout: Duration,
    /// Longest time without a request under way and without a byte from the client.
    pub idle_timeout: Duration,
    /// Longest time in which the client reads nothing of the replies that wait for it.
    pub write_timeout: Duration,
    /// Time budget of one connection before its replies are written and others are polled.
    pub slice: Duration,
}
