//! The config file as written: one table for each section, each key with its position.
//!
//! The key lists here are the only ones: allowed keys, suggestions for unknown keys and the documentation all
//! use them. Knows no defaults and compares nothing.

use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{AdminListen, HealthListen, Listen, TlsListen};
use super::fault::Faults;
use super::fields::{Field, Findings, List, Named, Shape};
use super::limits::RawLimits;
use super::moment::Moment;
use super::names::{ClientName, CommandName, PluginName, RoleName};
use super::redact::Grammar;
use super::resources::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
use super::secret::{RawSecret, RawSetting};
use super::sections::Sections;
use super::source::moved;
use super::syntax::{self, Advice};
use super::table::table;
use super::telemetry::CollectorUrl;
use super::values::{
    Digest, IncludePattern, Instances, LogFormat, LogLevel, PathText, PinText, SettingName, StateEngine,
    TlsVersion, UriText,
};
use crate::authz::PermissionPattern;
use crate::units::{ByteSize, Ratio, TimeSpan};

table! {
    /// The whole file.
    RawConfig {
        include: List<IncludePattern>,
        server: RawServer,
        protocol: RawProtocol,
        identity: RawIdentity,
        limits: RawLimits,
        log: RawLog,
        roles: Named<RoleName, RawRole>,
        clients: Named<ClientName, RawClient>,
        plugins: Named<PluginName, RawPlugin>,
        state: RawState,
        admin: RawAdmin,
        telemetry: RawTelemetry,
    }
}
table! {
    /// A file that the config includes.
    RawIncluded {
        roles: Named<RoleName, RawRole>,
        clients: Named<ClientName, RawClient>,
        plugins: Named<PluginName, RawPlugin>,
    }
}
table! {
    /// `[server]`.
    RawServer {
        listen: List<Listen>,
        certificate: PathText,
        private_key: PathText,
        min_tls_version: TlsVersion,
        drain_timeout: TimeSpan,
        cache: PathText,
        core_dumps: PathText,
        watch: bool,
    }
}
table! {
    /// `[protocol]`.
    RawProtocol {
        close_on_error: bool,
    }
}
table! {
    /// `[identity]`.
    RawIdentity {
        authorities: List<PathText>,
        revocation_lists: List<PathText>,
    }
}
table! {
    /// `[log]`.
    RawLog {
        level: LogLevel,
        format: LogFormat,
        arguments: bool,
        commands_per_second: u64,
    }
}
table! {
    /// `[roles.NAME]`.
    RawRole {
        commands: List<PermissionPattern>,
        trace: bool,
    }
}
table! {
    /// `[clients.NAME]`.
    RawClient {
        enabled: bool,
        thumbprints: List<PinText>,
        certificates: List<PathText>,
        uris: List<UriText>,
        roles: List<RoleName>,
        commands: List<PermissionPattern>,
        expires: Moment,
        report_until: Moment,
        limits: RawOwnLimits,
    }
}
table! {
    /// `[clients.NAME.limits]`.
    RawOwnLimits {
        requests_per_second: u64,
        concurrent_commands: u64,
        connections: u64,
        idempotency_keys: u64,
        idempotency_bytes: ByteSize,
    }
}
table! {
    /// `[plugins.NAME]`.
    RawPlugin {
        enabled: bool,
        component: PathText,
        sha256: Digest,
        commands: List<CommandName>,
        instances: Instances,
        timeout: TimeSpan,
        cpu_time: TimeSpan,
        memory: ByteSize,
        reply: ByteSize,
        concurrency: u64,
        host_calls: u64,
        host_bytes: ByteSize,
        store_keys: u64,
        store_bytes: ByteSize,
        max_calls: u64,
        idle_timeout: TimeSpan,
        config: Named<SettingName, RawSetting>,
        grants: RawGrants,
    }
}
table! {
    /// `[plugins.NAME.grants]`.
    RawGrants {
        logging: bool,
        keyvalue: List<StoreGrant>,
        commands: List<PermissionPattern>,
        files: List<PathText>,
        directories: Named<GuestFolder, PathText>,
        events: List<EventGrant>,
        http: List<RawHttp>,
    }
}
table! {
    /// A URL of `http` in `[plugins.NAME.grants]`; without networks, a plain string will do.
    RawUrl {
        url: HttpPrefix,
        networks: List<Network>,
    }
}
table! {
    /// `[state]`.
    RawState {
        engine: StateEngine,
        path: PathText,
        file_size: ByteSize,
        store_keys: u64,
        store_bytes: ByteSize,
    }
}
table! {
    /// `[admin]`.
    RawAdmin {
        listen: List<AdminListen>,
        tls_listen: List<TlsListen>,
        health: List<HealthListen>,
        client_labels: u64,
    }
}
table! {
    /// `[telemetry]`.
    RawTelemetry {
        otlp: CollectorUrl,
        sample: Ratio,
    }
}

/// The sections with `enabled = false`; only their form was checked.
#[derive(Default)]
pub(super) struct RawDisabled {
    pub(super) clients: Vec<(Spanned<ClientName>, Spanned<RawClient>)>,
    pub(super) plugins: Vec<(Spanned<PluginName>, Spanned<RawPlugin>)>,
}

impl RawConfig {
    /// Removes the disabled entries, so that later steps do not see them.
    pub(super) fn take_disabled(&mut self) -> RawDisabled {
        RawDisabled {
            clients: take_disabled(&mut self.clients, |client| &client.enabled),
            plugins: take_disabled(&mut self.plugins, |plugin| &plugin.enabled),
        }
    }
}

fn take_disabled<K, V>(
    field: &mut Field<Named<K, V>>,
    enabled: impl Fn(&V) -> &Field<bool>,
) -> Vec<(Spanned<K>, Spanned<V>)> {
    let Field::Given(named) = field else { return Vec::new() };
    let is_off = |raw: &Spanned<V>| enabled(raw.get_ref()).value() == Some(&false);
    named.get_mut().entries.extract_if(.., |(_, raw)| is_off(raw)).collect()
}

/// An entry of `http`: a URL, or a table with a URL and its networks.
pub(super) enum RawHttp {
    Url(HttpPrefix),
    Table(RawUrl),
}

impl Shape for RawHttp {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => RawUrl::read(at, value, findings).map(Self::Table),
            _ => HttpPrefix::read(at, value, findings).map(Self::Url),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [HttpPrefix::schema(), RawUrl::schema()] })
    }
}

/// Every section and its keys.
pub(super) const SECTIONS: Sections = Sections(&[
    ("", RawConfig::KEYS),
    ("server", RawServer::KEYS),
    ("protocol", RawProtocol::KEYS),
    ("identity", RawIdentity::KEYS),
    ("limits", RawLimits::KEYS),
    ("log", RawLog::KEYS),
    ("roles.NAME", RawRole::KEYS),
    ("clients.NAME", RawClient::KEYS),
    ("clients.NAME.limits", RawOwnLimits::KEYS),
    ("plugins.NAME", RawPlugin::KEYS),
    ("plugins.NAME.config.NAME", RawSecret::KEYS),
    ("plugins.NAME.grants", RawGrants::KEYS),
    ("plugins.NAME.grants.http", RawUrl::KEYS),
    ("state", RawState::KEYS),
    ("admin", RawAdmin::KEYS),
    ("telemetry", RawTelemetry::KEYS),
]);

/// Iterates over every key that a config file may hold: its section (`""` for the top level, `NAME` for a
/// name that the operator chooses) and the key.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.keys()
}

/// Reads `text`, the file at `path`. Values of the wrong form are reported in the findings.
///
/// # Errors
/// A TOML syntax error, which hides everything after it.
pub(super) fn read<R: Shape + Default>(
    path: &Path,
    text: &str,
    grammar: Grammar,
) -> Result<(R, Findings), Faults> {
    let table = parsed(text);
    let mut findings = Findings::new(path, text, grammar_of(&table, grammar), SECTIONS);
    match table {
        Ok((table, span)) => {
            let raw = of_table(table, span, &mut findings).unwrap_or_default();
            Ok((raw, findings))
        }
        Err(error) => {
            report(text, 0, &error, &mut findings);
            match findings.verdict::<()>(None) {
                Err(faults) => Err(faults),
                Ok(_) => Err(Faults::new(Vec::new())),
            }
        }
    }
}

/// Reads `text`, the included file at `path`, like [`read`]; `None` for a syntax error. Also returns the
/// offset of its first byte in the findings.
pub(super) fn read_included(
    path: &Path,
    text: &str,
    findings: &mut Findings,
) -> (Option<RawIncluded>, usize) {
    let table = parsed(text);
    let start = findings.add(path, text, grammar_of(&table, Grammar::Toml));
    let raw = match table {
        Ok((table, span)) => {
            let own = own_sections(moved(table, start), findings);
            of_table(own, span.start + start..span.end + start, findings)
        }
        Err(error) => {
            report(text, start, &error, findings);
            None
        }
    };
    (raw, start)
}

/// Returns `table` without keys that only the main file may have. Reports these.
fn own_sections<'i>(table: DeTable<'i>, findings: &mut Findings) -> DeTable<'i> {
    let main = findings.main().to_owned();
    let is_foreign = |key: &str| RawConfig::KEYS.contains(&key) && !RawIncluded::KEYS.contains(&key);
    let own = table.into_iter().filter(|(key, _)| {
        let name: &str = key.get_ref();
        if !is_foreign(name) {
            return true;
        }
        let (what, help) = match name {
            "include" => ("an included file can't include others".to_owned(), "write this"),
            _ => (
                format!("`{name}` can't stand in an included file"),
                "included files hold roles, clients and plugins; write this section",
            ),
        };
        let fault = findings.error(what).at(key.span(), "this belongs in the main file");
        fault.help(format!("{help} in {main}")).done();
        false
    });
    own.collect()
}

type Table<'i> = Result<(DeTable<'i>, Range<usize>), toml::de::Error>;

/// Parses `text`; fails with its first syntax error.
fn parsed(text: &str) -> Table<'_> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let position = |error: &toml::de::Error| error.span().map(|span| span.start);
    match errors.into_iter().min_by_key(position) {
        Some(error) => Err(error),
        None => {
            let span = root.span();
            Ok((root.into_inner(), span))
        }
    }
}

fn grammar_of(table: &Table<'_>, grammar: Grammar) -> Grammar {
    if table.is_err() && grammar == Grammar::Toml { Grammar::Broken } else { grammar }
}

fn of_table<R: Shape>(table: DeTable<'_>, span: Range<usize>, findings: &mut Findings) -> Option<R> {
    R::read("", &Spanned::new(span, DeValue::Table(table)), findings)
}

/// Reports a syntax error of `text`, which begins at the offset `start`.
fn report(text: &str, start: usize, error: &toml::de::Error, findings: &mut Findings) {
    let span = error.span().unwrap_or_default();
    let moved = |span: Range<usize>| span.start + start..span.end + start;
    let Advice { first, help } = syntax::advice(text, &span, error.message(), SECTIONS);
    let mut fault = findings.error("this is not TOML").at(moved(span), error.message().to_owned());
    if let Some(first) = first {
        fault = fault.at(moved(first), "the first stands here");
    }
    fault.helps(help).done();
}
