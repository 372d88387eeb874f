//! Redis of the Debian package: TLS 1.3 alone, clients with certificates, everything kept in memory or every write on the disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Server;
use crate::process::Process;
use crate::support::certs::Identity;

/// What becomes of writes.
#[derive(Clone, Copy, PartialEq)]
pub enum Keeps {
    /// They are in memory.
    Nothing,
    /// They are on the disk before they are answered.
    EveryWrite,
}

/// The most connections, above the most that a scenario opens.
const CONNECTIONS: usize = 12_000;

/// Starts it and waits until it accepts connections.
pub fn start(keeps: Keeps, cores: &[usize], client: &Identity) -> Result<Server, String> {
    version()?;
    let folder = TempDir::new().map_err(|error| format!("no folder for Redis: {error}"))?;
    // It can't choose one by itself. Whoever takes the port in between makes it fail, and say so.
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

/// `7.0.15`.
pub fn version() -> Result<String, String> {
    let output = Command::new("redis-server").arg("--version").output();
    let output = output.map_err(|_| "there is no redis-server here (Debian: redis-server)".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split(" v=").nth(1).and_then(|rest| rest.split(' ').next());
    version.map(str::to_owned).ok_or_else(|| format!("redis-server does not say its version: {text}"))
}

fn config(folder: &Path, address: SocketAddr, keeps: Keeps, client: &Identity) -> String {
    let (certificate, key) = Identity::of_server().write(folder, "server");
    // The client's certificate is signed by itself, and so stands for its authority.
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
