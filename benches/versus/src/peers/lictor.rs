//! Lictor as shipped, with defaults except where a scenario changes them.

use std::path::Path;

use testkit::certs::Identity;
use testkit::components;
use testkit::server::Setup;
use testkit::tools::at_home;

use super::{Server, address_in, path, version_of};
use crate::process::Process;

/// The program, which `cargo xtask versus` builds.
const PROGRAM: &str = "VERSUS_LICTOR";

/// Two plugins of the same component: `echo` in instances that stay warm, `fresh` in one for each request.
pub fn echoing(client: &Identity) -> Setup {
    Setup::new()
        .master("client", client)
        .plugin("echo", components::echo(), &["echo"], "instances = \"shared\"")
        .plugin("fresh", components::echo(), &["fresh"], "instances = \"per-request\"")
}

/// The plugin `kv` in warm instances, its store in a file: an answered write is on the disk.
pub fn keeping(client: &Identity) -> Setup {
    let keys = "instances = \"shared\"\n[plugins.kv.grants]\nkeyvalue = [\"default\"]";
    Setup::new()
        .master("client", client)
        .plugin("kv", components::kv(), &["kv-get", "kv-set"], keys)
        .section("[state]\nengine = \"sqlite\"\npath = \"state.db\"")
}

/// Starts a server and waits until it listens.
pub fn start(setup: Setup, cores: &[usize], client: &Identity) -> Result<Server, String> {
    let config = setup.write();
    let (process, address) = start_with(setup.folder(), &config, cores)?;
    Ok(Server::new(process, address, Some(client), setup))
}

/// Starts a server with an existing config file.
pub fn start_with(
    folder: &Path,
    config: &Path,
    cores: &[usize],
) -> Result<(Process, std::net::SocketAddr), String> {
    let mut command = at_home(&path(PROGRAM)?, folder);
    command.arg("serve").arg("--config").arg(config);
    Process::start(&command, cores, |line| {
        let address = address_in(line, "\"address\":\"", '"');
        address.filter(|_| line.contains("\"message\":\"listening\""))
    })
}

/// Returns the version, such as `0.1.0`.
pub fn version() -> Result<String, String> {
    version_of(&path(PROGRAM)?)
}
