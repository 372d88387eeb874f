//! Tasks around cargo in a checkout. `cargo xtask serve` and `cargo xtask test` are the README's two
//! commands.
//!
//! Needs only rustup and a C compiler, and no crate, so that it builds in a second on a fresh machine.

mod adversary;
mod dist;
mod document;
mod languages;
mod soak;
mod versus;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Target of plugins: they import no WASI.
const PLUGIN_TARGET: &str = "wasm32-unknown-unknown";

/// Target of the tests' components.
const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// Workspaces besides the server's own.
const GUESTS: [&str; 6] =
    ["plugins", "sdk/conformance/rust", "sdk/rust", "tests/components", "benches/versus/http-echo", "fuzz"];

/// Guest workspaces with tests that run on this machine.
const TESTED_GUESTS: [&str; 2] = ["plugins", "sdk/rust"];

/// Programs that the tests run as clients of the server, with the Debian packages that provide them.
const TOOLS: [(&str, &str); 2] = [("openssl", "openssl"), ("python3", "python3")];

const USAGE: &str = "\
Tasks for working in a checkout.

Usage: cargo xtask TASK

Tasks:
  serve      build the server and its plugins, make missing certificates, and serve
  test       run all tests
  plugins    build plugins/*.wasm
  languages  build the conformance plugin in every language, test it, and write the table in docs/languages.md
  instructions [--write]
             count the instructions of the hot paths, and compare them with the stored counts (or store them)
  fuzz [TARGET] [--time SECONDS]
             run all fuzz targets, or one, each for a minute or SECONDS
  soak [--minutes N] [--write]
             run mixed traffic for half an hour or N minutes and fail on leaks, lost data or wrong replies (write the table)
  dist       build the release program with profile-guided optimization: target/shipped/lictor
  versus     measure the server against other programs; see `cargo xtask versus --help`
  check      check format, clippy and docs, without running tests
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(),
        ["test", ref filters @ ..] => test(filters),
        ["plugins"] => add_target().and_then(|()| plugins()),
        ["languages"] => add_target().and_then(|()| languages::table()),
        ["instructions"] => instructions("--compare"),
        ["instructions", "--write"] => instructions("--write"),
        ["fuzz", ref arguments @ ..] => adversary::fuzz(arguments),
        ["soak", ref arguments @ ..] => add_target().and_then(|()| soak::soak(arguments)),
        ["dist"] => add_target().and_then(|()| dist::dist()),
        ["versus", ref arguments @ ..] => add_target().and_then(|()| versus::run(arguments)),
        ["check"] => check(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // The only program here whose whole output is for its caller.
            #[expect(clippy::print_stderr, reason = "it is a command")]
            {
                eprintln!("{message}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Builds in the profile of the tests, together with a small test: the crates then have the features that the
/// tests need, and `cargo xtask test` rebuilds none of them.
fn serve() -> Result<(), String> {
    add_target()?;
    plugins()?;
    run(cargo(&["build", "--locked", "--package", "lictor", "--bin", "lictor", "--test", "tidy"]))?;
    let lictor = target_folder().join("debug").join("lictor");
    run(command(&lictor, &["init", "--missing-only"]))?;
    run(command(&lictor, &["serve"]))
}

/// Runs the documentation's examples and the tests of tools first, so that cargo's last output is the summary
/// of real tests.
fn test(filters: &[&str]) -> Result<(), String> {
    add_target()?;
    TOOLS.iter().try_for_each(|(program, package)| install(program, package))?;
    if filters.is_empty() {
        run(cargo(&["test", "--locked", "--package", "lictor", "--doc"]))?;
        // With the server's package, whose features it then has: nothing is built twice.
        run(cargo(&["test", "--locked", "--package", "lictor", "--package", "versus", "--bin", "versus"]))?;
        TESTED_GUESTS.iter().try_for_each(|guests| test_guests(guests))?;
    }
    let tests = ["test", "--locked", "--package", "lictor", "--lib", "--bins", "--tests"];
    let no_run = cargo(&[&tests[..], &["--no-run"]].concat());
    let mut tests = cargo(&[&tests[..], filters].concat());
    if filters.is_empty() {
        // Built alone, the program would have other features in the crates it shares with its tests: two
        // builds.
        run(no_run)?;
        let mut without = languages::build(&target_folder().join("debug/lictor"));
        without.extend(adversary::tls_tools());
        without.extend(prometheus());
        without.extend(rotel());
        tests.env("LICTOR_TEST_WITHOUT", without.join(" "));
    }
    run(tests)
}

/// Runs the tests of plugins or of the SDK that need no host.
fn test_guests(guests: &str) -> Result<(), String> {
    let folder = root().join(guests);
    let mut test = cargo(&["test", "--locked", "--all-features", "--target-dir"]);
    // Runs in the folder, which has the guests' own cargo config.
    test.arg(target_folder().join(guests)).current_dir(&folder);
    run(test)
}

/// Uses the profile of the tests, so that no dependency is built a second time, but optimizes Lictor: then
/// the instructions are about those of a release. Below level 2 it would share the generic functions of the
/// crates that it uses, some of which are not optimized.
fn instructions(what: &str) -> Result<(), String> {
    add_target()?;
    install("valgrind", "valgrind")?;
    run(cargo(&[
        "--config",
        "profile.dev.package.lictor.opt-level=2",
        "bench",
        "--profile",
        "dev",
        "--locked",
        "--package",
        "lictor",
        "--bench",
        "instructions",
        "--",
        what,
    ]))
}

fn check() -> Result<(), String> {
    add_target()?;
    run(cargo(&["fmt", "--all", "--check"]))?;
    for guests in GUESTS {
        let manifest = root().join(guests).join("Cargo.toml");
        run(cargo(&["fmt", "--all", "--check", "--manifest-path", &manifest.to_string_lossy()]))?;
    }
    run(cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    let mut docs = cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    run(docs)
}

/// Builds every plugin of the workspace in `plugins/` and copies it beside its sources.
fn plugins() -> Result<(), String> {
    let folder = root().join("plugins");
    let target = target_folder().join("plugins");
    let manifest = folder.join("Cargo.toml");
    let mut build = cargo(&["build", "--release", "--locked", "--target", PLUGIN_TARGET, "--manifest-path"]);
    // Runs in the folder, which has the guests' own cargo config.
    build.arg(&manifest).arg("--target-dir").arg(&target).current_dir(&folder);
    run(build)?;
    let built = target.join(PLUGIN_TARGET).join("release");
    for name in crates_in(&folder)? {
        let component = format!("{}.wasm", name.replace('-', "_"));
        let (from, to) = (built.join(component), folder.join(format!("{name}.wasm")));
        std::fs::copy(&from, &to)
            .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Returns the folders in `folder` that are crates.
fn crates_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let crates = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").is_file());
    Ok(crates.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Adds the guests' targets if they are missing. Without rustup that is left to the installer of cargo.
fn add_target() -> Result<(), String> {
    let installed =
        Command::new("rustup").current_dir(root()).args(["target", "list", "--installed"]).output();
    let Some(installed) = installed.ok().filter(|output| output.status.success()) else { return Ok(()) };
    let installed = String::from_utf8_lossy(&installed.stdout);
    let missing = |target: &&str| !installed.lines().any(|line| line == *target);
    let missing: Vec<&str> = [PLUGIN_TARGET, COMPONENT_TARGET].into_iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(command(Path::new("rustup"), &[&["target", "add"], &missing[..]].concat()))
}

/// Installs a missing program, if the machine has a way to.
fn install(program: &str, package: &str) -> Result<(), String> {
    if Command::new(program).arg("--version").output().is_ok() {
        return Ok(());
    }
    apt_install(package).map_err(|error| {
        format!("the tests need {program}, and it cannot be installed here ({error}); install it")
    })
}

fn apt_install(package: &str) -> Result<(), String> {
    run(apt(&["update", "--quiet"]))?;
    run(apt(&["install", "--quiet", "--yes", "--no-install-recommends", package]))
}

fn apt(arguments: &[&str]) -> Command {
    let mut apt = command(Path::new("apt-get"), arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Fetches Prometheus and its checker, if either is missing. If they are unavailable here, reports that and
/// returns their name.
fn prometheus() -> Option<&'static str> {
    let folder = target_folder().join("tools/prometheus");
    let is_there = |program: &Path| Command::new(program).arg("--version").output().is_ok();
    let are_there = |of: &Path| ["prometheus", "promtool"].iter().all(|program| is_there(&of.join(program)));
    if are_there(Path::new("")) || are_there(&folder.join("usr/bin")) {
        return None;
    }
    let message = unpack("prometheus", &folder).err()?;
    tell(&format!("metrics, alerts and the dashboard are NOT TESTED with Prometheus in this run: {message}"));
    Some("prometheus")
}

/// The collector of traces, in a package of Python's.
const ROTEL: &str = "rotel==0.0.1a15";

/// Fetches a collector of traces, if it is missing. If it is unavailable here, reports that and returns its
/// name.
fn rotel() -> Option<&'static str> {
    let folder = target_folder().join("tools").join(ROTEL);
    if folder.join("rotel/rotel-agent").is_file() {
        return None;
    }
    let message = pip_install(ROTEL, &folder).err()?;
    tell(&format!("traces are NOT TESTED with a real collector in this run: {message}"));
    Some("rotel")
}

/// Installs a package of Python's into a folder of its own.
fn pip_install(package: &str, folder: &Path) -> Result<(), String> {
    let has_pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !has_pip.is_ok_and(|output| output.status.success()) {
        apt_install("python3-pip")?;
    }
    let mut pip = command(Path::new("python3"), &["-m", "pip", "install", "--quiet", "--target"]);
    pip.arg(folder).arg(package);
    run(pip)
}

/// Unpacks a Debian package into a folder. Installing it would also start the service in it.
fn unpack(package: &str, folder: &Path) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fault)?;
    run(apt(&["update", "--quiet"]))?;
    let mut download = apt(&["download", "--quiet", package]);
    download.current_dir(folder);
    run(download)?;
    let mut entries = std::fs::read_dir(folder).map_err(fault)?.flatten().map(|entry| entry.path());
    let archive = entries.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let archive = archive.ok_or_else(|| format!("{}: no package came", folder.display()))?;
    run(command(Path::new("dpkg-deb"), &["-x", &archive.to_string_lossy(), &folder.to_string_lossy()]))
}

fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command(Path::new(&cargo), arguments)
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

fn run(mut command: Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Prints a message for the caller, beside the output of the tools.
#[expect(clippy::print_stderr, reason = "it is a command")]
fn tell(message: &str) {
    eprintln!("\nxtask: {message}\n");
}

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
