//! The config file: one TOML text in, one checked [`Config`] out, or every fault in it.
//!
//! `address`, `amounts`, `names`, `reach` and `values` define what a value may be; `limits` the bounds with
//! their reasons; `given` and `raw` the file as written, with the position of each value. `resolve` turns
//! that into a [`Config`], `fault` shows its faults, and `syntax` gives advice where the text is not TOML.
//! `script` is a file of the same form: calls for `lictor plugin run`.
//!
//! Invariant: nothing here opens a socket, starts a task or loads a plugin. It reads the config file and the
//! certificates it names, and checks that the other files exist. It knows no tokio and no wasmtime, so that
//! `lictor check`, a reload and a test all run the very same code.

use crate::authz::CommandPattern;

mod address;
mod amounts;
mod diff;
mod edit;
mod fault;
mod files;
mod given;
mod keys;
mod limits;
mod names;
mod narrow;
mod raw;
mod reach;
mod redact;
#[cfg(test)]
mod redact_tests;
mod resolve;
mod script;
mod syntax;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use amounts::{ByteSize, SizeOrPart, TimeSpan};
pub use diff::{Applies, Change, Kind, diff};
pub use edit::{WrittenPin, key_text, pins, quoted};
pub use fault::{Fault, Faults, Severity};
pub use keys::{instead_of_command, known_keys};
pub use limits::{Bound, Limits, Unit, bounds};
pub use names::{BUILT_INS, ClientName, CommandName, PluginName, StoreName};
pub use reach::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
pub use redact::urls as without_secrets;
pub use script::{Expected, Script, ScriptCall, ScriptCommand, ScriptGrants, script};
pub use values::{Instances, LogFormat, LogLevel, StateEngine, TlsVersion};

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

use self::redact::Grammar;
use crate::files::{Authors, Matters, Reserved, Sightings};
use crate::identity::{Authority, ClientUri, RevocationList, Thumbprint, Validity};

/// Reads and checks the config file at `path`.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading::default())
}

/// Like [`load`], to find out where a server is: anybody may own the file, and components need not exist.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_of_anybody(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading { authors: Authors::Anybody, running: None })
}

/// Re-reads and checks the file of the `running` config. Files that a reload does not change, such as the
/// state file, stay withheld from plugins in addition to those the new text names.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_again(running: &Config) -> Result<Loaded, Faults> {
    load_in(&running.path, Reading { authors: Authors::Trusted, running: Some(running) })
}

fn load_in(path: &Path, reading: Reading<'_>) -> Result<Loaded, Faults> {
    let mut sightings = Sightings::default();
    sightings.note(path, Matters::Content);
    let read = files::config_text(path, reading.authors).and_then(|(opened, text)| {
        let (raw, mut findings) = raw::read(path, &text, Grammar::Toml)?;
        resolve::look_at_file(&opened, &raw, &mut findings);
        let config = resolve::resolve(path, raw, reading, (&mut sightings, &mut findings));
        findings.verdict(config)
    });
    match read {
        Ok((config, warnings)) => Ok(Loaded { config, warnings, sightings: sightings.of_content() }),
        Err(faults) => Err(faults.found_in(sightings)),
    }
}

/// Checks `text`. Messages call it `path`, and relative paths in it start at the folder of `path`.
///
/// # Errors
/// Every fault in it, in line order.
pub fn parse(path: &Path, text: &str) -> Result<Loaded, Faults> {
    parse_in(path, text, Reading::default())
}

/// Checks `text` like [`parse`], without checking who could have written the files it names.
///
/// # Errors
/// Every other fault in it, in line order.
pub fn parse_of_anybody(path: &Path, text: &str) -> Result<Loaded, Faults> {
    parse_in(path, text, Reading { authors: Authors::Anybody, running: None })
}

fn parse_in(path: &Path, text: &str, reading: Reading<'_>) -> Result<Loaded, Faults> {
    let (raw, mut findings) = raw::read(path, text, Grammar::Toml)?;
    let mut sightings = Sightings::default();
    let config = resolve::resolve(path, raw, reading, (&mut sightings, &mut findings));
    let (config, warnings) = findings.verdict(config)?;
    Ok(Loaded { config, warnings, sightings: sightings.of_content() })
}

/// Options for reading a config file.
#[derive(Clone, Copy, Default)]
struct Reading<'a> {
    authors: Authors,
    /// The config being served meanwhile.
    running: Option<&'a Config>,
}

/// A config that may be served.
#[derive(Debug)]
pub struct Loaded {
    /// The config to serve.
    pub config: Config,
    /// Warnings for the operator, in line order; none prevents serving.
    pub warnings: Vec<Fault>,
    /// The config file and those it names, as they were before they were read. A change to any counts.
    pub sightings: Sightings,
}

/// A whole config file, resolved: defaults filled in, paths joined to the file's folder, certificates hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The path of its file, as given.
    pub path: PathBuf,
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
    /// `[clients.NAME]`. No two clients pin the same certificate or have the same URI.
    pub clients: BTreeMap<ClientName, Client>,
    /// `[plugins.NAME]`. No two plugins serve the same command.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// `[state]`.
    pub state: State,
    /// The clients and plugins with `enabled = false`.
    pub disabled: Disabled,
}

/// Entries of the file that are disabled. None of them is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disabled {
    /// The clients, with the files their `certificates` names; these stay withheld from plugins.
    pub clients: BTreeMap<ClientName, Vec<PathBuf>>,
    /// The plugins.
    pub plugins: BTreeSet<PluginName>,
}

impl Config {
    /// The files and folders that no plugin may read, regardless of its grants.
    #[must_use]
    pub fn reserved(&self) -> Reserved {
        let authorities = self.identity.authorities.iter().map(|file| &file.path);
        let clients = self.clients.values().map(|client| &client.certificates);
        let clients = clients.chain(self.disabled.clients.values()).flatten();
        resolve::reserved(&self.path, Some(&self.server), &self.state, authorities.chain(clients))
    }
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

/// A client: its identities, and the commands it may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The hashes of its certificates, in file order; those from `certificates` come last.
    pub thumbprints: Vec<Pin>,
    /// The paths of the files that `certificates` names.
    pub certificates: Vec<PathBuf>,
    /// Its URIs, for which an authority has to vouch. Empty only if `thumbprints` is not.
    pub uris: Vec<ClientUri>,
    /// The commands it may run; no others.
    pub commands: Vec<CommandPattern>,
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
    pub config: Option<BTreeMap<String, String>>,
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
    pub commands: Option<Vec<CommandPattern>>,
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
