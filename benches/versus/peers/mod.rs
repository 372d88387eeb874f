//! The servers that are measured. Each is a process on cores of its own, with a config of its own, in a folder of its own.

pub mod lictor;
pub mod redis;
pub mod wasmtime;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use ::lictor::load::{Dialect, Peer};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::process::Process;
use super::support::certs::Identity;
use super::support::client::Tls;

/// A running server, which ends with this value.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    /// Who its clients are; nobody where it has no TLS.
    client: Option<TlsConnector>,
    /// Its folder, which goes after the process has ended.
    _folder: Box<dyn Any>,
}

impl Server {
    fn new(process: Process, address: SocketAddr, client: Option<&Identity>, folder: impl Any) -> Self {
        // Its configuration keeps no sessions, so that each handshake is a full one.
        let connector = |client| TlsConnector::from(Tls::showing(client).config());
        Self { process, address, client: client.map(connector), _folder: Box::new(folder) }
    }

    /// The server as a client of this dialect sees it.
    pub fn peer(&self, dialect: &Arc<dyn Dialect>) -> Peer {
        let name = ServerName::IpAddress(self.address.ip().into());
        let tls = self.client.clone().map(|connector| (connector, name));
        Peer { address: self.address, tls, dialect: Arc::clone(dialect) }
    }

    /// The same for another client.
    pub fn peer_of(&self, client: &Identity, dialect: &Arc<dyn Dialect>) -> Peer {
        let connector = TlsConnector::from(Tls::showing(client).config());
        Peer { tls: self.peer(dialect).tls.map(|(_, name)| (connector, name)), ..self.peer(dialect) }
    }
}

/// Where in a line a server says its address, behind `mark` and up to `end`.
fn address_in(line: &str, mark: &str, end: char) -> Option<SocketAddr> {
    line.split_once(mark)?.1.split(end).next()?.parse().ok()
}
