//! The config file as written: one table for each section, each key with its position.
//!
//! The key lists here are the only ones: allowed keys, suggestions for unknown keys and the documentation all
//! use them. Knows no defaults and compares nothing.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::Listen;
use super::fault::Faults;
use super::fields::{Field, Findings, List, Named, Shape};
use super::limits::RawLimits;
use super::names::{ClientName, CommandName, PluginName, RoleName};
use super::quantities::{ByteSize, TimeSpan};
use super::redact::Grammar;
use super::resources::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
use super::sections::Sections;
use super::syntax::{self, Advice};
use super::table::table;
use super::values::{
    CredentialName, Digest, Instances, LogFormat, LogLevel, PathText, PinText, PluginSetting, SettingName,
    StateEngine, TlsVersion, UriText, VariableName,
};
use crate::authz::PermissionPattern;

table! {
    /// The whole file.
    RawConfig {
        server: RawServer,
        protocol: RawProtocol,
        identity: RawIdentity,
        limits: RawLimits,
        log: RawLog,
        roles: Named<RoleName, RawRole>,
        clients: Named<ClientName, RawClient>,
        plugins: Named<PluginName, RawPlugin>,
        state: RawState,
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
    /// A secret of `[plugins.NAME.config]`: the one place where it is kept.
    RawSecret {
        file: PathText,
        credential: CredentialName,
        env: VariableName,
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
}

/// A setting of a plugin: its text, or the place of a secret.
pub(super) enum RawSetting {
    Text(String),
    Secret(Spanned<RawPlace>),
}

/// The place where a secret is kept.
pub(super) enum RawPlace {
    File(PathText),
    Credential(CredentialName),
    Variable(VariableName),
}

impl Shape for RawSetting {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            return PluginSetting::read(at, value, findings).map(|text| Self::Text(text.0));
        };
        let is_empty = table.is_empty();
        let RawSecret { file, credential, env } = RawSecret::read(at, value, findings)?;
        let places =
            [file.map(RawPlace::File), credential.map(RawPlace::Credential), env.map(RawPlace::Variable)];
        let mut places: Vec<_> = places.into_iter().flatten().collect();
        places.sort_by_key(|place| place.span().start);
        let advice = "write one of { file = \"PATH\" }, { credential = \"NAME\" } and { env = \"NAME\" }";
        if let [first, second, ..] = places.as_slice() {
            let fault = findings.error(format!("`{at}`: a secret is kept in one place"));
            fault.at(second.span(), "this is another").at(first.span(), "this is one").help(advice).done();
            return None;
        }
        if is_empty {
            let fault = findings.error(format!("`{at}`: expected a string, or the place of a secret"));
            fault.at(value.span(), "this names no place").help(advice).done();
        }
        places.pop().map(Self::Secret)
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
]);

/// Iterates over every key that a config file may hold: its section (`""` for the top level, `NAME` for a
/// name that the operator chooses) and the key.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.keys()
}

/// Reads `text`. Values of the wrong form are reported in the findings.
///
/// # Errors
/// A TOML syntax error, which hides everything after it.
pub(super) fn read<R: Shape + Default>(
    path: &Path,
    text: &str,
    grammar: Grammar,
) -> Result<(R, Findings), Faults> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let position = |error: &&toml::de::Error| error.span().map(|span| span.start);
    if let Some(error) = errors.iter().min_by_key(position) {
        return Err(syntax_fault(path, text, grammar, error));
    }
    let mut findings = Findings::new(path, text, grammar, SECTIONS);
    let span = root.span();
    let root = Spanned::new(span, DeValue::Table(root.into_inner()));
    let raw = match Field::read("", &root, &mut findings) {
        Field::Given(raw) => raw.into_inner(),
        Field::Absent | Field::Faulty => R::default(),
    };
    Ok((raw, findings))
}

fn syntax_fault(path: &Path, text: &str, grammar: Grammar, error: &toml::de::Error) -> Faults {
    let grammar = if grammar == Grammar::Toml { Grammar::Broken } else { grammar };
    let mut findings = Findings::new(path, text, grammar, SECTIONS);
    let span = error.span().unwrap_or_default();
    let Advice { first, help } = syntax::advice(text, &span, error.message(), SECTIONS);
    let mut fault = findings.error("this is not TOML").at(span, error.message().to_owned());
    if let Some(first) = first {
        fault = fault.at(first, "the first stands here");
    }
    fault.helps(help).done();
    match findings.verdict::<()>(None) {
        Err(faults) => faults,
        Ok(_) => Faults::new(Vec::new()),
    }
}
