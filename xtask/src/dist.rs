//! The server as shipped: optimized by a profile of its work under load.
//!
//! A separate build serves a load of small commands and counts which branches are taken, what calls what, and
//! what never runs. From these counts the compiler lays out and inlines the final build (profile-guided
//! optimization, see "Profile-guided Optimization" in The rustc book). The counts stay in the target folder
//! and are used until they are made anew.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{cargo, command, plugins, root, run, target_folder, tell};

/// The cargo profile, which optimizes across crates.
pub(crate) const PROFILE: &str = "dist";

/// Longest time for the counting server's start.
const START: Duration = Duration::from_secs(60);

/// The loads: connections, requests in flight on each, duration, and the command. They include everything
/// that is to be fast, and the most frequent commands run longest. Each load begins with as many handshakes
/// as it has connections.
const LOADS: &[(&str, &str, &str, &[&str])] = &[
    ("50", "1", "6s", &["warm", "0123456789abcdef"]),
    ("50", "16", "6s", &["warm", "0123456789abcdef"]),
    ("50", "1", "3s", &["echo", "0123456789abcdef"]),
    ("50", "16", "3s", &["echo", "0123456789abcdef"]),
    ("50", "1", "2s", &["@ping"]),
    ("50", "16", "2s", &["@ping"]),
    ("50", "16", "2s", &["kv-set", "key", "0123456789abcdef"]),
    ("50", "1", "2s", &["kv-get", "key"]),
    ("50", "16", "2s", &["kv-get", "key"]),
];

/// Makes the counts anew, and builds the program from them.
pub(crate) fn dist() -> Result<(), String> {
    count()?;
    let shipped = build()?;
    tell(&format!("built {}", shipped.display()));
    Ok(())
}

/// Builds `shipped/lictor` in the target folder from the counts, which are made if missing. Returns its path.
pub(crate) fn build() -> Result<PathBuf, String> {
    if !counts().is_file() {
        count()?;
    }
    let (host, target) = (host()?, target_folder());
    run(lictor(&host, &target, &format!("-Cprofile-use={}", counts().display())))?;
    let shipped = target.join("shipped/lictor");
    copy(&target.join(host).join(PROFILE).join("lictor"), &shipped)?;
    Ok(shipped)
}

fn folder() -> PathBuf {
    target_folder().join("profiling")
}

fn counts() -> PathBuf {
    folder().join("lictor.profdata")
}

fn count() -> Result<(), String> {
    let (host, folder) = (host()?, folder());
    let merge = profdata(&host)?;
    plugins()?;
    tell(
        "two builds follow, of some ten minutes each: one that counts what it does, and the one that is shipped",
    );
    run(lictor(&host, &folder, "-Cprofile-generate"))?;
    let (raw, served) = (folder.join("counts"), folder.join("served"));
    for folder in [&raw, &served] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(told(folder))?;
        }
        fs::create_dir_all(folder).map_err(told(folder))?;
    }
    serve(&folder.join(&host).join(PROFILE).join("lictor"), &served, &raw)?;
    let mut merging = command(&merge, &["merge", "--output"]);
    merging.arg(counts()).arg(&raw);
    run(merging)
}

/// Prepares `cargo build` of the server for `host`. Naming the host keeps the flags off build
/// scripts and macros.
fn lictor(host: &str, target: &Path, flag: &str) -> Command {
    let mut build =
        cargo(&["build", "--profile", PROFILE, "--locked", "--package", "lictor", "--bin", "lictor"]);
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags: Vec<&str> = given.split_whitespace().chain([flag]).collect();
    // Separated by this character, so that a path may contain spaces.
    build.args(["--target", host, "--target-dir"]).arg(target);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    build
}

/// Lets `program` serve all loads from the folder `served`, and leave its counts in `raw`.
fn serve(program: &Path, served: &Path, raw: &Path) -> Result<(), String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| format!("no port to serve at: {error}"))?;
    let config = served.join("server.toml");
    fs::write(&config, include_str!("dist.toml").replace("ADDRESS", &address.to_string()))
        .map_err(told(&config))?;
    fs::create_dir_all(served.join("plugins")).map_err(told(served))?;
    copy(&root().join("plugins/kv.wasm"), &served.join("plugins/kv.wasm"))?;
    let as_client = |arguments: &[&str]| {
        let mut client = command(program, arguments);
        // The client's counts are of no use.
        client.current_dir(served).env("LLVM_PROFILE_FILE", served.join("client.profraw"));
        client
    };
    run(as_client(&["init", "--missing-only"]))?;
    let mut server = command(program, &["serve"]);
    server.current_dir(served).env("LLVM_PROFILE_FILE", raw.join("server.profraw")).stderr(Stdio::null());
    let mut server = Running(server.spawn().map_err(|error| format!("{}: {error}", program.display()))?);
    let give_up = Instant::now() + START;
    while !as_client(&["call", "@ping"]).output().is_ok_and(|output| output.status.success()) {
        if Instant::now() > give_up {
            return Err(format!("{} does not serve in {}", program.display(), served.display()));
        }
        sleep(Duration::from_millis(100));
    }
    run(as_client(&["call", "kv-set", "key", "0123456789abcdef"]))?;
    for (connections, in_flight, time, words) in LOADS {
        let options = [
            "bench",
            "--connections",
            connections,
            "--in-flight",
            in_flight,
            "--warm-up",
            "100ms",
            "--time",
            time,
        ];
        run(as_client(&[&options, *words].concat()))?;
    }
    run(as_client(&["call", "@drain"]))?;
    let ended = server.0.wait().map_err(|error| format!("{}: {error}", program.display()))?;
    if ended.success() { Ok(()) } else { Err(format!("{}: {ended}", program.display())) }
}

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the target triple of this machine.
fn host() -> Result<String, String> {
    let version = output_of("rustc", &["--version", "--verbose"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| format!("rustc does not say its host:\n{version}"))
}

/// Returns the program that merges counts; it comes with the compiler, since their formats must match.
fn profdata(host: &str) -> Result<PathBuf, String> {
    let sysroot = output_of("rustc", &["--print", "sysroot"])?;
    let program = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !program.is_file() {
        run(command(Path::new("rustup"), &["component", "add", "llvm-tools"]))?;
    }
    Ok(program)
}

fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        command(Path::new(program), arguments).output().map_err(|error| format!("{program}: {error}"))?;
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(told(folder))?;
    }
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn told(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
