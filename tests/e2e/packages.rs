//! Dependencies that authors bring along: packages from npm and PyPI, TypeScript, late imports. Each computes
//! a checked result. The packages are installed once, beside the languages' tools.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::tools::finish;

use crate::javascript::tests_pass;
use crate::languages::{at_leisure, author, is_to_be_had, root, script, turn};

/// The outcome of a plugin's command.
struct Ran {
    reply: String,
    log: String,
    succeeded: bool,
}

/// Makes a project for a language, with these files in place of the template's.
fn project(language: &str, files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "brought", "--lang", language]));
    let project = folder.path().join("brought");
    for (name, text) in files {
        let path = project.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (folder, project)
}

/// Returns the folder where packages are installed once, beside the tools; `install` fills it.
fn packages(name: &str, wanted: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let folder = root().join("target/tools").join(name);
    let told = folder.join("installed.txt");
    if fs::read_to_string(&told).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    install(&folder);
    fs::write(told, wanted).unwrap();
    folder
}

fn run(project: &Path, arguments: &[&str]) -> Ran {
    let mut command = author(project);
    command.args(["plugin", "run", "--memory", "256MiB", "--timeout", "60s", "--compile-time", "10m"]);
    let output = command.arg(project.join("brought.wasm")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { reply: text(&output.stdout), log: text(&output.stderr), succeeded: output.status.success() }
}

#[track_caller]
fn replies(project: &Path, arguments: &[&str], reply: &str) {
    let ran = run(project, arguments);
    assert!(ran.succeeded && ran.reply.trim_end() == reply, "{arguments:?}: {} {}", ran.reply, ran.log);
}

/// Returns the output of a command that fails, however long it takes.
fn fails_at_leisure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that the command fails, and logs just one line, with these words.
#[track_caller]
fn fails_in_one_line(project: &Path, arguments: &[&str], words: &[&str]) {
    let ran = run(project, arguments);
    assert!(!ran.succeeded, "{}", ran.reply);
    assert_eq!(ran.log.matches("plugin output").count(), 1, "{}", ran.log);
    for words in words {
        assert!(ran.log.contains(words), "no {words:?} in {}", ran.log);
    }
}

const NPM: &str = "lodash@4.17.21 zod@3.25.76 date-fns@4.1.0 marked@15.0.12 typescript@5.9.2";

#[test]
fn packages_from_npm_and_typescript_become_a_plugin() {
    if !is_to_be_had("js") {
        return;
    }
    let installed = packages("packages-npm", NPM, |folder| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix"]).arg(folder);
        at_leisure(npm.args(NPM.split(' ')));
    });
    let files = [
        ("plugin.ts", include_str!("packages/plugin.ts")),
        ("plugin.test.js", include_str!("packages/plugin.test.js")),
    ];
    let (_folder, project) = project("js", &files);
    fs::remove_file(project.join("plugin.js")).unwrap();
    symlink(installed.join("node_modules"), project.join("node_modules")).unwrap();
    // The folder from which it is called does not matter, not even to the places of errors.
    at_leisure(script(&project, "build.sh").current_dir(project.parent().unwrap()));
    let mut checked = Command::new(project.join("node_modules/.bin/tsc"));
    at_leisure(checked.current_dir(&project).args(["-p", "tsconfig.json", "--skipLibCheck"]));

    tests_pass(&project, 1);

    replies(&project, &["group", "apple", "avocado", "bean"], r#"{"a":["apple","avocado"],"b":["bean"]}"#);
    replies(&project, &["check", r#"{"name":"Ada","age":36}"#], "Ada is 36");
    replies(&project, &["check", r#"{"name":"Ada","age":"old"}"#], "age: Expected number, received string");
    replies(&project, &["days", "2026-02-27", "3"], "Monday, 2 March 2026");
    replies(
        &project,
        &["html", "# Title\n\n*some* `code`"],
        "<h1>Title</h1>\n<p><em>some</em> <code>code</code></p>",
    );
    replies(
        &project,
        &["url", "https://Example.com:443/a/../b?x=1#y", "../c?ü=é"],
        "https://example.com/c?%C3%BC=%C3%A9 x=1",
    );
    replies(&project, &["utf8", "262144"], "1310720 true");
    replies(&project, &["clone"], "true true 36");
    fails_in_one_line(&project, &["fail"], &["TypeError", "deep (plugin.ts:", "plugin-failed"]);

    let mut inspect = author(&project);
    let inspected = at_leisure(
        inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(project.join("brought.wasm")),
    );
    assert!(!inspected.contains("by grant"), "it uses nothing that is granted: {inspected}");
}

#[test]
fn a_package_that_needs_node_fails_the_build_and_leaves_no_component() {
    if !is_to_be_had("js") {
        return;
    }
    let source = "import fs from \"node:fs\";\nimport { command } from \"./lictor.js\";\n\
                  export { commands } from \"./lictor.js\";\ncommand(\"x\", \"x\", () => fs.readFileSync(\"x\"));\n";
    let (_folder, project) = project("js", &[("plugin.js", source), ("brought.wasm", "of an earlier build")]);
    let built = finish(&mut script(&project, "build.sh"));
    assert_ne!(built.code, Some(0));
    assert!(built.stderr.contains("node:fs is a part of Node.js"), "{built:?}");
    assert!(!project.join("brought.wasm").exists());
}

#[test]
fn a_package_that_is_missing_is_told_with_how_to_get_it() {
    if !is_to_be_had("js") {
        return;
    }
    let source = "import a from \"papaparse\";\nimport b from \"@of/some/part\";\nimport c from \"path\";\n\
                  import d from \"node:fs/promises\";\nimport e from \"./none.js\";\nconsole.log(a, b, c, d, e);\n";
    let (_folder, project) = project("js", &[("plugin.js", source)]);
    let built = finish(&mut script(&project, "build.sh"));
    for words in [
        "the package papaparse is not installed: run `npm install papaparse`",
        "plugin.js:1:14",
        "the package @of/some is not installed: run `npm install @of/some`",
        "path is a part of Node.js, which plugins don't have; `npm install path` may find",
        "node:fs/promises is a part of Node.js, which plugins don't have",
        "Could not resolve \"./none.js\"",
    ] {
        assert!(built.code != Some(0) && built.stderr.contains(words), "no {words:?} in {built:?}");
    }
    // The package exists, and has no such part.
    fs::create_dir_all(project.join("node_modules/papaparse")).unwrap();
    let built_again = finish(&mut script(&project, "build.sh"));
    assert!(built_again.stderr.contains("Could not resolve \"papaparse\""), "{built_again:?}");
    assert!(!format!("{built:?}{built_again:?}").contains("external"), "{built:?} {built_again:?}");
}

const PYPI: &str =
    "jinja2==3.1.6\npydantic==1.10.27\nPyYAML==6.0.2\npython-dateutil==2.9.0.post0\ntzdata==2025.2\n";

/// Installs the packages of [`PYPI`].
fn from_pypi() -> PathBuf {
    packages("packages-pypi", PYPI, |folder| {
        let wanted = folder.join("requirements.txt");
        fs::write(&wanted, PYPI).unwrap();
        let pip = root().join("target/tools/componentize-py-0.25.1/bin/pip");
        let mut pip = Command::new(pip);
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--target"]).arg(folder);
        at_leisure(pip.arg("--requirement").arg(&wanted));
    })
}

#[test]
fn packages_from_pypi_become_a_plugin() {
    if !is_to_be_had("python") {
        return;
    }
    let world = fs::read_to_string(root().join("sdk/templates/common/world.wit")).unwrap();
    // A second interface with the name of one of the kit's own.
    let world = world.replacen("  import", "  import wasi:http/types@0.2.0;\n  import", 1);
    let files = [
        ("plugin.py", include_str!("packages/plugin.py")),
        ("letters/__init__.py", ""),
        ("letters/greeting.txt", "Dear {{ name }},\n"),
        ("helper.py", "def twice(number):\n    return 2 * number\n"),
        ("requirements.txt", PYPI),
        ("wit/world.wit", world.as_str()),
    ];
    let (_folder, project) = project("python", &files);
    fs::create_dir(project.join("build")).unwrap();
    symlink(from_pypi(), project.join("build/packages")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    let _turn = turn();

    replies(&project, &["render", "{{ name|upper }} {{ [1, 2, 3]|sum }}", "Ada"], "ADA 6");
    fails_in_one_line(
        &project,
        &["render", "one\ntwo\n{% if name %}", "Ada"],
        &["TemplateSyntaxError", ":3 template"],
    );
    fails_in_one_line(
        &project,
        &["render", "one\n{{ 1 / 0 }}", "Ada"],
        &["ZeroDivisionError", "<template>:2"],
    );
    replies(&project, &["letter", "Ada"], "Dear Ada,");
    replies(
        &project,
        &["yaml", "a: [1, {b: c}]\nd: 2026-01-02"],
        r#"{"a": [1, {"b": "c"}], "d": "2026-01-02"}"#,
    );
    replies(&project, &["dates", "Nov 30 2026 5pm"], "2026-11-30 17:00 2026-02-03 2027-01-31 EST");
    models_are_checked(&project);
    replies(&project, &["zone", "Europe/Berlin"], "2026-07-01 14:00:00+02:00");
    replies(&project, &["late"], "8 1.1 b'xn--tda'");
    what_is_not_there_is_told(&project);
    faults_are_told_with_their_places(&project);

    let mut inspect = author(&project);
    let inspected = at_leisure(
        inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(project.join("brought.wasm")),
    );
    for absent in ["wasi:config", "lictor:plugin/http", "wasi:logging"] {
        assert!(!inspected.contains(absent), "it does not use {absent}: {inspected}");
    }
}

/// Checks the advice for missing modules and for sockets.
fn what_is_not_there_is_told(project: &Path) {
    for (name, advice) in [
        (
            "graphlib",
            "; a plugin has the modules that were imported while it was built: write `import graphlib` at the top of",
        ),
        ("ssl", "; ssl is a part of Python that plugins don't have"),
        (
            "nosuch",
            "; no module is called nosuch: write it as it is spelt, or the package that has it into requirements",
        ),
    ] {
        fails_in_one_line(
            project,
            &["unknown", name],
            &[&format!("No module named '{name}' at plugin.py:"), advice],
        );
    }
    let none = "plugins get no sockets: use lictor.http";
    replies(project, &["connect"], &[none; 3].join(", "));
    for url in ["http://127.0.0.1:9/", "https://127.0.0.1:9/"] {
        fails_in_one_line(project, &["open-url", url], &["URLError", none, " in plugin.py:", " open_url (`"]);
    }
}

/// Only places in the author's code are reported.
fn faults_are_told_with_their_places(project: &Path) {
    for (command, words) in [
        (
            "wrong",
            ["state: the key has to be a text (str), not int: 5 at plugin.py:", " wrong (`state.set(5, "],
        ),
        ("dict", ["the command dict, plugin.py:", " gives_a_dict, gave a value of the type dict"]),
        ("long", ["uncaught ValueError: 日", "日… at plugin.py:"]),
        ("ungranted", ["uncaught Failure: ", " (code denied) at plugin.py:"]),
        ("deep", [" down (`return down(number + 1)`) 99", " times, in plugin.py:"]),
        ("exit", ["SystemExit: 3 at plugin.py:", "; sys.exit ends the call as a trap"]),
    ] {
        fails_in_one_line(project, &[command], &words);
    }
}

/// Models are those of pydantic.
fn models_are_checked(project: &Path) {
    replies(
        project,
        &["order", r#"{"items": [{"name": "tea", "price": "2.5"}]}"#],
        r#"{"items": [{"name": "tea", "price": 2.5, "note": null}], "total": 2.5}"#,
    );
    replies(
        project,
        &["order", r#"{"items": [{"name": "chocolate", "price": 0}]}"#],
        "items.0.name: ensure this value has at most 5 characters; items.0.price: must be positive",
    );
}

/// Only packages in the requirements count, whatever the machine's Python has: otherwise two machines would
/// build two different plugins.
#[test]
fn a_package_of_this_machine_is_not_taken() {
    if !is_to_be_had("python") {
        return;
    }
    let (_folder, project) = project("python", &[("plugin.py", "import json\nimport of_the_machine\n")]);
    let machine = TempDir::new().unwrap();
    let site = machine.path().join("lib/site-packages");
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("of_the_machine.py"), "").unwrap();
    let mut build = script(&project, "build.sh");
    build.env("PYTHONPATH", &site).env("VIRTUAL_ENV", machine.path()).env("RUST_BACKTRACE", "1");
    let told = "the plugin can't be imported: uncaught ModuleNotFoundError: No module named 'of_the_machine' at \
                plugin.py:2 <module> (`import of_the_machine`); no module is called of_the_machine: write it as it is spelt, or the \
                package that has it into requirements.txt\n";
    assert_eq!(fails_at_leisure(&mut build), told);
    assert!(!project.join("brought.wasm").exists());
}

#[test]
fn what_asks_the_host_at_top_level_fails_the_build_with_its_line() {
    if !is_to_be_had("python") {
        return;
    }
    // Catching the error does not help: the component would differ from what its author expects.
    let source = "from lictor import state\n\ntry:\n    state.get(\"a\")\nexcept Exception:\n    pass\n";
    let (_folder, project) = project("python", &[("plugin.py", source)]);
    let told = "the plugin can't be imported: uncaught RuntimeError: at top level, while the plugin is built, nothing may \
                ask the host, as state.get does at plugin.py:4 <module> (`state.get(\"a\")`)\n";
    assert_eq!(fails_at_leisure(&mut script(&project, "build.sh")), told);
}

#[test]
fn code_that_can_not_be_compiled_ends_the_build_before_tools_are_installed() {
    let files = [
        ("plugin.py", "import json\n\ndef f(:\n    pass\n"),
        ("parts/__init__.py", "return 2\n"),
        ("test_plugin.py", "no code either"),
    ];
    let (folder, project) = project("python", &files);
    let tools = folder.path().join("tools");
    let built = finish(script(&project, "build.sh").env("LICTOR_TOOLS", &tools));
    assert_ne!(built.code, Some(0));
    for words in [
        "plugin.py:3: SyntaxError: ",
        "    def f(:\n",
        "parts/__init__.py:1: SyntaxError: 'return' outside function",
    ] {
        assert!(built.stderr.contains(words), "no {words:?} in {}", built.stderr);
    }
    assert!(!built.stderr.contains("test_plugin") && !tools.exists(), "{}", built.stderr);
}

/// The code of a compiled package can't be imported, and the build says what to write instead.
#[test]
fn a_compiled_package_fails_the_build_with_what_to_do() {
    if !is_to_be_had("python") {
        return;
    }
    let (_folder, project) = project("python", &[("brought.wasm", "of an earlier build")]);
    for (package, words) in [
        ("pydantic_core", "write `pydantic<2`, which is the pure Python one, into requirements.txt"),
        ("stone", "write a version of pure Python, or another package, into requirements.txt"),
    ] {
        let wheel = format!("{package}-1.0-py3-none-any.whl");
        let make = format!(
            "import zipfile\nwith zipfile.ZipFile({wheel:?}, 'w') as wheel:\n    for name, text in [\n        \
             ('{package}/__init__.py', 'from ._inner import x'), ('{package}/_inner.so', ''),\n        \
             ('{package}-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: {package}\\nVersion: 1.0\\n'),\n        \
             ('{package}-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'),\n        \
             ('{package}-1.0.dist-info/RECORD', ''),\n    ]:\n        wheel.writestr(name, text)\n"
        );
        at_leisure(Command::new("python3").args(["-c", &make]).current_dir(&project));
        fs::write(project.join("requirements.txt"), format!("{}\n", project.join(wheel).display())).unwrap();
        fs::write(project.join("plugin.py"), format!("import {package}\n")).unwrap();
        let built = script(&project, "build.sh").output().unwrap();
        assert!(!built.status.success());
        let told = format!("the package {package} is compiled code, which no plugin can run: {words}");
        let stderr = String::from_utf8_lossy(&built.stderr);
        assert!(stderr.contains(&told), "{stderr}");
        assert!(!project.join("brought.wasm").exists());
    }
}
