//! The running server: what it is made of, and how a reload makes it anew, all of it or nothing.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ending;
use super::plugins::Plugins;
use super::state;
use crate::authz::Policy;
use crate::config::{self, Applies, Change, Config, Kind};
use crate::idempotency::{self, Ledger};
use crate::identity::{Pinned, Roster};
use crate::plugin::Shares;
use crate::route::{OPERATORS, Routes};
use crate::server::{
    AdmissionLimits, ConnectionLimits, Control, Current, Rates, Server, Service, TlsFiles, TlsVersion,
    tls_acceptor,
};
use crate::telemetry::CommandLog;

/// A server and what it serves.
pub(super) struct Live {
    pub(super) server: Server,
    running: Mutex<Running>,
}

/// What is swapped by a reload.
struct Running {
    config: Config,
    plugins: Plugins,
    service: Arc<Service>,
    state: state::Kept,
}

impl Live {
    /// Does all that comes before the first socket is opened.
    pub(super) async fn start(config: Config, control: Arc<dyn Control>) -> anyhow::Result<Self> {
        let acceptor = tls_acceptor(&tls_files(&config))?;
        let mut state = state::Kept::open(&config)?;
        let engine = state.engine(&config)?;
        let plugins = Plugins::load(&config, &*engine).await?;
        let ledger = Ledger::new(engine, idempotency_limits(&config));
        let service = Arc::new(service(&config, &plugins, ledger, None));
        ending::warn(&config, SystemTime::now());
        let handshake_timeout = config.limits.handshake_timeout;
        let current = Current { service: Arc::clone(&service), acceptor, handshake_timeout };
        let server = Server::new(current, admission_limits(&config), Some(control))?;
        Ok(Self { server, running: Mutex::new(Running { config, plugins, service, state }) })
    }

    /// The config that is served.
    pub(super) async fn config(&self) -> Config {
        self.running.lock().await.config.clone()
    }

    /// Loads the config file anew, and serves it once all that it names is loaded. Gives what changed, and the files to
    /// follow from now on.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; then nothing is changed.
    pub(super) async fn reload(&self) -> anyhow::Result<(Vec<Change>, Vec<PathBuf>)> {
        let mut running = self.running.lock().await;
        let wanted = read(running.config.clone()).await?;
        let mut changes = config::diff(&running.config, &wanted);
        let config = wanted.applied_to(&running.config);
        let acceptor = tls_acceptor(&tls_files(&config))?;
        let engine = running.state.engine(&config)?;
        let plugins = running.plugins.renewed(&config, &*engine).await?;
        changes.extend(new_components(&running.plugins, &plugins, &changes));

        let ledger = running.service.idempotency.renewed(engine, idempotency_limits(&config));
        let service = Arc::new(service(&config, &plugins, ledger, Some(&running.service)));
        let handshake_timeout = config.limits.handshake_timeout;
        self.server.swap(Current { service: Arc::clone(&service), acceptor, handshake_timeout });
        ending::warn(&config, SystemTime::now());
        plugins.reserve(&config);
        let files = config.files();
        (running.config, running.plugins, running.service) = (config, plugins, service);
        Ok((changes, files))
    }

    /// What is to be done now and then.
    pub(super) async fn look_after(&self, now: Instant) {
        let running = self.running.lock().await;
        running.plugins.iter().for_each(|(_, plugin)| plugin.retire_idle(now));
    }

    /// Closes what has to be closed in good order.
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        let running = self.running.lock().await;
        running.service.idempotency.close().await;
        running.state.close().await
    }
}

/// Reads the config file, off the threads that serve.
async fn read(running: Config) -> anyhow::Result<Config> {
    let reading = tokio::task::spawn_blocking(move || config::load_again(&running));
    let loaded = reading.await.context("the config cannot be read")?;
    let loaded = loaded.map_err(|faults| anyhow!("{}", faults.render(false)))?;
    for warning in &loaded.warnings {
        tracing::warn!(target: "lictor::reload", warning = warning.render(false), "a config warning");
    }
    Ok(loaded.config)
}

/// The plugins whose component is another one, though no key of theirs changed.
fn new_components(old: &Plugins, new: &Plugins, changes: &[Change]) -> Vec<Change> {
    let keys = new.new_since(old).into_iter().map(|name| format!("plugins.{name}"));
    let is_told = |key: &String| changes.iter().any(|change| change.key.starts_with(key.as_str()));
    let components = keys.filter(|key| !is_told(key)).map(|key| format!("{key}.component"));
    components.map(|key| Change { key, applies: Applies::Live, kind: Kind::Changed }).collect()
}

/// What connections work by; parts of clients in what runs at once go on from `old`.
fn service(config: &Config, plugins: &Plugins, idempotency: Ledger, old: Option<&Service>) -> Service {
    let policies =
        config.clients.iter().map(|(name, client)| (name.as_ref().into(), client.commands.clone()));
    let commands = plugins.iter().flat_map(|(name, plugin)| {
        let commands = config.plugins.get(name).map(|plugin| plugin.commands.as_slice()).unwrap_or_default();
        commands.iter().map(move |command| (Arc::from(command.as_ref()), Arc::clone(plugin)))
    });
    let clients = || config.clients.keys().map(|name| name.as_ref().into());
    let at_once = config.limits.concurrent_commands_per_client;
    // One client does not fill the queue in which the others wait for a plugin or a slot.
    let waiting = config.limits.queue.div_ceil(2);
    let per_second =
        NonZeroU32::new(config.limits.requests_per_second).filter(|rate| rate.get() < UNCOUNTED_RATE);
    let routes = commands.collect::<Routes<_>>();
    Service {
        roster: roster(config),
        policy: policies.collect::<Policy>(),
        shares: match old {
            Some(old) => old.shares.renewed(clients(), at_once, waiting),
            None => Shares::new(clients(), at_once, waiting),
        },
        rates: match old {
            Some(old) => old.rates.renewed(clients(), per_second),
            None => Rates::new(clients(), per_second),
        },
        idempotency,
        limits: connection_limits(config),
        close_on_error: config.protocol.close_on_error,
        log: CommandLog::new(
            config.log.commands_per_second,
            config.log.arguments,
            clients(),
            routes.commands(),
            OPERATORS,
        ),
        routes,
    }
}

/// Who is admitted.
fn roster(config: &Config) -> Roster {
    let named = || config.clients.iter().map(|(name, client)| (Arc::<str>::from(name.as_ref()), client));
    let pins = named().flat_map(|(name, client)| {
        let pinned = move |ends| Pinned { client: Arc::clone(&name), ends };
        client.thumbprints.iter().map(move |pin| (pin.thumbprint, pinned(pin.ends)))
    });
    let uris = named()
        .flat_map(|(name, client)| client.uris.iter().map(move |uri| (uri.clone(), Arc::clone(&name))));
    let authorities = config.identity.authorities.iter().flat_map(|file| file.authorities.iter().cloned());
    let lists = config.identity.revocation_lists.iter().flat_map(|file| file.lists.iter().cloned());
    pins.collect::<Roster>().with_uris(authorities, uris).without_revoked(lists)
}

/// A rate from which on requests are not counted: the largest that the config takes.
const UNCOUNTED_RATE: u32 = 1_000_000;

/// Long enough for a hundred small commands, or for a batch of fresh instances; short beside what a client notices.
const CONNECTION_SLICE: Duration = Duration::from_micros(250);

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
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

fn idempotency_limits(config: &Config) -> idempotency::Limits {
    let limits = &config.limits;
    idempotency::Limits {
        window: limits.idempotency_window,
        max_keys: limits.idempotency_keys,
        max_bytes: limits.idempotency_bytes,
    }
}

fn admission_limits(config: &Config) -> AdmissionLimits {
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
        certificate: config.server.certificate.clone(),
        private_key: config.server.private_key.clone(),
        min_version: match config.server.min_tls {
            config::TlsVersion::V1_2 => TlsVersion::V1_2,
            config::TlsVersion::V1_3 => TlsVersion::V1_3,
        },
    }
}
