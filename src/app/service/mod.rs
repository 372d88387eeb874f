//! From a config and its plugins to the service that connections use.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::plugins::Plugins;
use super::usage::Watched;
use crate::authz::{PermissionPattern, Policy};
use crate::config::{self, Config, OwnLimits, Pin};
use crate::idempotency::{self, Ledger};
use crate::identity::{Pinned, Roster};
use crate::plugin::{ClientLimits, Plugin};
use crate::route::{OPERATORS, Routes};
use crate::server::{
    AdmissionLimits, ConnectionLimits, RateLimits, Rechecks, Service, TlsFiles, TlsVersion, named_commands,
};
use crate::state::Quota;
use crate::telemetry::{Arguments, CommandLog};
use crate::usage::Observed;

/// Builds the service for connections; clients' running calls carry over from `old`.
pub(super) fn service(
    config: &Config,
    plugins: &Plugins,
    watched: &Watched,
    idempotency: Ledger,
    old: Option<&Service>,
) -> Service {
    let commands = plugins.iter().flat_map(|(name, plugin)| {
        let commands = config.plugins.get(name).map(|plugin| plugin.commands.as_slice()).unwrap_or_default();
        commands.iter().map(move |command| {
            let used = watched.of_command(name, command.as_ref());
            (Arc::from(command.as_ref()), Observed::new(Arc::clone(plugin), used))
        })
    });
    let arguments = if config.log.arguments { Arguments::Logged } else { Arguments::Hidden };
    // No single client may fill the queue in which the others wait for a plugin or a slot.
    let waiting = config.limits.queue.div_ceil(2);
    let (calls, rates) = (calls_at_once(config), rates(config));
    let routes = commands.collect::<Routes<Arc<Plugin>>>();
    Service {
        roster: roster(config),
        rechecks: Rechecks::default(),
        policy: policy(config, watched),
        client_limits: match old {
            Some(old) => old.client_limits.renewed(calls, waiting),
            None => ClientLimits::new(calls, waiting),
        },
        rate_limits: match old {
            Some(old) => old.rate_limits.renewed(rates),
            None => RateLimits::new(rates),
        },
        most_connections: most_connections(config),
        idempotency,
        limits: connection_limits(&config.limits),
        close_on_error: config.protocol.close_on_error,
        log: CommandLog::new(
            config.log.commands_per_second,
            arguments,
            clients(config).map(|(name, _)| name),
            named_commands(&routes),
            OPERATORS,
            usize::from(config.admin.client_labels),
        ),
        traces: None,
        routes,
    }
}

fn clients(config: &Config) -> impl Iterator<Item = (Arc<str>, &config::Client)> {
    config.clients.iter().map(|(name, client)| (name.as_ref().into(), client))
}

/// Requests that each client may make.
fn policy(config: &Config, watched: &Watched) -> Policy {
    let clients = config.clients.iter().map(|(name, client)| {
        let used = |pattern: &PermissionPattern| watched.of_pattern(config, (name, client), pattern);
        (name.as_ref().into(), client.permissions.observed(used))
    });
    clients.collect()
}

/// The most calls that each client may have running.
fn calls_at_once(config: &Config) -> impl Iterator<Item = (Arc<str>, usize)> {
    let of_every = config.limits.concurrent_commands_per_client;
    clients(config).map(move |(name, client)| (name, client.limits.concurrent_commands.unwrap_or(of_every)))
}

/// The requests that each client may send in a second; `None` if they are not counted.
fn rates(config: &Config) -> impl Iterator<Item = (Arc<str>, Option<NonZeroU32>)> {
    let of_every = config.limits.requests_per_second;
    clients(config).map(move |(name, client)| {
        let rate = NonZeroU32::new(client.limits.requests_per_second.unwrap_or(of_every));
        (name, rate.filter(|rate| rate.get() < UNCOUNTED_RATE))
    })
}

fn most_connections(config: &Config) -> HashMap<Arc<str>, usize> {
    clients(config).filter_map(|(name, client)| Some((name, client.limits.connections?))).collect()
}

/// Clients that are admitted.
fn roster(config: &Config) -> Roster {
    let pins = clients(config).flat_map(|(name, client)| {
        let pinned = move |ends| Pinned { client: Arc::clone(&name), ends };
        let ends = |pin: &Pin| pin.validity.map(|validity| validity.not_after);
        client.thumbprints.iter().map(move |pin| (pin.thumbprint, pinned(ends(pin))))
    });
    let uris = clients(config)
        .flat_map(|(name, client)| client.uris.iter().map(move |uri| (uri.clone(), Arc::clone(&name))));
    let authorities = config.identity.authorities.iter().flat_map(|file| file.authorities.iter().cloned());
    let lists = config.identity.revocation_lists.iter().flat_map(|file| file.lists.iter().cloned());
    let expiries = clients(config).filter_map(|(name, client)| Some((name, client.expires?)));
    pins.collect::<Roster>().with_uris(authorities, uris).without_revoked(lists).with_expiries(expiries)
}

/// Rate from which on requests are not counted: the largest that the config accepts.
const UNCOUNTED_RATE: u32 = 1_000_000;

/// Long enough for a hundred small commands, or a batch of fresh instances; too short for a client to notice.
const CONNECTION_SLICE: Duration = Duration::from_micros(250);

pub(crate) fn connection_limits(limits: &config::Limits) -> ConnectionLimits {
    ConnectionLimits {
        in_flight: limits.in_flight,
        in_flight_bytes: limits.in_flight_bytes,
        body_bytes: limits.body_bytes,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        idle_timeout: limits.idle_timeout,
        write_timeout: limits.write_timeout,
        slice: CONNECTION_SLICE,
    }
}

pub(crate) fn idempotency_limits(limits: &config::Limits) -> idempotency::Limits {
    idempotency::Limits {
        window: limits.idempotency_window,
        max_keys: limits.idempotency_keys,
        max_bytes: limits.idempotency_bytes,
        of_clients: BTreeMap::new(),
    }
}

/// [`idempotency_limits`] of all clients, with their own.
pub(super) fn all_idempotency_limits(config: &Config) -> idempotency::Limits {
    let of_every = idempotency_limits(&config.limits);
    let own = clients(config).filter_map(|(name, client)| {
        let OwnLimits { idempotency_keys: keys, idempotency_bytes: bytes, .. } = client.limits;
        (keys.is_some() || bytes.is_some()).then(|| {
            let max_keys = keys.unwrap_or(of_every.max_keys);
            (name, Quota { max_keys, max_bytes: bytes.unwrap_or(of_every.max_bytes) })
        })
    });
    let of_clients = own.collect();
    idempotency::Limits { of_clients, ..of_every }
}

pub(super) fn admission_limits(config: &Config) -> AdmissionLimits {
    let limits = &config.limits;
    AdmissionLimits {
        connections: limits.connections,
        per_address: limits.connections_per_address,
        unauthenticated: limits.unauthenticated_connections,
        unauthenticated_per_address: limits.unauthenticated_per_address,
        handshakes_per_second: NonZeroU32::new(limits.handshakes_per_second).unwrap_or(NonZeroU32::MIN),
    }
}

pub(super) fn tls_files(config: &Config) -> TlsFiles {
    TlsFiles {
        certificate: config.server.certificate.path.clone(),
        chain: config.server.certificate.chain.clone(),
        private_key: config.server.private_key.clone(),
        min_version: match config.server.min_tls {
            config::TlsVersion::V1_2 => TlsVersion::V1_2,
            config::TlsVersion::V1_3 => TlsVersion::V1_3,
        },
    }
}

#[cfg(test)]
mod tests;
