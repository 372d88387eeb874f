//! From the file as written to a [`Config`]: defaults, ranges, and checks between parts of the file.
//!
//! Reads the certificates that the file names, and checks that its other files exist. Opens no socket, loads
//! no plugin, and continues after a fault so that one run shows all of them.

mod clients;
mod folder;
mod grants;
mod identity;
mod listen;
mod plugins;

use std::path::Path;

use toml::Spanned;

pub(super) use self::folder::{look_at_file, reserved};
pub(super) use self::plugins::settings;

use self::folder::{Folder, Named};
use self::grants::Surroundings;
use self::plugins::Whole;
use super::files;
use super::given::{self, Field, Findings};
use super::limits::{self, Bound, FromAmount, Limits, Quantity, RawLimits};
use super::names::PluginName;
use super::raw::{RawConfig, RawDisabled, RawGrants, RawLog, RawPlugin, RawServer, RawState};
use super::values::{PathText, StateEngine};
use super::{Config, Disabled, Grants, Log, Protocol, Reading, Server, ServerCertificate, State};
use crate::files::{Authors, Reserved, Sightings};
use crate::identity::{order_fault, server_doubt};

/// Builds the config that `raw` describes. `None` or reported faults mean that it may not be served. Every
/// file it names is recorded in `sightings`.
pub(super) fn resolve(
    path: &Path,
    mut raw: RawConfig,
    reading: Reading<'_>,
    (sightings, findings): (&mut Sightings, &mut Findings),
) -> Option<Config> {
    let disabled = raw.take_disabled();
    let raw = &raw;
    let folder = Folder::of(path, reading.authors);
    let server = server(&raw.server, &folder, findings);
    let protocol = raw
        .protocol
        .value()
        .map(|raw| Protocol { close_on_error: raw.close_on_error.value().copied().unwrap_or_default() });
    let limits = limits(&raw.limits, findings);
    let log = log(raw.log.value().unwrap_or(&RawLog::default()), findings);
    let state = state(&raw.state, &folder, findings);
    let certificates = certificates(raw).map(|path| folder.path(path.get_ref())).collect::<Vec<_>>();
    let disabled_config = switched_off(&disabled, &folder);
    let of_disabled = disabled_config.clients.values().flatten();
    let reserved = reserved(path, server.as_ref(), &state, certificates.iter().chain(of_disabled));
    if let Some(running) = reading.running {
        reserved.extend(&running.reserved());
    }
    let whole = Whole {
        limits: &limits,
        state: &state,
        folder: &folder,
        reserved: &reserved,
        disabled: &disabled,
        loads_plugins: reading.running.is_none() && reading.authors == Authors::Trusted,
    };
    let plugins = plugins::resolve(&raw.plugins, whole, findings);
    if raw.state.is_absent() {
        warn_of_forgetting(&raw.plugins, findings);
    }
    let min_tls = server.as_ref().map(|server| server.min_tls).unwrap_or_default();
    let identity = identity::resolve(&raw.identity, &raw.clients, &folder, findings);
    let beside = clients::Beside { min_tls, lists: &identity.revocation_lists };
    let clients = clients::resolve(&raw.clients, &raw.identity, beside, &plugins, &folder, findings);
    sightings.extend(folder.into_sightings());
    Some(Config {
        path: path.to_owned(),
        server: server?,
        protocol: protocol.unwrap_or_default(),
        identity,
        limits,
        log,
        clients,
        plugins: plugins.plugins,
        state,
        disabled: disabled_config,
    })
}

/// Resolves the grants that a script at `path` gives the plugin `name`, one of `plugins`.
pub(super) fn granted_as_in_config(
    path: &Path,
    (name, plugins): (&PluginName, &[PluginName]),
    raw: &RawGrants,
    findings: &mut Findings,
) -> Grants {
    let (folder, reserved) = (Folder::of(path, Authors::Anybody), Reserved::default());
    let around = Surroundings { folder: &folder, plugins, disabled: &[], reserved: &reserved };
    grants::resolve(name, raw, &around, findings)
}

fn switched_off(disabled: &RawDisabled, folder: &Folder) -> Disabled {
    let clients = disabled.clients.iter().map(|(name, raw)| {
        let certificates = raw.get_ref().certificates.value().into_iter().flat_map(|list| &list.items);
        (name.get_ref().clone(), certificates.map(|path| folder.path(path.get_ref())).collect())
    });
    let plugins = disabled.plugins.iter().map(|(name, _)| name.get_ref().clone());
    Disabled { clients: clients.collect(), plugins: plugins.collect() }
}

/// The certificate files of authorities and clients.
fn certificates(raw: &RawConfig) -> impl Iterator<Item = &Spanned<PathText>> {
    let clients = raw.clients.value().into_iter().flat_map(|named| &named.entries);
    let clients = clients.filter_map(|(_, client)| client.get_ref().certificates.value());
    let authorities = raw.identity.value().and_then(|identity| identity.authorities.value());
    clients.chain(authorities).flat_map(|list| &list.items)
}

/// Advice for a missing server certificate or key.
const MAKES_ONE: &str = "`lictor init --missing-only` makes one";

/// The folder of compiled plugins, relative to the config file's folder.
const DEFAULT_CACHE: &str = "cache";

fn server(field: &Field<RawServer>, folder: &Folder, findings: &mut Findings) -> Option<Server> {
    let nothing = RawServer::default();
    let raw = field.value().unwrap_or(&nothing);
    if !matches!(field, Field::Faulty) {
        report_missing(field, raw, findings);
    }
    let chain = raw.certificate.given().and_then(|certificate| {
        let named = Named { key: "server.certificate", path: certificate, remedy: MAKES_ONE };
        let chain = folder.read_pem(named, files::chain, findings)?;
        if let Some((what, advice)) = order_fault(&chain) {
            let fault = findings.warning("the chain of the server's certificate is not in order");
            fault.at(certificate.span(), what).help(advice).done();
        }
        if let Some(doubt) = chain.first().and_then(server_doubt) {
            let refused =
                "clients that trust the authority which signed the server's certificate will refuse it";
            let fault = findings.warning(refused).at(certificate.span(), doubt);
            fault
                .help(
                    "have the authority make one for servers, with the names by which clients call this one",
                )
                .done();
        }
        Some(chain)
    });
    if let Some(key) = raw.private_key.given() {
        let named = Named { key: "server.private_key", path: key, remedy: MAKES_ONE };
        folder.look_at_key(named, findings);
    }
    let drain_timeout = held(&limits::DRAIN_TIMEOUT, "server", &raw.drain_timeout, findings);
    let listen = listen::resolve(&raw.listen, findings);
    let cache = folder.path(raw.cache.value().unwrap_or(&PathText(DEFAULT_CACHE.into())));
    folder.look_at_own("server.cache", &cache, raw.cache.given().map(Spanned::span), findings);
    let core_dumps = raw.core_dumps.value().map(|path| folder.path(path));
    if let Some(core_dumps) = &core_dumps {
        folder.look_at_own(
            "server.core_dumps",
            core_dumps,
            raw.core_dumps.given().map(Spanned::span),
            findings,
        );
    }
    Some(Server {
        listen,
        certificate: ServerCertificate {
            path: folder.path(raw.certificate.value()?),
            // An empty chain means that a fault was reported.
            chain: chain.unwrap_or_default(),
        },
        private_key: folder.path(raw.private_key.value()?),
        min_tls: raw.min_tls_version.value().copied().unwrap_or_default(),
        drain_timeout,
        cache,
        core_dumps,
        watch: raw.watch.value().copied().unwrap_or_default(),
    })
}

/// Reports the two keys that have no default, so that no server ever runs under an identity it was not given.
fn report_missing(field: &Field<RawServer>, raw: &RawServer, findings: &mut Findings) {
    let keys = [
        ("certificate", raw.certificate.is_absent(), "certificate = \"certs/server.pem\""),
        ("private_key", raw.private_key.is_absent(), "private_key = \"certs/server.key\""),
    ];
    let missing: Vec<_> = keys.iter().filter(|(_, is_missing, _)| *is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|(name, ..)| format!("`{name}`")).collect();
    let lines: Vec<_> = missing.iter().map(|(.., line)| format!("`{line}`")).collect();
    let names = names.join(" and ");
    let advice =
        format!("write {} here, with the paths of your files; `lictor init` makes them", lines.join(" and "));
    match field.given() {
        Some(given) => {
            let what = format!("`server` lacks {names}");
            findings.error(what).at(given.span(), "in this section").help(advice).done();
        }
        None => {
            let what = format!("the section [server] with {names} is missing");
            findings.error(what).help(advice.replace(" here", " below a line `[server]`")).done();
        }
    }
}

/// Returns the value of `bound`, or its default.
fn held<Q: Quantity, T: FromAmount>(bound: &Bound, at: &str, field: &Field<Q>, findings: &mut Findings) -> T {
    T::from_amount(bound.hold(at, field, findings).unwrap_or(bound.most))
}

/// Returns the value of `bound`, if set.
fn optional<Q: Quantity, T: FromAmount>(
    bound: &Bound,
    at: &str,
    field: &Field<Q>,
    findings: &mut Findings,
) -> Option<T> {
    bound.hold(at, field, findings).map(T::from_amount)
}

fn limits(field: &Field<RawLimits>, findings: &mut Findings) -> Limits {
    let Some(raw) = field.value() else { return Limits::default() };
    let mut held = Limits::each_held(raw, findings);
    let half = |whole: usize| whole.div_ceil(2);
    within(
        (limits::connections_per_address, &raw.connections_per_address, &mut held.connections_per_address),
        (limits::connections, &raw.connections, held.connections),
        half,
        findings,
    );
    within(
        (
            limits::unauthenticated_connections,
            &raw.unauthenticated_connections,
            &mut held.unauthenticated_connections,
        ),
        (limits::connections, &raw.connections, held.connections),
        half,
        findings,
    );
    within(
        (
            limits::unauthenticated_per_address,
            &raw.unauthenticated_per_address,
            &mut held.unauthenticated_per_address,
        ),
        (
            limits::unauthenticated_connections,
            &raw.unauthenticated_connections,
            held.unauthenticated_connections,
        ),
        half,
        findings,
    );
    within(
        (
            limits::concurrent_commands_per_client,
            &raw.concurrent_commands_per_client,
            &mut held.concurrent_commands_per_client,
        ),
        (limits::concurrent_commands, &raw.concurrent_commands, held.concurrent_commands),
        half,
        findings,
    );
    within(
        (limits::body, &raw.body, &mut held.body_bytes),
        (limits::in_flight_bytes, &raw.in_flight_bytes, held.in_flight_bytes),
        |whole| whole,
        findings,
    );
    held
}

/// Ensures that a part is no larger than the whole. A larger part that was written is a fault. A default that
/// is not smaller becomes the `usual` part of the whole: nobody sees a fault about a value they did not
/// write, and no single party may take everything.
fn within<Q: Quantity>(
    (part_bound, part_field, part): (Bound, &Field<Q>, &mut usize),
    (whole_bound, whole_field, whole): (Bound, &Field<Q>, usize),
    usual: impl Fn(usize) -> usize,
    findings: &mut Findings,
) {
    let Some(given) = part_field.given() else {
        if *part >= whole {
            *part = usual(whole);
        }
        return;
    };
    if *part <= whole {
        return;
    }
    *part = whole;
    let (part, name, most) = (part_bound.key, whole_bound.key, whole_bound.written(whole as u64));
    let fault = findings
        .error(format!("`limits.{part}` is more than `limits.{name}`"))
        .at(given.span(), format!("more than {most}"));
    let fault = match whole_field.given() {
        Some(whole) => fault.at(whole.span(), "than this"),
        None => fault,
    };
    fault.help(format!("lower `{part}` to {most}, or raise `{name}`")).done();
}

fn log(raw: &RawLog, findings: &mut Findings) -> Log {
    Log {
        level: raw.level.value().copied().unwrap_or_default(),
        format: raw.format.value().copied().unwrap_or_default(),
        arguments: raw.arguments.value().copied().unwrap_or_default(),
        commands_per_second: held(&limits::COMMANDS_PER_SECOND, "log", &raw.commands_per_second, findings),
    }
}

fn state(field: &Field<RawState>, folder: &Folder, findings: &mut Findings) -> State {
    let nothing = RawState::default();
    let raw = field.value().unwrap_or(&nothing);
    let state = State {
        engine: raw.engine.value().copied().unwrap_or_default(),
        path: raw.path.value().map(|path| folder.path(path)),
        file_size: optional(&limits::STATE_FILE_SIZE, "state", &raw.file_size, findings),
        store_keys: held(&limits::STATE_STORE_KEYS, "state", &raw.store_keys, findings),
        store_bytes: held(&limits::STATE_STORE_BYTES, "state", &raw.store_bytes, findings),
    };
    let without_file = [
        ("path", raw.path.given().map(Spanned::span)),
        ("file_size", raw.file_size.given().map(Spanned::span)),
    ];
    if let (StateEngine::Sqlite, Some(path)) = (state.engine, raw.path.given()) {
        folder.look_at_state(path, findings);
    }
    match (state.engine, raw.engine.given()) {
        (StateEngine::Sqlite, Some(engine)) if raw.path.is_absent() => findings
            .error("`state.engine` \"sqlite\" needs a `path`")
            .at(engine.span(), "this engine keeps a file")
            .help("write `path = \"state/lictor.db\"` below it")
            .done(),
        (StateEngine::Memory, _) if !matches!(raw.engine, Field::Faulty) => {
            for (key, span) in without_file.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                findings
                    .warning(format!("`state.{key}` has no effect: the engine \"memory\" keeps no file"))
                    .at(span, "nothing is written to a file")
                    .help(format!(
                        "write `engine = \"sqlite\"` to keep the state in a file; or leave out `{key}`"
                    ))
                    .done();
            }
        }
        _ => {}
    }
    state
}

/// Warns if plugins have stores but the file has no `[state]`: losing the stores at a restart would be a
/// surprise.
fn warn_of_forgetting(plugins: &Field<given::Named<PluginName, RawPlugin>>, findings: &mut Findings) {
    let plugins = plugins.value().into_iter().flat_map(|named| &named.entries);
    let stores = plugins.filter_map(|(_, plugin)| plugin.get_ref().grants.value()?.keyvalue.given());
    let stores = stores.filter(|given| !given.get_ref().items.is_empty());
    if let Some(first) = stores.into_iter().next() {
        findings
            .warning("what plugins keep in their stores is gone when the server ends")
            .at(first.span(), "these stores are kept in memory")
            .help("add a section [state] with `engine = \"sqlite\"` and `path = \"state/lictor.db\"`")
            .help("or with `engine = \"memory\"`, if that is meant")
            .done();
    }
}
