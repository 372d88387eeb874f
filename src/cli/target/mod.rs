//! The server to call, the trust in it, and the client's credentials: from options, the environment, or a
//! config file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::config_file::{CONFIG_FILE, is_missing, load_named_config, want_own_config};
use super::{Failure, output, paste};
use crate::app::may;
use crate::client::{Address, Credentials, KnownServers, Trust, folder};
use crate::config::{Client, ClientName, Config, ServerCertificate, quoted};
use crate::files::other_writers;
use crate::identity::Thumbprint;

/// The options that name a server and a client.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TargetOptions {
    /// Server, HOST:PORT [default: the config file's first listen address]
    #[arg(long, value_name = "ADDRESS", env = "LICTOR_SERVER", hide_env_values = true)]
    server: Option<Address>,
    /// Client certificate, PEM [default: that of the config file's first client, by name, whose key is in the
    /// same folder and that may run the command]
    #[arg(long, value_name = "FILE", env = "LICTOR_CERT", hide_env_values = true)]
    cert: Option<PathBuf>,
    /// Private key of the certificate, PEM [default: the certificate's file name with .key, or the
    /// certificate's file itself]
    #[arg(long, value_name = "FILE", env = "LICTOR_KEY", hide_env_values = true)]
    key: Option<PathBuf>,
    /// Trust servers with a certificate signed by one of these authorities, PEM
    #[arg(long, value_name = "FILE", env = "LICTOR_CA", hide_env_values = true)]
    ca: Option<PathBuf>,
    /// Trust only the server whose certificate has this SHA-256 or SHA-1 thumbprint; overrides --ca
    #[arg(long, value_name = "THUMBPRINT", env = "LICTOR_PIN", hide_env_values = true)]
    pin: Option<Thumbprint>,
    /// Config file for the options that are not given [default: server.toml, if --server is not given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A server to call.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) trust: TrustSource,
    pub(super) credentials: Credentials,
    /// The config file that they come from.
    pub(super) config: Option<PathBuf>,
}

impl Target {
    /// The server of a config that is loaded, and no other that the environment may name.
    pub(super) fn in_config(config: &Config, wanted: Wanted<'_>) -> Result<Self, Failure> {
        TargetOptions::default().resolve_in(Some(config), wanted)
    }
}

/// The command for which a client is chosen from a config.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// Not known yet.
    Any,
    /// A command and its arguments: a client that may run it goes before others.
    Command(&'a [String]),
    /// The command that a verb is about: a client that may not run it is of no use.
    BuiltIn(&'a str),
    /// `@reload`, after an edit that may take out a client: this client goes behind all others.
    Reload { without: Option<&'a str> },
}

/// The command that has a server reload its config.
pub(super) const RELOAD: &str = "@reload";

/// The source of the trust in a server.
#[derive(Debug)]
pub(super) enum TrustSource {
    /// Given for this call, in these words.
    Given(Trust, String),
    /// The list of known servers, or the user's answer now.
    Remembered(KnownServers),
}

impl TargetOptions {
    /// The server of a config file, and no other that the environment may name.
    pub(super) fn of_config(path: &Path) -> Self {
        Self { config: Some(path.to_owned()), ..Self::default() }
    }

    /// Resolves the options, for a client that wants to run a command.
    pub(super) fn resolve(self, wanted: Wanted<'_>) -> Result<Target, Failure> {
        let path = match (&self.config, &self.server) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(_)) => None,
            (None, None) if !is_missing(Path::new(CONFIG_FILE)) => {
                want_own_config()?;
                Some(CONFIG_FILE.into())
            }
            (None, None) => {
                return Err(Failure::usage(
                    "which server? There is no server.toml here; name the server with --server HOST:PORT or \
                     LICTOR_SERVER, or its config with --config FILE",
                ));
            }
        };
        let config = path.as_deref().map(load_named_config).transpose()?.map(|loaded| loaded.config);
        self.resolve_in(config.as_ref(), wanted)
    }

    fn resolve_in(self, config: Option<&Config>, wanted: Wanted<'_>) -> Result<Target, Failure> {
        let trust = self.trust(config)?;
        let (certificate, key) = self.certificate_and_key(config, wanted)?;
        let credentials = Credentials::load(&certificate, key.as_deref())
            .map_err(|error| Failure::usage(error.to_string()))?;
        warn_of_writers(&key.unwrap_or_else(|| certificate.with_extension("key")));
        let address = match (self.server, config) {
            (Some(address), _) => address,
            (None, Some(config)) => listen_address(config)?,
            (None, None) => return Err(Failure::usage("name the server with --server HOST:PORT")),
        };
        Ok(Target { address, trust, credentials, config: config.map(|config| config.path.clone()) })
    }

    fn trust(&self, config: Option<&Config>) -> Result<TrustSource, Failure> {
        if let Some(pin) = self.pin {
            return Ok(TrustSource::Given(Trust::Pinned(vec![pin]), format!("the pin {pin:?}")));
        }
        if let Some(path) = &self.ca {
            let trust = Trust::authorities_in(path).map_err(|error| Failure::usage(error.to_string()))?;
            warn_of_writers(path);
            return Ok(TrustSource::Given(trust, path.display().to_string()));
        }
        if let Some(config) = config {
            let ServerCertificate { path, chain } = &config.server.certificate;
            let pins = chain.iter().take(1).map(|own| Thumbprint::sha256_of(own)).collect();
            let words = format!("{}, the server's certificate in {}", path.display(), config.path.display());
            return Ok(TrustSource::Given(Trust::Pinned(pins), words));
        }
        known_servers().map(TrustSource::Remembered)
    }

    fn certificate_and_key(
        &self,
        config: Option<&Config>,
        wanted: Wanted<'_>,
    ) -> Result<(PathBuf, Option<PathBuf>), Failure> {
        match (&self.cert, &self.key, config) {
            (Some(certificate), key, _) => Ok((certificate.clone(), key.clone())),
            (None, Some(_), _) => {
                Err(Failure::usage("--key needs --cert, the certificate that the key belongs to"))
            }
            (None, None, Some(config)) => Ok((client_of(config, wanted)?, None)),
            (None, None, None) => Err(Failure::usage(
                "no client certificate is named: name one with --cert FILE or LICTOR_CERT (and --key FILE, where the key \
                 is not beside it); `lictor cert new NAME` makes one",
            )),
        }
    }
}

/// The address of this config's server, as seen from here.
fn listen_address(config: &Config) -> Result<Address, Failure> {
    let Some(listen) = config.server.listen.first() else {
        return Err(Failure::usage(format!(
            "{} has no listen address; give --server",
            config.path.display()
        )));
    };
    if listen.port() == 0 {
        let path = config.path.display();
        return Err(Failure::usage(format!(
            "{path} lets the system choose the port; name it with --server HOST:PORT"
        )));
    }
    Ok(reached_at(*listen).into())
}

/// The address of a server that listens at `address`, as seen from here.
pub(super) fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A client of the config whose key is here.
struct Own<'a> {
    name: &'a ClientName,
    client: &'a Client,
    certificate: &'a PathBuf,
}

/// Chooses the first client of the config, by name, whose key is here and that may run what is wanted;
/// returns its certificate. If others would do as well, a user at a terminal is told which is used; for
/// scripts it is the same each time.
fn client_of(config: &Config, wanted: Wanted<'_>) -> Result<PathBuf, Failure> {
    let own = config.clients.iter().filter_map(|(name, client)| {
        let certificate = client.certificates.iter().find(|path| Credentials::has_key(path))?;
        Some(Own { name, client, certificate })
    });
    let mut own: Vec<_> = own.collect();
    if let Wanted::Reload { without: Some(leaving) } = wanted {
        own.sort_by_key(|own| own.name.as_ref() == leaving);
    }
    let words = match wanted {
        Wanted::Any => Vec::new(),
        Wanted::Command(words) => words.to_vec(),
        Wanted::BuiltIn(command) => vec![command.to_owned()],
        Wanted::Reload { .. } => vec![RELOAD.to_owned()],
    };
    let able: Vec<_> = own.iter().filter(|own| may(own.client, &words)).collect();
    let (meant, which) = match (able.is_empty(), wanted) {
        (true, Wanted::BuiltIn(command)) if !own.is_empty() => {
            return Err(not_allowed(&own, command));
        }
        (true, _) => (own.iter().collect(), "whose key is here"),
        (false, _) => (able, "that may run this and whose key is here"),
    };
    let Some(first) = meant.first() else { return Err(no_key(config)) };
    if output::is_stderr_terminal()
        && !matches!(wanted, Wanted::Reload { .. })
        && let Some(other) = meant.get(1)
    {
        output::note(&format!(
            "as the client {}, the first by name {which}; to call as another, name its certificate: --cert {} is {}'s",
            first.name,
            paste::path(other.certificate),
            other.name
        ));
    }
    Ok(first.certificate.clone())
}

/// Refuses a verb whose command none of the clients whose keys are here may run.
fn not_allowed(own: &[Own<'_>], command: &str) -> Failure {
    let names: Vec<_> = own.iter().map(|own| format!("`{}`", own.name)).collect();
    let who = match names.as_slice() {
        [name] => format!("the client {name}, whose key is here, may not run {command}"),
        _ => format!("none of the clients whose keys are here may run {command}: {}", names.join(", ")),
    };
    let section = own.first().map(|own| format!("[{}] in {}", own.name.key(), own.client.place));
    let section = section.unwrap_or_default();
    Failure::usage(format!(
        "{who}; to allow it, add {} to `commands` of {section}, and have the server reload that by SIGHUP; or name \
         another client's certificate with --cert FILE",
        quoted(command)
    ))
}

/// The reason why no client of the config can be used from here.
fn no_key(config: &Config) -> Failure {
    let off: Vec<_> = config.disabled.clients.keys().map(|name| format!("`{name}`")).collect();
    let certificates = config.clients.values().flat_map(|client| &client.certificates);
    let config = config.path.display();
    let missing: Vec<_> = certificates.map(|path| path.with_extension("key").display().to_string()).collect();
    let why = if missing.is_empty() && !off.is_empty() {
        format!("in {config} is switched off by `enabled = false`: {}", off.join(", "))
    } else if missing.is_empty() {
        format!("no client in {config} has `certificates`, only thumbprints")
    } else {
        format!(
            "no client in {config} has its private key beside its certificate (looked for {})",
            missing.join(", ")
        )
    };
    Failure::usage(format!("{why}; name a certificate with --cert FILE and its key with --key FILE"))
}

/// Warns of a file that identifies this user, or lists known servers, and that others can change.
fn warn_of_writers(path: &Path) {
    if let Some(fault) = other_writers(path) {
        output::note(&format!("warning: {fault}"));
    }
}

fn known_servers() -> Result<KnownServers, Failure> {
    let Some(folder) = folder() else {
        return Err(Failure::usage(
            "trust whom? There is no home folder to keep known servers in; \
             give --pin THUMBPRINT or --ca FILE",
        ));
    };
    let known = KnownServers::load(&folder.join("known_servers"))
        .map_err(|error| Failure::usage(error.to_string()))?;
    warn_of_writers(known.path());
    for bad in known.bad_lines() {
        output::note(&format!(
            "{}:{}: this line is ignored: {}",
            known.path().display(),
            bad.line,
            bad.reason
        ));
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
