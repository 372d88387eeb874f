//! `wasmtime serve`: a sandboxed component behind HTTP/1.1, without TLS and without client identities.

use std::process::Command;

use super::{Server, address_in, path, version_of};
use crate::process::Process;

/// The program, which `cargo xtask versus` fetches, and the component of `http-echo/`, which it builds.
const PROGRAM: &str = "LICTOR_VERSUS_WASMTIME";
const COMPONENT: &str = "LICTOR_VERSUS_HTTP_ECHO";

/// Lifetime of an instance.
#[derive(Clone, Copy, PartialEq)]
pub enum Instances {
    /// One request: wasmtime's default for components of WASI 0.2.
    Fresh,
    /// As many requests as a shared instance of Lictor's.
    Reused,
}

/// Starts wasmtime and waits until it listens.
pub fn start(instances: Instances, cores: &[usize]) -> Result<Server, String> {
    let mut command = Command::new(path(PROGRAM)?);
    command.args(["serve", "--addr", "127.0.0.1:0"]);
    if instances == Instances::Reused {
        command.args(["--max-instance-reuse-count", "10000"]);
    }
    command.arg(path(COMPONENT)?);
    let (process, address) = Process::start(&command, cores, |line| address_in(line, "http://", '/'))?;
    Ok(Server::new(process, address, None, ()))
}

/// Returns the version, such as `49.0.3`.
pub fn version() -> Result<String, String> {
    version_of(&path(PROGRAM)?)
}
