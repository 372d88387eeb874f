//! The config file as written: one table for each section, each key with its position.
//!
//! The key lists here are the only ones: allowed keys, suggestions for unknown keys and the documentation all
//! use them. Knows no defaults and compares nothing.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::address::Listen;
use super::amounts::{ByteSize, TimeSpan};
use super::fault::{Faults, Source};
use super::given::{Field, Findings, List, Named, Shape};
use super::limits::RawLimits;
use super::names::{ClientName, CommandName, PluginName};
use super::reach::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
use super::redact::{self, Grammar};
use super::syntax::{self, Advice};
use super::values::{
    Digest, Instances, LogFormat, LogLevel, PathText, PinText, PluginSetting, SettingName, StateEngine,
    TlsVersion, UriText,
};
use crate::authz::CommandPattern;

/// Generates a struct with a [`Field`] for each key, the list of its keys, and the code that reads it.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name { $(pub(super) $key: $crate::config::given::Field<$type>,)* }

        impl $name {
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
        }

        impl $crate::config::given::Shape for $name {
            fn read(
                at: &str,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                findings: &mut $crate::config::given::Findings,
            ) -> Option<Self> {
                let table = $crate::config::given::as_table(at, value, findings)?;
                let mut raw = Self::default();
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        $(stringify!($key) => {
                            let at = $crate::config::given::inside(at, stringify!($key));
                            raw.$key = $crate::config::given::Field::read(&at, value, findings);
                        })*
                        _ => $crate::config::raw::unknown_key(at, (key, value), Self::KEYS, findings),
                    }
                }
                Some(raw)
            }
        }
    };
}
pub(super) use table;

table! {
    /// The whole file.
    RawConfig {
        server: RawServer,
        protocol: RawProtocol,
        identity: RawIdentity,
        limits: RawLimits,
        log: RawLog,
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
    /// `[clients.NAME]`.
    RawClient {
        enabled: bool,
        thumbprints: List<PinText>,
        certificates: List<PathText>,
        uris: List<UriText>,
        commands: List<CommandPattern>,
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
        config: Named<SettingName, PluginSetting>,
        grants: RawGrants,
    }
}
table! {
    /// `[plugins.NAME.grants]`.
    RawGrants {
        logging: bool,
        keyvalue: List<StoreGrant>,
        commands: List<CommandPattern>,
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

/// Every section and its keys.
pub(super) const SECTIONS: [(&str, &[&str]); 11] = [
    ("", RawConfig::KEYS),
    ("server", RawServer::KEYS),
    ("protocol", RawProtocol::KEYS),
    ("identity", RawIdentity::KEYS),
    ("limits", RawLimits::KEYS),
    ("log", RawLog::KEYS),
    ("clients.NAME", RawClient::KEYS),
    ("plugins.NAME", RawPlugin::KEYS),
    ("plugins.NAME.grants", RawGrants::KEYS),
    ("plugins.NAME.grants.http", RawUrl::KEYS),
    ("state", RawState::KEYS),
];

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
    let mut findings = Findings::new(Source::new(path, text, grammar));
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
    let mut findings = Findings::new(Source::new(path, text, grammar));
    let span = error.span().unwrap_or_default();
    let Advice { first, help } = syntax::advice(text, &span, error.message());
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

/// Reports `key`, which is not in `known`.
pub(super) fn unknown_key(
    at: &str,
    (key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>),
    known: &[&str],
    findings: &mut Findings,
) {
    let name = key.get_ref();
    let in_quotes = match super::keys::closest(name, known.iter().copied()) {
        None => dotted_name(at, name, value),
        Some(_) => None,
    };
    findings
        .error(format!("unknown key `{}`", redact::key("", name)))
        .at(key.span(), "nothing reads this")
        .helps(in_quotes)
        .helps(super::keys::instead_of(name, known))
        .done();
}

/// Suggests quotes around a section name with dots: `key` of the section `at` is a table, so it may be part
/// of the name.
fn dotted_name(at: &str, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
    let (section, name) = at.split_once('.')?;
    if !matches!(section, "clients" | "plugins") || name.contains('.') {
        return None;
    }
    let mut table = value.get_ref().as_table()?;
    let mut name = format!("{name}.{}", redact::key("", key));
    while let (1, Some((key, value))) = (table.len(), table.iter().next())
        && let Some(inner) = value.get_ref().as_table()
    {
        name = format!("{name}.{}", redact::key("", key.get_ref()));
        table = inner;
    }
    Some(format!("a name with dots stands in quotes: [{section}.\"{name}\"]"))
}
