//! The conformance plugin in each language: built, tested, and listed in `docs/languages.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::{cargo, command, document, root, run, target_folder, tell};

/// Languages with tools from npm or PyPI: the folder's name, the language's name, its interpreter or
/// compiler.
const LANGUAGES: [(&str, &str, &str); 3] =
    [("js", "JavaScript", "QuickJS"), ("python", "Python", "CPython"), ("c", "C", "clang of zig")];

/// Programs that install the tools, with the Debian packages that provide them. The second is asked for a
/// module that Debian's bare Python lacks.
const INSTALLERS: [(&str, &[&str], &str); 2] =
    [("npm", &["--version"], "npm"), ("python3", &["-m", "ensurepip", "--version"], "python3-venv")];

/// Builds the conformance plugin in all these languages with the program `lictor`. Reports and returns the
/// languages that were not built because their tools are unavailable here.
pub(crate) fn build(lictor: &Path) -> Vec<&'static str> {
    for (program, arguments, package) in INSTALLERS {
        let works =
            Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
        if !works && let Err(message) = super::apt_install(package) {
            tell(&format!("{program} cannot be installed: {message}"));
        }
    }
    let mut missing = Vec::new();
    for (language, ..) in LANGUAGES {
        if let Err(message) = build_one(language, lictor) {
            tell(&format!(
                "the conformance plugin in {language} was not built, and is NOT TESTED in this run: {message}"
            ));
            missing.push(language);
        }
    }
    missing
}

fn build_one(language: &str, lictor: &Path) -> Result<(), String> {
    let script = root().join("sdk/conformance/build.sh");
    let mut build = command(&script, &[language]);
    build.env("LICTOR", lictor).env("LICTOR_TOOLS", target_folder().join("tools"));
    run(build)
}

/// Builds and tests all languages with a release build of the server, and writes the table.
pub(crate) fn table() -> Result<(), String> {
    run(cargo(&["build", "--release", "--locked", "--bin", "lictor"]))?;
    let lictor = target_folder().join("release/lictor");
    let missing = build(&lictor);
    let mut rows = vec![row("Rust", "wasm32-unknown-unknown", &lictor, &conformance_in_rust()?, rust)?];
    for (language, name, runs) in LANGUAGES.iter().filter(|(language, ..)| !missing.contains(language)) {
        let component = component(language);
        rows.push(row(name, runs, &lictor, &component, || build_one(language, &lictor))?);
    }
    write_table(&rows)
}

/// Returns a language's row. Builds once more, with everything in place, to measure the time.
fn row(
    name: &str,
    by: &str,
    lictor: &Path,
    component: &Path,
    build: impl Fn() -> Result<(), String>,
) -> Result<String, String> {
    touch_sources(component)?;
    let began = Instant::now();
    build()?;
    let built = began.elapsed();
    let mut test = command(lictor, &["plugin", "test", "--quiet", "--memory", "256MiB", "--timeout", "20s"]);
    let output = test.arg(component).output().map_err(|error| format!("{}: {error}", lictor.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().last().unwrap_or_default();
    let figure = |label: &str| {
        let rest = summary.split(label).nth(1).unwrap_or("-");
        rest.split([',', '\n']).next().unwrap_or("-").trim().to_owned()
    };
    let passed = summary.split(' ').next().unwrap_or("-");
    let failed = summary.split(", ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("-");
    let size = std::fs::metadata(component).map_err(|error| error.to_string())?.len();
    Ok(format!(
        "| {name} | {by} | {} KB | {:.1} s | {passed} of {} | {} | {} |",
        size / 1000,
        built.as_secs_f64(),
        passed.parse::<u32>().unwrap_or(0) + failed.parse::<u32>().unwrap_or(0),
        figure("fresh call "),
        figure("warm call ")
    ))
}

/// Makes the compiler see a change, so that the measured time is that of a build after an edit.
fn touch_sources(component: &Path) -> Result<(), String> {
    let source = root().join("sdk/conformance/rust/src/lib.rs");
    let now = std::time::SystemTime::now();
    let touched = std::fs::File::options().append(true).open(&source).and_then(|file| file.set_modified(now));
    touched.map_err(|error| format!("{}: {error}", component.display()))
}

fn component(language: &str) -> PathBuf {
    root().join(format!("sdk/conformance/build/{language}/{language}.wasm"))
}

fn conformance_in_rust() -> Result<PathBuf, String> {
    rust()?;
    Ok(target_folder().join("plugins/wasm32-unknown-unknown/release/conformance.wasm"))
}

fn rust() -> Result<(), String> {
    let mut build = cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--target",
        super::PLUGIN_TARGET,
        "--target-dir",
    ]);
    // Runs in the folder, which has its own cargo config.
    build.arg(target_folder().join("plugins")).current_dir(root().join("sdk/conformance/rust"));
    run(build)
}

fn write_table(rows: &[String]) -> Result<(), String> {
    let head = "| language | by | component | build | conformance | fresh call | warm call |\n\
                |---|---|---|---|---|---|---|\n";
    document::fill("docs/languages.md", "table of languages", &format!("{head}{}\n", rows.join("\n")))
}
