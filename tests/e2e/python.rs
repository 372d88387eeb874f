//! The kit for Python: the host on which authors test commands, and replies in parts through a real server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::web::Web;
use testkit::{eventually, let_pass};

use crate::alike::answer_alike;
use crate::languages::{at_leisure, author, is_to_be_had, root, script, turn};
use crate::streams::{GRANTS, Plugin, UNEXPECTED, begin, connected, is_built_for_streams, stream};

/// Runs Python's own test runner in a project and checks the number of tests.
fn tests_pass(project: &Path, count: usize) {
    let mut python = Command::new("python3");
    let told = python.args(["-W", "error", "-m", "unittest"]).current_dir(project).output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(told.contains(&format!("\nRan {count} tests in ")) && told.ends_with("\nOK\n"), "{told}");
}

/// The same bounds and words as the host's, those in the conformance suite and more.
#[test]
fn the_host_of_a_test_has_every_function_and_bound_of_the_hosts() {
    let folder = TempDir::new().unwrap();
    let sdk = root().join("sdk");
    let mut assemble = Command::new(sdk.join("assemble.sh"));
    assemble.arg("python").arg(sdk.join("conformance/python")).arg(sdk.join("conformance/world.wit"));
    at_leisure(assemble.arg(folder.path()));
    tests_pass(folder.path(), 33);
}

#[test]
fn the_host_of_a_test_answers_as_the_host_does() {
    if !is_to_be_had("python") {
        return;
    }
    let (_folder, project) = built("mixed");
    let source = root().join("tests/e2e/python/mixed_here.py");
    std::fs::copy(source, project.join("here.py")).unwrap();
    let here = |call: &[String]| {
        let mut python = Command::new("python3");
        python.args(["-W", "error", "here.py"]).args(call).current_dir(&project);
        python
    };
    let _turn = turn();
    answer_alike(&project.join("mixed.wasm"), here, &[&["naps"]]);
}

#[test]
fn a_test_that_fails_fails_the_projects_own_test() {
    if !is_to_be_had("python") {
        return;
    }
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", "greet", "--lang", "python"]));
    let project = folder.path().join("greet");
    tests_pass(&project, 2);
    let test = project.join("test_plugin.py");
    let text = std::fs::read_to_string(&test).unwrap();
    std::fs::write(&test, text.replace("good day Grace", "good night Grace")).unwrap();
    let tested = script(&project, "test.sh").output().unwrap();
    let [stdout, stderr] = [&tested.stdout, &tested.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(!tested.status.success() && stderr.contains("good night Grace"), "{stderr}");
    assert!(!stdout.contains("ok "), "{stdout}");
    // The component contains nothing of the tests, neither their code nor the modules they import.
    let mut inspect = author(&project);
    inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(project.join("greet.wasm"));
    std::fs::write(&test, format!("{text}\nfrom lictor import http\n")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    let _turn = turn();
    let inspected = at_leisure(&mut inspect);
    assert!(inspected.contains("wasi:config") && !inspected.contains("lictor:plugin/http"), "{inspected}");
    let component = std::fs::read(project.join("greet.wasm")).unwrap();
    let holds = |words: &str| component.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(holds("greets somebody"));
    assert!(!holds("test_refuses_a_long_name") && !holds("Commands called by a plugin's own tests"));
}

const COMMANDS: [&str; 17] = [
    "hello",
    "count",
    "timers",
    "waits",
    "leave",
    "lacks",
    "kinds",
    "nothing",
    "break-off",
    "whole",
    "flood",
    "ends",
    "prints",
    "caller",
    "fetch",
    "subscribe",
    "publish",
];

/// Builds a project with the plugin `name` of `python/`.
fn built(name: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    at_leisure(author(folder.path()).args(["plugin", "new", name, "--lang", "python"]));
    let project = folder.path().join(name);
    std::fs::remove_file(project.join("test_plugin.py")).unwrap();
    std::fs::copy(root().join(format!("tests/e2e/python/{name}.py")), project.join("plugin.py")).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    (folder, project)
}

/// Builds and compiles the plugin of streams once.
fn streams() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, component) = BUILT.get_or_init(|| {
        let (folder, project) = built("streams");
        let component = project.join("streams.wasm");
        let _turn = turn();
        let mut inspect = author(folder.path());
        at_leisure(inspect.args(["plugin", "inspect", "--compile-time", "10m"]).arg(&component));
        (folder, component)
    });
    component
}

/// Description of the plugin for the cases in `streams`.
pub(super) const PLUGIN: Plugin = Plugin {
    component: || streams().to_owned(),
    commands: &COMMANDS,
    grants: GRANTS,
    wholes: &[
        ("timers 2", b"1\n2\nwaited"),
        ("waits not", b"xy"),
        ("kinds", b"text \xe2\x98\x83 ? \xff\0abcd11.5"),
        ("nothing", b""),
        ("hello Ada", b"hello Ada"),
        ("caller", b"tester b'' True"),
        ("break-off 1 swallow", b"1\ncaught"),
        ("leave asked", b"in a task12"),
        ("lacks threads", b"not there"),
        ("lacks sockets", b"not there"),
        ("lacks programs", b"not there"),
    ],
    failures: &[
        ("count", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count 1 2 3", "", ("bad-arguments", "failed"), "usage: count TO [EVERY-MS]"),
        ("count x", "", ("plugin-failed", "failed"), UNEXPECTED),
        ("hello nobody", "", ("conflict", "failed"), "refused"),
        ("hello fault", "", ("plugin-failed", "failed"), UNEXPECTED),
        ("break-off 0", "", ("not-found", "failed"), "no more"),
        ("break-off 3", "1\n2\n3\n", ("not-found", "failed"), "no more"),
        ("break-off 2 fault", "1\n2\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("break-off 1 object", "1\n", ("plugin-failed", "failed"), UNEXPECTED),
        ("subscribe b", "", ("plugin-failed", "failed"), "the plugin met an error that it did not expect"),
        (
            "fetch 1 http://127.0.0.1:9/",
            "",
            ("plugin-failed", "failed"),
            "the plugin met an error that it did not expect",
        ),
    ],
    trap: ("break-off 2 exit", "SystemExit"),
    patience: "timeout = \"1500ms\"",
    stalls: &["break-off 0 stall", "break-off 2 stall"],
    every_ms: 300,
    prints: "prints 200",
    bounds: "timeout = \"1h\"\ncpu_time = \"300ms\"",
    greedy: &["break-off 2 spin"],
    endless: &["ends", "break-off 1 stall", "break-off 1 spin", "flood"],
};

#[test]
fn the_build_makes_of_a_plugin_that_streams_what_streams() {
    if !is_to_be_had("python") {
        return;
    }
    let mut inspect = author(streams().parent().unwrap());
    let inspected = at_leisure(inspect.args(["plugin", "inspect"]).arg(streams()));
    is_built_for_streams(&inspected);
}

#[test]
fn an_unexpected_error_is_logged_with_its_place() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, mut connection) = connected(&PLUGIN, "timeout = \"1m\"");
    assert_eq!(stream(&mut connection, "break-off 2 fault").1.failure(), ("plugin-failed", "failed"));
    let logged = server.wait_for_log("the error", |entry| {
        entry.text("line").is_some_and(|line| line.contains("RuntimeError: in the middle"))
    });
    let line = logged.text("line").unwrap();
    assert!(line.contains("plugin.py:") && !line.contains("lictor/"), "{line}");
}

/// As in any Python: it is logged in a line, and the command goes on.
#[test]
fn an_exception_that_nobody_asks_for_is_logged() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, mut connection) = connected(&PLUGIN, "timeout = \"1m\"");
    for (how, words) in [
        ("task", "uncaught RuntimeError: in a task at plugin.py:"),
        ("future", "uncaught RuntimeError: in a future"),
        ("callback", "uncaught ZeroDivisionError: division by zero at plugin.py:"),
    ] {
        let (whole, end) = stream(&mut connection, &format!("leave {how}"));
        assert_eq!((whole.as_slice(), end.status.as_str()), (b"12".as_slice(), "OK"), "{how}: {end:?}");
        server.wait_for_log(words, |entry| entry.text("line").is_some_and(|line| line.starts_with(words)));
    }
}

#[test]
fn what_waits_for_what_nothing_does_ends_as_a_trap() {
    if !is_to_be_had("python") {
        return;
    }
    let (server, mut connection) = connected(&PLUGIN, "timeout = \"1m\"");
    for (line, parts) in [("waits at-once", b"".as_slice()), ("waits later", b"x")] {
        let (whole, end) = stream(&mut connection, line);
        assert_eq!((whole.as_slice(), end.failure()), (parts, ("plugin-trapped", "unknown")), "{line}");
    }
    server.wait_for_log("why", |entry| {
        entry.text("line").is_some_and(|line| line.contains("the command waits for what nothing does"))
    });
}

#[test]
fn http_and_topics_go_on_between_parts() {
    if !is_to_be_had("python") {
        return;
    }
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweb\n");
    let tester = Identity::new("tester");
    let cache = format!("cache = {:?}", root().join("target/tmp/authors/lictor"));
    let url = format!("http://{}", web.address);
    let server = Setup::new()
        .master("tester", &tester)
        .server(&cache)
        .plugin("streams", streams(), &COMMANDS, "timeout = \"1s\"")
        .section(&format!(
            "[plugins.streams.grants]\nevents = [\"a/*\"]\nkeyvalue = []\n\
             http = [{{ url = \"{url}\", networks = [\"127.0.0.0/8\"] }}]"
        ))
        .start();
    let [mut one, mut other] = [(); 2].map(|()| server.connect(&tester));
    let (whole, end) = stream(&mut one, &format!("fetch 3 {url}/x"));
    assert_eq!((String::from_utf8_lossy(&whole).as_ref(), end.text()), ("web\nweb\nweb\n", ""), "{end:?}");
    begin(&mut one, "s", "subscribe a/*");
    eventually("a subscription", || (stream(&mut other, "publish a/x begin").0 == b"1").then_some(()));
    // No event comes for longer than the plugin's timeout.
    let_pass(Duration::from_millis(1500));
    assert_eq!(stream(&mut other, "publish a/y second").0, b"1");
    let mut lines = Vec::new();
    while !lines.ends_with(b"a/y second 0\n") {
        let part = one.read_frame();
        assert_eq!(part.status, "PART", "{part:?}");
        lines.extend(part.body);
    }
    assert_eq!(lines, b"a/x begin 0\na/y second 0\n");
    assert_eq!(stream(&mut other, "subscribe a/z 50").1.text(), "", "it waits no longer than it says");
}
