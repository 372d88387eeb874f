//! The config, resolved: what the file says, with its defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

use super::entries::Entry;
use super::limits::Limits;
use super::names::{ClientName, CommandName, PluginName, RoleName};
use super::resources::{EventGrant, StoreGrant};
use super::setting::Setting;
use super::source::{Place, Placed};
use super::telemetry::Collector;
use super::values::{Instances, LogFormat, LogLevel, StateEngine, TlsVersion};
use crate::authz::{PermissionPattern, Permissions};
use crate::identity::{Authority, ClientUri, RevocationList, Thumbprint, Validity};
use crate::units::Ratio;

/// A whole config file, resolved: defaults filled in, paths joined to the file's folder, certificates hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The path of its file, as given.
    pub path: PathBuf,
    /// The paths of the files that it includes.
    pub included: Vec<PathBuf>,
    /// The patterns of files that it includes, each with its folder.
    pub patterns: Vec<PathBuf>,
    /// `[server]`.
    pub server: Server,
    /// `[protocol]`.
    pub protocol: Protocol,
    /// `[identity]`.
    pub identity: Identity,
    /// `[limits]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
    /// `[roles.NAME]`.
    pub roles: BTreeMap<RoleName, Role>,
    /// `[clients.NAME]`. No two clients pin the same certificate or have the same URI.
    pub clients: BTreeMap<ClientName, Client>,
    /// `[plugins.NAME]`. No two plugins serve the same command.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// `[state]`.
    pub state: State,
    /// `[admin]`; without the section nothing listens.
    pub admin: Admin,
    /// `[telemetry]`; without the section nothing is traced.
    pub telemetry: Option<Telemetry>,
    /// The clients and plugins with `enabled = false`.
    pub disabled: Disabled,
    /// The entries that can be taken away one by one.
    pub entries: Arc<[Entry]>,
}

/// Entries of the file that are disabled. None of them is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disabled {
    /// The clients, with the files their `certificates` names; these stay withheld from plugins.
    pub clients: BTreeMap<ClientName, Vec<PathBuf>>,
    /// The plugins, with the files that keep their secrets; these stay withheld, too.
    pub plugins: BTreeMap<PluginName, Vec<PathBuf>>,
}

/// The server's addresses, certificate and process-wide settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The listen addresses, at least one; no two conflict over a port.
    pub listen: Vec<SocketAddr>,
    /// The server's certificate, with its chain if it has one.
    pub certificate: ServerCertificate,
    /// PEM file of the certificate's key; existed when it was checked.
    pub private_key: PathBuf,
    /// The oldest TLS version accepted.
    pub min_tls: TlsVersion,
    /// The time a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// The folder of compiled plugins. It need not exist.
    pub cache: PathBuf,
    /// The folder for core dumps of traps; `None` for no dumps. It need not exist.
    pub core_dumps: Option<PathBuf>,
    /// True if a change to the config file, or to a file it names, triggers a reload.
    pub watch: bool,
}

/// The certificate that the server presents.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The path of its file.
    pub path: PathBuf,
    /// The file's certificates: the server's own, then those that lead to an authority. At least one.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Wire behaviour where the protocol leaves a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protocol {
    /// True if an error in a command closes the connection, as the original server did.
    pub close_on_error: bool,
}

/// The authorities trusted to vouch for clients that are identified by a URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The files listed in `authorities`.
    pub authorities: Vec<AuthorityFile>,
    /// The files listed in `revocation_lists`.
    pub revocation_lists: Vec<RevocationFile>,
}

/// A file of certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityFile {
    /// Its path.
    pub path: PathBuf,
    /// The authorities in it, at least one.
    pub authorities: Vec<Authority>,
}

/// A file of revocation lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationFile {
    /// Its path.
    pub path: PathBuf,
    /// The lists in it, at least one.
    pub lists: Vec<RevocationList>,
}

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// The output format: for people or for machines.
    pub format: LogFormat,
    /// True if the arguments of commands are logged; they may hold secrets.
    pub arguments: bool,
    /// Successful commands logged one by one per second; further ones are only counted. 0 logs none.
    pub commands_per_second: u32,
}

/// A role: commands that several clients may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The requests that its clients may make.
    pub commands: Vec<Placed<PermissionPattern>>,
    /// True if its clients' `traceparent` is believed.
    pub trace: bool,
    /// The place of its section.
    pub place: Place,
}

/// A client: its identities, and the commands it may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The hashes of its certificates, in file order; those from `certificates` come last.
    pub thumbprints: Vec<Pin>,
    /// The paths of the files that `certificates` names.
    pub certificates: Vec<PathBuf>,
    /// Its URIs, for which an authority has to vouch. Empty only if `thumbprints` is not.
    pub uris: Vec<ClientUri>,
    /// Its roles, each one of [`Config::roles`].
    pub roles: Vec<RoleName>,
    /// The patterns of its own.
    pub commands: Vec<Placed<PermissionPattern>>,
    /// The requests it may make, by its own patterns and its roles'; no others. After a reload that only
    /// narrowed them, less than these patterns say.
    pub permissions: Permissions,
    /// True if one of its roles has its `traceparent` believed. After a reload that only narrowed the
    /// config, false if no role does any more.
    pub trace: bool,
    /// The place of its section.
    pub place: Place,
    /// The time until which plugins' commands that it may not run are run and reported.
    pub report_until: Option<SystemTime>,
    /// The time from which on nobody is admitted as this client.
    pub expires: Option<SystemTime>,
    /// Its own limits.
    pub limits: OwnLimits,
}

/// Limits of a client's own, none above its limit in [`Limits`], which applies where there is none here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnLimits {
    /// Requests in a second, and as many at once.
    pub requests_per_second: Option<u32>,
    /// Calls of plugins that run at once, streams included.
    pub concurrent_commands: Option<usize>,
    /// Connections at once.
    pub connections: Option<usize>,
    /// The most `Idempotency-Key`s kept.
    pub idempotency_keys: Option<u64>,
    /// The most bytes of these keys and their answers.
    pub idempotency_bytes: Option<u64>,
}

/// A certificate that identifies a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Its hash.
    pub thumbprint: Thumbprint,
    /// Its validity period, if known from its file.
    pub validity: Option<Validity>,
}

/// A plugin: its component, its commands and its bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The place of its section.
    pub place: Place,
    /// The component's file; existed when it was checked.
    pub component: PathBuf,
    /// The required SHA-256 of the component's bytes, if the operator gave one.
    pub sha256: Option<[u8; 32]>,
    /// The commands routed to it.
    pub commands: Vec<CommandName>,
    /// The lifetime of an instance.
    pub instances: Instances,
    /// The most time a call may take.
    pub timeout: Duration,
    /// The most CPU time a call may use; `None` leaves it to `timeout`.
    pub cpu_time: Option<Duration>,
    /// The most memory of an instance, all its memories and tables together.
    pub memory_bytes: usize,
    /// The largest reply, in bytes.
    pub reply_bytes: usize,
    /// The most concurrent calls; `None` leaves it to `limits.concurrent_commands`.
    pub concurrency: Option<u32>,
    /// A warm instance is retired at its n-th call.
    pub max_calls: u32,
    /// A warm instance unused for this long is dropped.
    pub idle: Duration,
    /// The most operations on granted resources in one call.
    pub host_calls: u64,
    /// The most bytes these operations carry in one call.
    pub host_bytes: u64,
    /// The most keys in each of its own stores.
    pub store_keys: u64,
    /// The most bytes of keys and values in each of its own stores.
    pub store_bytes: u64,
    /// Settings it reads through `wasi:config`; `None` if it may not. They may hold secrets, so `Debug` shows
    /// the keys only.
    pub config: Option<BTreeMap<String, Setting>>,
    /// The resources it may use.
    pub grants: Grants,
}

/// Access of a plugin beyond its own memory. An empty list permits the import, but reaches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// True if it may write events to the log through `wasi:logging`.
    pub logging: bool,
    /// The key-value stores it may open.
    pub keyvalue: Option<Vec<StoreGrant>>,
    /// The other commands it may run for its client; none of the server's own.
    pub commands: Option<Permissions>,
    /// Single files it may read: the name it uses, and the real path.
    pub files: Option<Vec<(String, PathBuf)>>,
    /// Folders it may read: the name it sees, and the real path. They existed when they were checked.
    pub directories: Vec<(String, PathBuf)>,
    /// The topics it may publish and subscribe to.
    pub events: Option<Vec<EventGrant>>,
    /// The URLs it may send requests to.
    pub http: Option<Vec<HttpUrl>>,
    /// True if the file has a table of grants for this plugin.
    pub is_written: bool,
}

/// A URL that a plugin may send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Its scheme and host, and if given its port and the start of its path.
    pub url: String,
    /// Networks outside the public internet that its name may resolve to all the same.
    pub networks: Vec<IpNet>,
}

/// Storage of plugins' state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The engine.
    pub engine: StateEngine,
    /// The engine's file; always present for [`StateEngine::Sqlite`].
    pub path: Option<PathBuf>,
    /// The most that the file may grow to, in bytes.
    pub file_size: Option<u64>,
    /// The most keys in a store whose plugin sets no limit of its own.
    pub store_keys: u64,
    /// The most bytes of keys and values in a store whose plugin sets no limit of its own.
    pub store_bytes: u64,
}

/// Listeners that show the server's metrics and health over HTTP. Nothing there can act.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Sockets of this machine's users, and loopback addresses.
    pub listen: Vec<AdminAddress>,
    /// Addresses with TLS, for clients.
    pub tls_listen: Vec<SocketAddr>,
    /// Addresses for anybody, with the health alone.
    pub health: Vec<SocketAddr>,
    /// The most clients that have a label of their own in the metrics.
    pub client_labels: u16,
}

/// An address that only this machine's users reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// The path of a Unix socket.
    Socket(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

/// Traces of requests, and the collector that they are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector.
    pub otlp: Collector,
    /// The part of the requests that is traced without being asked to.
    pub sample: Ratio,
}

/// Shows certificates by their thumbprints.
impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain: Vec<_> = self.chain.iter().map(|certificate| Thumbprint::sha256_of(certificate)).collect();
        f.debug_struct("ServerCertificate").field("path", &self.path).field("chain", &chain).finish()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("component", &self.component)
            .field("sha256", &self.sha256.map(|digest| Thumbprint::Sha256(digest).to_string()))
            .field("commands", &self.commands)
            .field("instances", &self.instances)
            .field("timeout", &self.timeout)
            .field("cpu_time", &self.cpu_time)
            .field("memory_bytes", &self.memory_bytes)
            .field("reply_bytes", &self.reply_bytes)
            .field("concurrency", &self.concurrency)
            .field("max_calls", &self.max_calls)
            .field("idle", &self.idle)
            .field("host_calls", &self.host_calls)
            .field("host_bytes", &self.host_bytes)
            .field("store_keys", &self.store_keys)
            .field("store_bytes", &self.store_bytes)
            .field("config", &self.config.as_ref().map(BTreeMap::keys))
            .field("grants", &self.grants)
            .finish()
    }
}
