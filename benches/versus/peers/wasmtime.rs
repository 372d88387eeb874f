//! `wasmtime serve`: a sandboxed component behind HTTP/1.1, without TLS and without clients that are known.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::{Server, address_in};
use crate::process::Process;

/// The program, and the component of `http-echo/`: `cargo xtask versus` gets the one and builds the other.
const PROGRAM: &str = "LICTOR_VERSUS_WASMTIME";
const COMPONENT: &str = "LICTOR_VERSUS_HTTP_ECHO";

/// How long an instance lives.
#[derive(Clone, Copy, PartialEq)]
pub enum Instances {
    /// For one request: its default for components of WASI 0.2.
    Fresh,
    /// For as many requests as a shared one of Lictor's.
    Reused,
}

/// Starts it and waits until it listens.
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

/// `49.0.3`.
pub fn version() -> Result<String, String> {
    let output = Command::new(path(PROGRAM)?).arg("--version").output();
    let output = output.map_err(|error| format!("wasmtime does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split(' ').nth(1).map(|version| version.trim().to_owned());
    version.ok_or_else(|| format!("wasmtime does not say its version: {text}"))
}

fn path(variable: &str) -> Result<PathBuf, String> {
    let path = env::var_os(variable).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("{variable} is not set; `cargo xtask versus` sets it"))
}
