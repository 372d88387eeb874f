//! The measured servers. Each is a process on its own cores, with its own config, in its own folder.

pub mod lictor;
pub mod redis;
pub mod wasmtime;

use std::any::Any;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ::lictor::loadgen::{Dialect, Peer};
use rustls::pki_types::ServerName;
use testkit::certs::Identity;
use testkit::client::Tls;
use tokio_rustls::TlsConnector;

use super::process::Process;

/// A running server, which ends with this value.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    /// Connector of its clients; `None` for a server without TLS.
    client: Option<TlsConnector>,
    /// Its folder, which is deleted after the process has ended.
    _folder: Box<dyn Any>,
}

impl Server {
    fn new(process: Process, address: SocketAddr, client: Option<&Identity>, folder: impl Any) -> Self {
        // This configuration keeps no sessions, so that each handshake is a full one.
        let connector = |client| TlsConnector::from(Tls::showing(client).config());
        Self { process, address, client: client.map(connector), _folder: Box::new(folder) }
    }

    /// Returns the server as a peer for clients of this dialect.
    pub fn peer(&self, dialect: &Arc<dyn Dialect>) -> Peer {
        let name = ServerName::IpAddress(self.address.ip().into());
        let tls = self.client.clone().map(|connector| (connector, name));
        Peer { address: self.address, tls, dialect: Arc::clone(dialect) }
    }

    /// Returns the server as a peer for another client.
    pub fn peer_of(&self, client: &Identity, dialect: &Arc<dyn Dialect>) -> Peer {
        let connector = TlsConnector::from(Tls::showing(client).config());
        Peer { tls: self.peer(dialect).tls.map(|(_, name)| (connector, name)), ..self.peer(dialect) }
    }
}

/// Finds the address in a line of the server's output, after `mark` and before `end`.
fn address_in(line: &str, mark: &str, end: char) -> Option<SocketAddr> {
    line.split_once(mark)?.1.split(end).next()?.parse().ok()
}

/// Returns the path in an environment variable that `cargo xtask versus` sets.
fn path(variable: &str) -> Result<PathBuf, String> {
    let path = env::var_os(variable).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("{variable} is not set; `cargo xtask versus` sets it"))
}

/// Returns the second word of a program's `--version`.
fn version_of(program: &Path) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1).map(str::to_owned);
    version.ok_or_else(|| format!("{} does not say its version: {text}", program.display()))
}
