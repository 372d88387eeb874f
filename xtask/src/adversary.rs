//! Tools for attacks: fuzz targets, and programs from PyPI.

use std::ffi::OsString;
use std::fs::File;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::{cargo, command, root, target_folder};

/// Largest input: two heads of the largest size.
const MAX_INPUT_BYTES: &str = "-max_len=16384";

/// Runs fuzz targets: all of them or one, for a minute or the given seconds each, as many at once as there
/// are processors. Findings go to `fuzz/artifacts/`.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<(), String> {
    const USAGE: &str = "cargo xtask fuzz [TARGET] [--time SECONDS]";
    let (named, seconds) = match *arguments {
        [] => (None, "60"),
        ["--time", seconds] => (None, seconds),
        [target] => (Some(target), "60"),
        [target, "--time", seconds] => (Some(target), seconds),
        _ => return Err(USAGE.to_owned()),
    };
    // libFuzzer would read a malformed number as "without end".
    let seconds: u32 = seconds.parse().map_err(|_| USAGE.to_owned())?;
    let path = cargo_fuzz()?;
    let targets = targets()?;
    let wanted: Vec<&String> =
        targets.iter().filter(|target| named.is_none_or(|named| named == *target)).collect();
    if let (Some(named), true) = (named, wanted.is_empty()) {
        return Err(format!("there is no target {named}; there are {}", targets.join(", ")));
    }
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut rows = Vec::new();
    for together in wanted.chunks(processors) {
        rows.extend(thread::scope(|scope| {
            let mut running = Vec::new();
            for target in together {
                running.push(scope.spawn(|| run_target(target, seconds, &path)));
            }
            let ended = running.into_iter().map(|run| run.join().map_err(|_| "a panic".to_owned())?);
            ended.collect::<Result<Vec<_>, _>>()
        })?);
    }
    let head = "| target | executions | edges covered | inputs kept | findings |\n|---|---|---|---|---|";
    super::tell(&format!("{seconds} s each:\n{head}\n{}", rows.join("\n")));
    Ok(())
}

/// Fuzzes a target. New inputs go to a corpus below the target folder; those of the repository are read as
/// well. Returns the row for the table of docs/security.md.
///
/// Others run at the same time, so the output goes to a file, and is shown if something was found.
fn run_target(target: &str, seconds: u32, path: &OsString) -> Result<String, String> {
    let found = target_folder().join("fuzz/corpus").join(target);
    let printed = target_folder().join("fuzz").join(target).with_extension("log");
    let fault = |error: std::io::Error| format!("{}: {error}", printed.display());
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let mut fuzz = on_nightly(&["cargo", "fuzz", "run", "--target-dir"]);
    fuzz.arg(target_folder().join("fuzz")).arg(target).arg(found);
    fuzz.arg(root().join("fuzz/corpus").join(target));
    fuzz.args(["--", &format!("-max_total_time={seconds}"), MAX_INPUT_BYTES, "-print_final_stats=1"]);
    fuzz.stderr(File::create(&printed).map_err(fault)?);
    let ended = super::run(with_path(fuzz, path));
    let printed = std::fs::read_to_string(&printed).map_err(fault)?;
    ended.map_err(|error| format!("{printed}\n{error}"))?;
    let number = |name: &str| {
        let (_, rest) = printed.rsplit_once(name)?;
        rest.trim_start().split(|character: char| !character.is_ascii_digit()).next().map(str::to_owned)
    };
    let numbers =
        ["stat::number_of_executed_units:", " cov: ", " corp: "].map(|name| number(name).unwrap_or_default());
    Ok(format!("| `{target}` | {} | none |", numbers.join(" | ")))
}

/// The names of the targets.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let stems = entries.flatten().filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned));
    let mut targets: Vec<_> = stems.collect();
    targets.sort_unstable();
    Ok(targets)
}

/// Installs a nightly toolchain and cargo-fuzz if they are missing; returns a search path with both.
fn cargo_fuzz() -> Result<OsString, String> {
    let works = |mut program: Command| program.output().is_ok_and(|output| output.status.success());
    if !works(on_nightly(&["rustc", "--version"])) {
        let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
        super::run(command(Path::new("rustup"), &install))?;
    }
    let folder = target_folder().join("tools/cargo-fuzz");
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&others));
    let path = std::env::join_paths(all).map_err(|error| error.to_string())?;
    if !works(with_path(on_nightly(&["cargo", "fuzz", "--version"]), &path)) {
        let mut install = cargo(&["install", "--quiet", "--locked", "cargo-fuzz", "--root"]);
        install.arg(&folder);
        super::run(install)?;
    }
    Ok(path)
}

fn on_nightly(arguments: &[&str]) -> Command {
    command(Path::new("rustup"), &[&["run", "nightly"], arguments].concat())
}

fn with_path(mut command: Command, path: &OsString) -> Command {
    command.env("PATH", path);
    command
}

/// Makes the Python environment of `tests/adversary`. If its tools are unavailable here, reports that and
/// returns its name.
pub(crate) fn tls_tools() -> Option<&'static str> {
    let script: PathBuf = root().join("tests/adversary/tools.sh");
    let mut make = command(&script, &[]);
    make.arg(target_folder().join("tools/adversary"));
    let message = super::run(make).err()?;
    super::tell(&format!("what needs tlslite-ng and sslyze is NOT TESTED in this run: {message}"));
    Some("tls-tools")
}
