//! Plugins in every language: the conformance suite, and projects made by `lictor plugin new`.
//!
//! `cargo xtask test` installs the languages' tools into `target/tools` and builds the conformance plugins
//! before these tests run. It reports languages that it could not build for lack of tools, and names them in
//! `LICTOR_TEST_WITHOUT`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::components;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};

/// Returns true if the tools of `language` are installed here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
pub(super) fn is_to_be_had(language: &str) -> bool {
    let without = std::env::var("LICTOR_TEST_WITHOUT").unwrap_or_default();
    let is = !without.split(' ').any(|missing| missing == language);
    if !is {
        println!("SKIPPED: the tools of {language} could not be installed");
    }
    is
}

/// Waits for the right to compile components of Python: each takes all cores for long, and several at a time
/// would exceed a component's time.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Prepares `lictor` with a lasting cache of compiled components, since those of Python take long.
pub(super) fn author(folder: &Path) -> Command {
    let mut command = lictor(folder);
    command.env("XDG_CACHE_HOME", root().join("target/tmp/authors"));
    command
}

fn conforms(component: &Path) {
    let folder = TempDir::new().unwrap();
    let mut command = author(folder.path());
    command
        .args([
            "plugin",
            "test",
            "--quiet",
            "--memory",
            "256MiB",
            "--timeout",
            "60s",
            "--compile-time",
            "10m",
        ])
        .arg(component);
    let said = at_leisure(&mut command);
    assert!(said.starts_with("92 passed, 0 failed"), "{said}");
}

/// Runs a command that compiles, which may exceed a test's usual wait for a server; returns its output.
pub(super) fn at_leisure(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}

fn built(language: &str) -> PathBuf {
    let component = root().join(format!("sdk/conformance/build/{language}/{language}.wasm"));
    assert!(component.is_file(), "{} is not there: `cargo xtask test` builds it", component.display());
    component
}

#[test]
fn rust_conforms() {
    conforms(components::conformance());
}

#[test]
fn javascript_conforms() {
    if is_to_be_had("js") {
        conforms(&built("js"));
    }
}

#[test]
fn python_conforms() {
    if is_to_be_had("python") {
        let _turn = turn();
        conforms(&built("python"));
    }
}

#[test]
fn c_conforms() {
    if is_to_be_had("c") {
        conforms(&built("c"));
    }
}

#[test]
fn the_suite_tells_what_does_not_conform() {
    let folder = TempDir::new().unwrap();
    let tested = finish(author(folder.path()).args(["plugin", "test"]).arg(components::echo()));
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(tested.stdout.contains("ok       echo: Unicode"), "{tested:?}");
    assert!(tested.stdout.contains("MISSING  panic: its text is in the log"), "{tested:?}");
    // It has other commands, and more of them: only their behavior is wrong.
    let tested = finish(author(folder.path()).args(["plugin", "test", "--quiet"]).arg(components::hostile()));
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(!tested.stdout.contains("\nok "), "{tested:?}");
}

/// The walk in docs/plugins.md, with the command given there, up to a server's answer.
#[test]
fn an_authors_walk_ends_with_an_answer() {
    let folder = TempDir::new().unwrap();
    let made = finish(author(folder.path()).args(["plugin", "new", "greet", "--lang", "rust"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = folder.path().join("greet");
    let document = std::fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let step = document.split("**2. Write a command.**").nth(1).unwrap();
    let command = step.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    let (before, after) = text.split_once("mod commands {\n").unwrap();
    std::fs::write(&source, format!("{before}mod commands {{\n{command}\n{after}")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    let component = project.join("greet.wasm");
    let mut run = author(folder.path());
    assert_eq!(at_leisure(run.args(["plugin", "run"]).arg(&component).args(["add", "1", "2", "39"])), "42\n");
    let mut inspect = author(folder.path());
    let inspected = at_leisure(inspect.args(["plugin", "inspect"]).arg(&component));
    for words in ["add FIRST [OTHERS]...  adds numbers (may be repeated)", "by grant"] {
        assert!(inspected.contains(words), "no {words:?} in {inspected}");
    }

    let tester = Identity::new("dev");
    let setup = Setup::new().master("dev", &tester).plugin("greet", &component, &["greet", "add"], "");
    let server = setup.section("[plugins.greet.config]\ngreeting = \"good day\"").start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("greet Ada"), "good day Ada, from dev");
    server.wait_for_log("its line", |entry| entry.text("line") == Some("greeting Ada"));
    let wrong = connection.ask_framed("add 1 x");
    assert_eq!(wrong.failure(), ("bad-arguments", "failed"));
    assert!(document.contains(&wrong.message), "docs/plugins.md has not {:?}", wrong.message);
}

/// Prepares a script of a project, with tools and program on its path.
pub(super) fn script(project: &Path, name: &str) -> Command {
    with_tools(Command::new(project.join(name)))
}

/// Prepares a command that runs such scripts, or is one.
pub(super) fn with_tools(mut script: Command) -> Command {
    // Rust's tools are cargo's own; cargo's settings for the server's build are not for a plugin's.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME"
            || name.starts_with("RUST") && name != "RUSTUP_HOME"
        {
            script.env_remove(name);
        }
    }
    script.env("CARGO_TARGET_DIR", root().join("target/tmp/new"));
    script.env("LICTOR", env!("CARGO_BIN_EXE_lictor")).env("LICTOR_TOOLS", root().join("target/tools"));
    script.env("XDG_CACHE_HOME", root().join("target/tmp/authors"));
    script
}

/// Makes a project, builds it, and runs its own test.
fn new_project(language: &str) {
    let folder = TempDir::new().unwrap();
    let made = finish(author(folder.path()).args(["plugin", "new", "my-greet", "--lang", language]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = folder.path().join("my-greet");
    let said = at_leisure(&mut script(&project, "test.sh"));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{said}");
    // A failed build leaves no component of an earlier one.
    let source = ["src/lib.rs", "plugin.js", "plugin.py", "plugin.c"].map(|name| project.join(name));
    let source = source.iter().find(|path| path.exists()).expect("it has a source");
    std::fs::write(source, "this is no program").unwrap();
    let failed = script(&project, "build.sh").output().unwrap();
    assert!(!failed.status.success() && !project.join("my-greet.wasm").exists(), "{failed:?}");
    let again = finish(author(folder.path()).args(["plugin", "new", "my-greet", "--lang", language]));
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("my-greet already exists"), "{again:?}");
}

#[test]
fn a_new_project_in_rust_passes_its_own_test() {
    new_project("rust");
}

#[test]
fn a_project_in_rust_is_built_by_its_folders_name() {
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "greet", "--lang", "rust"]));
    let project = folder.path().join("renamed");
    std::fs::rename(folder.path().join("greet"), &project).unwrap();
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let called = manifest.replacen("name = \"greet\"", "name = \"of-another-name\"", 1);
    assert_ne!(called, manifest);
    std::fs::write(project.join("Cargo.toml"), called).unwrap();
    let said = at_leisure(&mut script(&project, "test.sh"));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{said}");
    assert!(project.join("renamed.wasm").exists() && project.join("renamed.wasm.debug").exists());
    assert!(!project.join("greet.wasm").exists());
}

#[test]
fn a_new_project_in_javascript_passes_its_own_test() {
    if is_to_be_had("js") {
        new_project("js");
    }
}

#[test]
fn a_new_project_in_python_passes_its_own_test() {
    if is_to_be_had("python") {
        let _turn = turn();
        new_project("python");
    }
}

#[test]
fn a_new_project_in_c_passes_its_own_test() {
    if is_to_be_had("c") {
        new_project("c");
    }
}

#[test]
fn a_plugin_in_c_has_clocks_and_imports_them_only_if_it_asks() {
    if !is_to_be_had("c") {
        return;
    }
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "clock", "--lang", "c"]));
    let project = folder.path().join("clock");
    let of_component = |arguments: &[&str]| {
        let (verb, rest) = arguments.split_first().unwrap();
        let mut command = author(folder.path());
        at_leisure(command.args(["plugin", verb]).arg(project.join("clock.wasm")).args(rest))
    };
    at_leisure(&mut script(&project, "build.sh"));
    assert!(!of_component(&["inspect"]).contains("wasi:clocks"));
    std::fs::copy(root().join("tests/e2e/languages/clock.c"), project.join("plugin.c")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    assert!(of_component(&["inspect"]).contains("wasi:clocks/wall-clock@0.2.0"));
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let told = of_component(&["run", "now"]);
    let times: Vec<u64> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
    for seconds in [times[0] / 1000, times[1], times[2]] {
        assert!((before..=before + 60).contains(&seconds), "{told} is not {before}");
    }
    let waited: u64 = of_component(&["run", "wait", "120"]).trim().parse().unwrap();
    assert!((120..5000).contains(&waited), "{waited}");
    // A time beyond the clock's range exceeds the call's time.
    let late = finish(
        author(folder.path())
            .args(["plugin", "run", "--timeout", "100ms"])
            .arg(project.join("clock.wasm"))
            .args(["wait", &u64::MAX.to_string()]),
    );
    assert!(late.stderr.contains("(timeout, unknown)"), "{late:?}");
}

#[test]
fn a_plugin_in_c_builds_without_warnings_and_what_a_plugin_has_not_is_named() {
    if !is_to_be_had("c") {
        return;
    }
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "words", "--lang", "c"]));
    let project = folder.path().join("words");
    std::fs::copy(root().join("tests/e2e/languages/words.c"), project.join("plugin.c")).unwrap();
    let built = finish(&mut script(&project, "build.sh"));
    assert!(built.code == Some(0) && !built.stderr.contains("warning"), "{built:?}");
    let component = || std::fs::read(project.join("words.wasm")).unwrap();
    let first = component();
    std::fs::remove_dir_all(project.join("build")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    assert!(first == component(), "two builds are the same, byte for byte");
    let run = |arguments: &[&str]| {
        let mut command = author(folder.path());
        finish(command.args(["plugin", "run"]).arg(project.join("words.wasm")).args(arguments))
    };
    assert_eq!(run(&["join", "a", "", "☃"]).stdout.trim_end(), "a, , ☃");
    assert_eq!(run(&["join"]).stdout.trim_end(), "");
    let refused = run(&["refuse", "☃"]);
    assert!(refused.stderr.contains("3 of ☃ (conflict, failed)"), "{refused:?}");
    let forgot = run(&["forget"]);
    let told = "the command forget returned false and gave no reason, as lictor_fail does";
    assert!(forgot.stderr.contains(&format!("line=\"{told}\"")), "{forgot:?}");
    assert!(forgot.stderr.contains(&format!("lictor: {told} (plugin-failed, failed)")), "{forgot:?}");

    let source = std::fs::read_to_string(project.join("plugin.c")).unwrap();
    let asks = source.replace("return true;", "return getenv(\"HOME\") != NULL;");
    std::fs::write(project.join("plugin.c"), format!("#include <stdlib.h>\n{asks}")).unwrap();
    let built = finish(&mut script(&project, "build.sh"));
    assert!(built.code == Some(1) && !project.join("words.wasm").exists(), "{built:?}");
    let told = "the C library asks the system for environ_get, environ_sizes_get, which a plugin has not";
    assert!(built.stderr.contains(told) && built.stderr.contains("docs/languages.md"), "{built:?}");
}

/// Zig has no kit; the example uses the bindings of C, whose tools include Zig's compiler.
#[test]
fn the_example_in_zig_builds_and_replies() {
    if is_to_be_had("c") {
        let example = root().join("sdk/examples/zig");
        at_leisure(&mut script(&example, "build.sh"));
        let folder = TempDir::new().unwrap();
        let mut run = author(folder.path());
        run.args(["plugin", "run"]).arg(example.join("echo.wasm")).args(["echo", "a", "b ☃"]);
        assert_eq!(at_leisure(&mut run), "a b ☃\n");
    }
}
