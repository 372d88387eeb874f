//! Redis of the Debian package: TLS 1.3 only, clients with certificates, data in memory only or with every
//! write on the disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::certs::Identity;

use super::Server;
use crate::process::Process;

/// Durability of writes.
#[derive(Clone, Copy, PartialEq)]
pub enum Keeps {
    /// In memory only.
    Nothing,
    /// On the disk before they are answered.
    EveryWrite,
}

/// Connection limit, above the most that any scenario opens.
const CONNECTIONS: usize = 12_000;

/// Starts Redis and waits until it accepts connections.
pub fn start(keeps: Keeps, cores: &[usize], client: &Identity) -> Result<Server, String> {
    version()?;
    let folder = TempDir::new().map_err(|error| format!("no folder for Redis: {error}"))?;
    // Redis can't choose a port itself. If another program takes this one in between, Redis fails.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| format!("no port for Redis: {error}"))?;
    let config = config(folder.path(), address, keeps, client);
    let path = folder.path().join("redis.conf");
    fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut command = Command::new("redis-server");
    command.arg(&path).current_dir(folder.path());
    let is_ready = |line: &str| line.contains("Ready to accept connections").then_some(());
    let (process, ()) = Process::start(&command, cores, is_ready)?;
    Ok(Server::new(process, address, Some(client), folder))
}

/// Returns the version, such as `7.0.15`.
pub fn version() -> Result<String, String> {
    let output = Command::new("redis-server").arg("--version").output();
    let output = output.map_err(|_| "there is no redis-server here (Debian: redis-server)".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split(" v=").nth(1).and_then(|rest| rest.split(' ').next());
    version.map(str::to_owned).ok_or_else(|| format!("redis-server does not say its version: {text}"))
}

fn config(folder: &Path, address: SocketAddr, keeps: Keeps, client: &Identity) -> String {
    let (certificate, key) = Identity::of_server().write(folder, "server");
    // The client's certificate is self-signed, and so serves as its own authority.
    let (authority, _) = client.write(folder, "client");
    let append = match keeps {
        Keeps::Nothing => "appendonly no",
        Keeps::EveryWrite => "appendonly yes\nappendfsync always",
    };
    format!(
        "bind {}\nport 0\ntls-port {}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients yes\n\
         tls-protocols TLSv1.3\nmaxclients {CONNECTIONS}\ndir {}\nsave \"\"\n{append}\ndaemonize no\nlogfile \"\"\n",
        address.ip(),
        address.port(),
        certificate.display(),
        key.display(),
        authority.display(),
        folder.display()
    )
}
