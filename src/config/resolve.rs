//! From the file as written to a [`Config`]: defaults, ranges, and what one part of the file demands of another.
//!
//! Reads the certificates that the file names and looks whether the other files are there. Opens no socket, loads no
//! plugin, and goes on after a fault so that one run shows all of them.

mod clients;
mod grants;
mod identity;
mod listen;
mod plugins;

use std::path::{Path, PathBuf};

use toml::Spanned;

use self::plugins::Whole;
use super::files;
use super::given::{Field, Findings, Named};
use super::limits::{self, Bound, FromAmount, Limits, Quantity, RawLimits};
use super::names::{PluginName, Refusal};
use super::raw::{RawConfig, RawLog, RawPlugin, RawServer, RawState};
use super::values::{PathText, StateEngine};
use super::{Config, Log, Protocol, Server, State};

/// The config that `raw` describes; `None` or faults found mean that it may not be served.
pub(super) fn resolve(path: &Path, raw: &RawConfig, findings: &mut Findings) -> Option<Config> {
    let folder = Folder(path.parent().map(Path::to_owned).unwrap_or_default());
    let server = server(&raw.server, &folder, findings);
    let protocol = raw
        .protocol
        .value()
        .map(|raw| Protocol { close_on_error: raw.close_on_error.value().copied().unwrap_or_default() });
    let limits = limits(&raw.limits, findings);
    let log = log(raw.log.value().unwrap_or(&RawLog::default()), findings);
    let state = state(&raw.state, &folder, findings);
    let private = private(path, server.as_ref(), &state);
    let whole = Whole { limits: &limits, state: &state, folder: &folder, private: &private };
    let plugins = plugins::resolve(&raw.plugins, whole, findings);
    if raw.state.is_absent() {
        warn_of_forgetting(&raw.plugins, findings);
    }
    let clients = clients::resolve(&raw.clients, &raw.identity, &plugins, &folder, findings);
    let identity = identity::resolve(&raw.identity, &raw.clients, &folder, findings);
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
    })
}

/// Where relative paths start: the config file's folder.
struct Folder(PathBuf);

impl Folder {
    fn path(&self, text: &PathText) -> PathBuf {
        self.0.join(&text.0)
    }
}

/// Where compiled plugins are kept, from the config file's folder.
const DEFAULT_CACHE: &str = "cache";

fn server(field: &Field<RawServer>, folder: &Folder, findings: &mut Findings) -> Option<Server> {
    let nothing = RawServer::default();
    let raw = field.value().unwrap_or(&nothing);
    if !matches!(field, Field::Faulty) {
        report_missing(field, raw, findings);
    }
    if let Some(certificate) = raw.certificate.given() {
        let found = files::certificate(&folder.path(certificate.get_ref())).map(|_| ());
        report_file("server.certificate", certificate, found, "`lictor init` makes one", findings);
    }
    if let Some(key) = raw.private_key.given() {
        private_key(key, folder, findings);
    }
    let drain_timeout = held(&limits::DRAIN_TIMEOUT, "server", &raw.drain_timeout, findings);
    let listen = listen::resolve(&raw.listen, findings);
    Some(Server {
        listen,
        certificate: folder.path(raw.certificate.value()?),
        private_key: folder.path(raw.private_key.value()?),
        min_tls: raw.min_tls_version.value().copied().unwrap_or_default(),
        drain_timeout,
        cache: raw.cache.value().map_or_else(|| folder.0.join(DEFAULT_CACHE), |path| folder.path(path)),
        core_dumps: raw.core_dumps.value().map(|path| folder.path(path)),
        watch: raw.watch.value().copied().unwrap_or_default(),
    })
}

/// The two keys that have no default, so that no server ever runs as somebody it was not told to be.
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

fn private_key(key: &Spanned<PathText>, folder: &Folder, findings: &mut Findings) {
    let path = folder.path(key.get_ref());
    match files::exists(&path) {
        Err(refusal) => {
            report_file("server.private_key", key, Err(refusal), "`lictor init` makes one", findings)
        }
        Ok(metadata) => {
            if let Some(mode) = files::open_to_others(&metadata) {
                findings
                    .warning("others than its owner may use the server's private key")
                    .at(key.span(), format!("the mode of this file is {mode:03o}"))
                    .help(format!("`chmod 600 {}`", path.display()))
                    .done();
            }
        }
    }
}

/// Reports that the file that `key` names is not as it must be; `remedy` says how one comes to be.
fn report_file(
    key: &str,
    path: &Spanned<PathText>,
    found: Result<(), Refusal>,
    remedy: &str,
    findings: &mut Findings,
) {
    if let Err(refusal) = found {
        let file = path.get_ref().0.display();
        findings
            .error(format!("`{key}` names a file that can't be used: {file}"))
            .at(path.span(), refusal.what)
            .helps(refusal.advice)
            .help(format!("{remedy}; or correct the path, which starts at this file's folder"))
            .done();
    }
}

/// What `bound` is set to, or its default.
fn held<Q: Quantity, T: FromAmount>(bound: &Bound, at: &str, field: &Field<Q>, findings: &mut Findings) -> T {
    T::from_amount(bound.hold(at, field, findings).unwrap_or(bound.most))
}

/// What `bound` is set to, if it is.
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
    within(
        (limits::connections_per_address, &raw.connections_per_address, &mut held.connections_per_address),
        (limits::connections, &raw.connections, held.connections),
        findings,
    );
    within(
        (
            limits::unauthenticated_connections,
            &raw.unauthenticated_connections,
            &mut held.unauthenticated_connections,
        ),
        (limits::connections, &raw.connections, held.connections),
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
        findings,
    );
    within(
        (
            limits::concurrent_commands_per_client,
            &raw.concurrent_commands_per_client,
            &mut held.concurrent_commands_per_client,
        ),
        (limits::concurrent_commands, &raw.concurrent_commands, held.concurrent_commands),
        findings,
    );
    within(
        (limits::body, &raw.body, &mut held.body_bytes),
        (limits::in_flight_bytes, &raw.in_flight_bytes, held.in_flight_bytes),
        findings,
    );
    held
}

/// Sees to it that a part is no larger than the whole. What was written and is larger is a fault; a default is
/// lowered, so that nobody is told of a value that he did not write.
fn within<Q: Quantity>(
    (part_bound, part_field, part): (Bound, &Field<Q>, &mut usize),
    (whole_bound, whole_field, whole): (Bound, &Field<Q>, usize),
    findings: &mut Findings,
) {
    if *part <= whole {
        return;
    }
    *part = whole;
    let Some(given) = part_field.given() else { return };
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

/// The files and folders that no plugin may be granted, since they hold the server's secrets or all plugins' state.
fn private(config: &Path, server: Option<&Server>, state: &State) -> Vec<(PathBuf, &'static str)> {
    let mut private = vec![(config.to_owned(), "the server's config file")];
    private.extend(server.map(|server| (server.private_key.clone(), "the server's private key")));
    private.extend(server.map(|server| (server.cache.clone(), "the server's compiled code")));
    private.extend(server.and_then(|server| server.core_dumps.clone()).map(|folder| (folder, "core dumps")));
    private.extend(state.path.clone().map(|path| (path, "all plugins' state")));
    private
}

/// Where plugins have stores and nobody said where they are kept, a restart would be a surprise.
fn warn_of_forgetting(plugins: &Field<Named<PluginName, RawPlugin>>, findings: &mut Findings) {
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
