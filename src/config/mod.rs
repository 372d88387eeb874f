//! The config file: one TOML text in, one checked [`Config`] out, or every fault in it.
//!
//! `address`, `amounts`, `names`, `reach` and `values` are what a value may be, `limits` the bounds with their reasons,
//! `given` and `raw` the file as it was written with the place of each value, `resolve` turns that into a
//! [`Config`], `fault` shows what is wrong with it, and `syntax` what to do where it is no
//! TOML. `script` is a file of the same form: calls for `lictor plugin run`.
//!
//! Invariant: nothing here opens a socket, starts a task or loads a plugin; it reads the config file and the
//! certificates it names, and looks whether the other files are there. It knows no tokio and no wasmtime, so
//! that `lictor check`, a reload and a test all run the very same code.

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
pub use names::{BUILT_INS, ClientName, CommandName, CommandPattern, PluginName, Refusal, StoreName};
pub use reach::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
pub use redact::urls as without_secrets;
pub use script::{Expected, Script, ScriptCall, ScriptCommand, ScriptGrants, script};
pub use values::{Instances, LogFormat, LogLevel, StateEngine, TlsVersion};

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

use self::redact::Grammar;
use crate::files::{Authors, Matters, Reserved, Sightings};
use crate::identity::{Authority, ClientUri, RevocationList, Thumbprint, Validity};

/// Reads and checks the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading::default())
}

/// The same for a file that a person named to learn where a server is: anybody's, and its components need not be there.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn load_of_anybody(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading { authors: Authors::Anybody, running: None })
}

/// Reads and checks the file of the config that is `running` anew. What a reload does not change, such as the
/// file of the state, is withheld from plugins as well as what the file names now.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
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

/// Checks `text`; `path` is what messages call it, and relative paths in it start at the folder of `path`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn parse(path: &Path, text: &str) -> Result<Loaded, Faults> {
    parse_in(path, text, Reading::default())
}

/// The same, whoever wrote the files that it names.
///
/// # Errors
/// Everything else that is wrong with it, in the order of the lines.
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

/// What a config file is read with, beside its text.
#[derive(Clone, Copy, Default)]
struct Reading<'a> {
    authors: Authors,
    /// The config that serves meanwhile.
    running: Option<&'a Config>,
}

/// A config that may be served.
#[derive(Debug)]
pub struct Loaded {
    /// What to serve.
    pub config: Config,
    /// What an operator should look at, in the order of the lines; nothing in it prevents serving.
    pub warnings: Vec<Fault>,
    /// The files that it is made of, itself and those that it names, as they were before they were read: a change of any counts.
    pub sightings: Sightings,
}

/// A whole config file, resolved: defaults filled in, paths joined to the file's folder, certificates hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from, as it was given.
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
    /// `[clients.NAME]`. No two of them pin the same certificate, or have the same URI.
    pub clients: BTreeMap<ClientName, Client>,
    /// `[plugins.NAME]`. No two of them serve the same command.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// `[state]`.
    pub state: State,
    /// The clients and plugins with `enabled = false`.
    pub disabled: Disabled,
}

/// What stands in the file and is switched off. Nothing of it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disabled {
    /// The clients, with the files that their `certificates` names, which stay withheld from plugins.
    pub clients: BTreeMap<ClientName, Vec<PathBuf>>,
    /// The plugins.
    pub plugins: BTreeSet<PluginName>,
}

impl Config {
    /// The files and folders that no plugin may read, whatever it is granted.
    #[must_use]
    pub fn reserved(&self) -> Reserved {
        let authorities = self.identity.authorities.iter().map(|file| &file.path);
        let clients = self.clients.values().map(|client| &client.certificates);
        let clients = clients.chain(self.disabled.clients.values()).flatten();
        resolve::reserved(&self.path, Some(&self.server), &self.state, authorities.chain(clients))
    }
}

/// Where the server listens, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// At least one; none takes a port of another.
    pub listen: Vec<SocketAddr>,
    /// The server's certificate, with its chain if it has one.
    pub certificate: ServerCertificate,
    /// PEM file of its key; was there when it was looked at.
    pub private_key: PathBuf,
    /// The oldest TLS version that is spoken.
    pub min_tls: TlsVersion,
    /// How long a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// The folder in which compiled plugins are kept. It need not be there.
    pub cache: PathBuf,
    /// The folder in which a trap leaves a core dump; `None` for no dumps. It need not be there.
    pub core_dumps: Option<PathBuf>,
    /// Whether a change of a file that the config names, or of itself, reloads it.
    pub watch: bool,
}

/// The certificate that the server shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// Where it was found.
    pub path: PathBuf,
    /// What stood in it: the server's own, and what leads from it to an authority. At least one.
    pub chain: Vec<CertificateDer<'static>>,
}

/// How the server behaves on the wire where the protocol leaves a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protocol {
    /// Whether an error in a command closes the connection, as the original did.
    pub close_on_error: bool,
}

/// Whose word is taken for clients that are known by a URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The files that `authorities` names.
    pub authorities: Vec<AuthorityFile>,
    /// The files that `revocation_lists` names.
    pub revocation_lists: Vec<RevocationFile>,
}

/// A file of authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityFile {
    /// Where it was found.
    pub path: PathBuf,
    /// What stood in it; at least one.
    pub authorities: Vec<Authority>,
}

/// A file of revocation lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationFile {
    /// Where it was found.
    pub path: PathBuf,
    /// What stood in it; at least one.
    pub lists: Vec<RevocationList>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
    /// Whether the arguments of commands are logged; they may hold secrets.
    pub arguments: bool,
    /// Successful commands logged one by one in a second; what comes beyond it is only counted. 0 logs none.
    pub commands_per_second: u32,
}

/// A client: what it is known by, and what it may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its certificates' hashes, in the order of the file, those of `certificates` last.
    pub thumbprints: Vec<Pin>,
    /// The files that `certificates` names, where they were found.
    pub certificates: Vec<PathBuf>,
    /// Its URIs, for which an authority has to vouch. Empty only where `thumbprints` is not.
    pub uris: Vec<ClientUri>,
    /// What it may run; nothing else.
    pub commands: Vec<CommandPattern>,
}

/// A certificate that a client is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Its hash.
    pub thumbprint: Thumbprint,
    /// When it is valid, where its file said so.
    pub validity: Option<Validity>,
}

/// A plugin: its component, what it serves and within what bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The component's file; was there when it was looked at.
    pub component: PathBuf,
    /// What the component's bytes must hash to, if the operator said so.
    pub sha256: Option<[u8; 32]>,
    /// The commands that go to it.
    pub commands: Vec<CommandName>,
    /// How long an instance lives.
    pub instances: Instances,
    /// The most time that a call may take.
    pub timeout: Duration,
    /// The most time that a call may compute; `None` leaves it to `timeout`.
    pub cpu_time: Option<Duration>,
    /// The most memory of an instance, all its memories and tables together.
    pub memory_bytes: usize,
    /// The largest reply.
    pub reply_bytes: usize,
    /// The most calls at once; `None` leaves it to `limits.concurrent_commands`.
    pub concurrency: Option<u32>,
    /// A warm instance is retired at its n-th call.
    pub max_calls: u32,
    /// A warm instance unused for so long is dropped.
    pub idle: Duration,
    /// Operations on what it was granted in one call.
    pub host_calls: u64,
    /// Bytes that they carry.
    pub host_bytes: u64,
    /// The most keys in each of its own stores.
    pub store_keys: u64,
    /// The most bytes of keys and values in each of its own stores.
    pub store_bytes: u64,
    /// What it reads through `wasi:config`, which it may where this is there. May hold secrets, so that
    /// `Debug` shows the keys only.
    pub config: Option<BTreeMap<String, String>>,
    /// What it may reach.
    pub grants: Grants,
}

/// What a plugin may reach beyond its own memory. An empty list lets it import the interface, and reach nothing through it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Whether it may write events into the log through `wasi:logging`.
    pub logging: bool,
    /// The key-value stores it may open.
    pub keyvalue: Option<Vec<StoreGrant>>,
    /// The other commands that it may run for its client; none of the server's own.
    pub commands: Option<Vec<CommandPattern>>,
    /// Single files that it may read: as it names them, and where they are.
    pub files: Option<Vec<(String, PathBuf)>>,
    /// Folders that it may read: as it sees them, and where they are. Were there when they were looked at.
    pub directories: Vec<(String, PathBuf)>,
    /// The topics it may publish and subscribe to.
    pub events: Option<Vec<EventGrant>>,
    /// The URLs it may send requests to.
    pub http: Option<Vec<HttpUrl>>,
    /// Whether the file has a table for them.
    pub is_written: bool,
}

/// A URL that a plugin may send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Its scheme and host, and where given its port and the start of its path.
    pub url: String,
    /// Addresses that are not of the public network, to which its name may lead all the same.
    pub networks: Vec<IpNet>,
}

/// Where plugins' state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The engine.
    pub engine: StateEngine,
    /// The engine's file; always there for [`StateEngine::Sqlite`].
    pub path: Option<PathBuf>,
    /// The most that the file may grow to, in bytes.
    pub file_size: Option<u64>,
    /// The most keys in a store, where its plugin says nothing else.
    pub store_keys: u64,
    /// The most bytes of keys and values in a store, where its plugin says nothing else.
    pub store_bytes: u64,
}

/// Shows certificates as people know them.
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
