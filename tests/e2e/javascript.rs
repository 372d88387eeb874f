//! The kit for JavaScript: the host on which authors test commands without a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use testkit::tools::{Finished, finish};

use crate::alike::answer_alike;
use crate::languages::{at_leisure, author, is_to_be_had, root, script};

/// Uses of the kit in the sample that the kit refuses, with its words.
const REFUSED: &str = include_str!("javascript/sample.refused.txt");

/// Makes a project whose plugin and tests are those of `name` in `javascript/`.
fn project(name: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let project = project_in(folder.path(), name);
    (folder, project)
}

fn project_in(folder: &Path, name: &str) -> PathBuf {
    at_leisure(author(folder).args(["plugin", "new", name, "--lang", "js"]));
    let project = folder.join(name);
    for (from, to) in [(".js", "plugin.js"), (".test.js", "plugin.test.js")] {
        let source = root().join(format!("tests/e2e/javascript/{name}{from}"));
        fs::copy(source, project.join(to)).unwrap();
    }
    fs::write(project.join("refused.txt"), REFUSED).unwrap();
    project
}

/// Builds the component of such a project, in a folder that stays for as long as the tests run.
pub(super) fn built(name: &str) -> PathBuf {
    let folder = root().join("target/tmp/javascript");
    let _ = fs::remove_dir_all(folder.join(name));
    fs::create_dir_all(&folder).unwrap();
    let project = project_in(&folder, name);
    at_leisure(&mut script(&project, "build.sh"));
    project.join(format!("{name}.wasm"))
}

/// Prepares Node's own test runner in a project.
fn node_test(project: &Path) -> Command {
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"]).current_dir(project);
    node.env("LICTOR_TOOLS", root().join("target/tools")).env_remove("NODE_TEST_CONTEXT");
    node
}

/// Runs a project's own tests and checks their number.
pub(super) fn tests_pass(project: &Path, count: usize) {
    let said = at_leisure(&mut node_test(project));
    assert_eq!(said.lines().filter(|line| line.starts_with('✔')).count(), count, "{said}");
}

#[test]
fn the_host_of_a_test_does_what_the_conformance_suite_expects() {
    if is_to_be_had("js") {
        tests_pass(&root().join("sdk/conformance/build/js"), 4);
    }
}

#[test]
fn the_host_of_a_test_has_every_function_and_bound_of_the_hosts() {
    if is_to_be_had("js") {
        tests_pass(&project("sample").1, 12);
    }
}

#[test]
fn streams_run_over_the_host_of_a_test() {
    if is_to_be_had("js") {
        tests_pass(&project("streams").1, 7);
    }
}

/// Returns the exit code and the output of a command that may compile for long.
fn ran(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_test_that_fails_or_lacks_its_tools_is_told() {
    if !is_to_be_had("js") {
        return;
    }
    let (_folder, project) = project("sample");
    let lacks = ran(node_test(&project).env("LICTOR_TOOLS", project.join("none")));
    assert!(lacks.0 != Some(0) && lacks.1.contains("run ./build.sh once"), "{lacks:?}");
    let wrong =
        fs::read_to_string(project.join("plugin.test.js")).unwrap().replace("hello tester", "hello nobody");
    fs::write(project.join("plugin.test.js"), wrong).unwrap();
    let failed = ran(&mut script(&project, "test.sh"));
    assert!(failed.0 != Some(0) && failed.1.contains("✖ without a host's gifts"), "{failed:?}");
    let asks = "import { caller } from \"./lictor.js\";\nexport { commands } from \"./lictor.js\";\n\
                try { caller(); } catch {}\n";
    fs::write(project.join("plugin.js"), asks).unwrap();
    let asked = ran(&mut node_test(&project));
    assert!(
        asked.0 != Some(0) && asked.1.contains("caller asks the host while no command runs"),
        "{asked:?}"
    );
    assert_ne!(ran(&mut script(&project, "build.sh")).0, Some(0), "neither does it build");
    fs::write(project.join("plugin.js"), "import \"lictor:plugin/nosuch@0.1.0\";\nthis is no program")
        .unwrap();
    let broken = ran(&mut node_test(&project));
    assert!(broken.0 != Some(0) && broken.1.contains("plugin.js:2"), "{broken:?}");
}

/// Runs a command of the sample as a component.
fn in_component(arguments: &[&str]) -> Finished {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let component = BUILT.get_or_init(|| built("sample"));
    finish(author(component.parent().unwrap()).args(["plugin", "run"]).arg(component).args(arguments))
}

/// The sample's own test covers these failures too, and those at bounds that `plugin run` does not set.
#[test]
fn what_breaks_off_in_a_test_breaks_off_in_a_component() {
    if !is_to_be_had("js") {
        return;
    }
    for (what, end) in [
        ("a raw key that is a number", "(plugin-trapped, unknown)"),
        ("a promise", "(plugin-failed, failed)"),
        ("a generator", "(plugin-failed, failed)"),
        ("a reply that is none", "(plugin-failed, failed)"),
    ] {
        let ran = in_component(&["wrong", what]);
        assert!(ran.code == Some(1) && ran.stderr.contains(end), "{what}: {ran:?}");
    }
    assert_eq!(in_component(&["refused"]).stdout, REFUSED);
    for (how, end) in [
        ("now", "(plugin-failed, failed)"),
        ("followed", "(plugin-failed, failed)"),
        ("constructed", "(plugin-failed, failed)"),
        ("refused", "none (not-found, failed)"),
    ] {
        let left = in_component(&["leave", how]);
        assert!(left.code == Some(1) && left.stderr.contains(end), "{how}: {left:?}");
        let told = left.stderr.contains("uncaught ") && left.stderr.contains("(plugin.js:");
        assert_eq!(told, how != "refused", "{how}: {left:?}");
    }
    for how in ["later", "handled"] {
        assert_eq!(in_component(&["leave", how]).stdout, "done\n", "{how}");
    }
    for (how, words) in [
        ("long", "v… at long (plugin.js:"),
        ("wide", "日… at wide (plugin.js:"),
        ("object", "the command unexpected returned { a: 1 }: a reply is a text"),
        ("fetch", "; plugins have no fetch: use http of ./lictor.js"),
    ] {
        let told = in_component(&["unexpected", how]).stderr;
        assert!(told.contains(words) && (how == "object" || told.contains("(plugin.js:")), "{how}: {told}");
    }
    let plain = in_component(&["fail-plainly"]);
    assert!(plain.stderr.contains("something went wrong (plugin-failed, failed)"), "{plain:?}");
    let passed_on = in_component(&["left", "a"]);
    let place = passed_on.stderr.lines().find(|line| line.contains("plugin output"));
    assert!(
        place.is_some_and(|line| line.contains("uncaught Failure: ") && line.contains("(plugin.js:")),
        "the host's own failure has a place: {passed_on:?}"
    );
    let caught = in_component(&["wrong", "too few parameters"]);
    assert_eq!(caught.stdout, "caught TypeError: get requires 2 arguments\n", "{caught:?}");
    assert_eq!(
        in_component(&["bucket"]).stdout,
        "[[[\"a\",1],null],true,null,{\"keys\":[\"a\",\"b\"],\"cursor\":null}]\n"
    );
    assert_eq!(in_component(&["later"]).code, Some(0));
    let slept = in_component(&["wait", "30"]);
    assert!(
        slept.stdout.split(' ').next().and_then(|ms| ms.parse::<f64>().ok()).is_some_and(|ms| ms >= 30.0),
        "{slept:?}"
    );
}

/// Code at a file's top level that can't become a plugin: the build reports the reason and the place, and
/// leaves no component.
#[test]
fn a_fault_at_the_top_level_fails_the_build_with_its_place() {
    if !is_to_be_had("js") {
        return;
    }
    let (_folder, project) = project("sample");
    fs::write(project.join("helper.js"), "export function read(text) {\n  return JSON.parse(text);\n}\n")
        .unwrap();
    let start = "import { command, config, stream } from \"./lictor.js\";\nexport { commands } from \"./lictor.js\";\n";
    let one = r#"command("a", "b", () => "c");"#;
    let twice = format!("{one}\n{one}");
    let streams_too = format!("{}\n{one}", one.replace("command", "stream"));
    for (code, words) in [
        (
            r#"const greeting = config.get("greeting");"#,
            "plugin.js:3: Error: get asks the host while no command runs",
        ),
        ("try { config.all(); } catch {}", "plugin.js:3: Error: getAll asks the host"),
        ("import { read } from \"./helper.js\";\nread(\"{\");", "helper.js:2: SyntaxError: "),
        ("import { read } from \"./helper.js\";\nread(\"{\");", "\n  from plugin.js:4"),
        ("throw \"a text\";", "the top level throws 'a text', which is no Error"),
        (
            r#"command("a", () => 1);"#,
            r#"plugin.js:3: TypeError: command("a", "what it does", …) has to have a text"#,
        ),
        (r#"command("a", "b");"#, "has to be a function, not undefined"),
        (r#"command("a", "b", { idem: true }, () => 1);"#, "there is no option idem; there is idempotent"),
        (twice.as_str(), "plugin.js:4: TypeError: the command a is added twice"),
        (streams_too.as_str(), "plugin.js:4: TypeError: the command a is added twice"),
        (r#"command("a [B] C", "b", () => 1);"#, "has C behind [B], which may be left out"),
        (r#"command("a B... C", "b", () => 1);"#, "has B... before its end"),
        (r#"command("a  B", "b", () => 1);"#, "one space between them"),
        (
            r#"command("a", "b", async () => "c");"#,
            "plugin.js:3: TypeError: the command a is async: it replies with what its function returns",
        ),
        (
            "async function run() {}\ncommand(\"a [B]\", \"b\", run);",
            "plugin.js:4: TypeError: the command a is async",
        ),
        (
            "fetch(\"https://api/\");",
            "plugin.js:3: ReferenceError: fetch is not defined; plugins have no fetch: use http",
        ),
        ("", "plugin.js has no command; add one:\n  command("),
    ] {
        fails_to_build(&project, &format!("{start}{code}\n"), words);
    }
    let unexported = format!("import {{ command }} from \"./lictor.js\";\n{one}\n");
    fails_to_build(&project, &unexported, "add this line:\n  export { commands } from \"./lictor.js\";");
    fs::write(project.join("plugin.ts"), "").unwrap();
    fails_to_build(&project, &format!("{start}{one}\n"), "has both plugin.js and plugin.ts: ");
    fs::remove_file(project.join("plugin.ts")).unwrap();
    // Failures that a component ignores too are allowed, and features of QuickJS that this Node.js lacks.
    let fine = "command(\"d [E [F...]]\", \"b\", () => 1);\n(async () => { await null; null.x; })();\nnew InternalError();\n";
    fs::write(project.join("plugin.js"), format!("{start}{one}\n{fine}")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
}

fn fails_to_build(project: &Path, source: &str, words: &str) {
    fs::write(project.join("plugin.js"), source).unwrap();
    fs::write(project.join("sample.wasm"), "of an earlier build").unwrap();
    let built = finish(&mut script(project, "build.sh"));
    assert!(built.code != Some(0) && built.stderr.contains(words), "{source}: {built:?}");
    assert!(!built.stderr.contains("wasm") && !project.join("sample.wasm").exists(), "{source}: {built:?}");
}

/// The context of a test has no globals beyond those of QuickJS.
#[test]
fn a_test_has_no_globals_that_a_component_lacks() {
    if !is_to_be_had("js") {
        return;
    }
    let (_folder, project) = project("sample");
    let code = "Object.getOwnPropertyNames(globalThis).sort().join(' ')";
    let there = in_component(&["evaluate", code]).stdout;
    let there: Vec<_> = there.split_whitespace().collect();
    fs::write(
        project.join("plugin.test.js"),
        format!(
            "import {{ Host }} from './lictor/testing.js';\n\
             console.log('GLOBALS ' + new Host().run('evaluate', {code:?}).text());"
        ),
    )
    .unwrap();
    let said = at_leisure(
        Command::new("node")
            .arg("plugin.test.js")
            .current_dir(&project)
            .env("LICTOR_TOOLS", root().join("target/tools")),
    );
    let names = said.lines().find_map(|line| line.strip_prefix("GLOBALS ")).expect("it tells them");
    assert!(names.contains("TextEncoder"), "{names}");
    let more: Vec<_> = names.split_whitespace().filter(|name| !there.contains(name)).collect();
    assert!(more.is_empty(), "a component has no {more:?}");
}

#[test]
fn the_host_of_a_test_answers_as_the_host_does() {
    if !is_to_be_had("js") {
        return;
    }
    let component = built("mixed");
    let here = |call: &[String]| {
        let mut node = Command::new("node");
        node.arg("plugin.test.js").current_dir(component.parent().unwrap());
        node.env("CALL", format!("{call:?}")).env("LICTOR_TOOLS", root().join("target/tools"));
        node
    };
    answer_alike(&component, here, &[&["encodings"]]);
}
