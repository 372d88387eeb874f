//! Lines of an author's files that are reported for a trap, from the debug file beside the component.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Entry, Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::languages::{at_leisure, author, is_to_be_had, script};

const HELPER: &str = include_str!("helper.rs");
/// A command that reads beyond any memory.
const TRAP: &str = "trap 2147418112";

const COMMANDS: &str = include_str!("lib.rs");

/// Builds once a project in Rust whose commands trap in their second file.
fn project() -> &'static Path {
    static PROJECT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, project) = PROJECT.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let project = new_project(folder.path(), "rust");
        fs::write(project.join("src/helper.rs"), HELPER).unwrap();
        fs::write(project.join("src/lib.rs"), COMMANDS).unwrap();
        at_leisure(&mut script(&project, "build.sh"));
        (folder, project)
    });
    project
}

fn new_project(folder: &Path, language: &str) -> PathBuf {
    let made = finish(author(folder).args(["plugin", "new", "placed", "--lang", language]));
    assert_eq!(made.code, Some(0), "{made:?}");
    folder.join("placed")
}

/// Copies the component and its debug file into `folder`.
fn copied(folder: &Path) -> [PathBuf; 2] {
    ["placed.wasm", "placed.wasm.debug"].map(|name| {
        fs::copy(project().join(name), folder.join(name)).unwrap();
        folder.join(name)
    })
}

/// Returns the line of `source` with this mark.
fn line_of(source: &str, mark: &str) -> usize {
    let mark = format!("// here: {mark}");
    1 + source.lines().position(|line| line.ends_with(&mark)).unwrap()
}

fn served(setup: Setup, component: &Path) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = setup.master("tester", &tester).plugin(
        "placed",
        component,
        &["nth", "over", "trap", "deep", "spin"],
        "",
    );
    (setup.start(), tester)
}

/// Returns the log's entry about the trap of `command`; the client learns nothing about files.
fn trapped(server: &Server, tester: &Identity, command: &str) -> Entry {
    let frame = server.connect(tester).ask_framed(command);
    assert_eq!(frame.failure(), ("plugin-trapped", "unknown"), "{command}: {}", frame.message);
    assert!(!frame.message.contains("src/") && !frame.message.contains(".rs"), "{}", frame.message);
    let id = frame.message.split("(request ").nth(1).unwrap().trim_end_matches(')').to_owned();
    server.wait_for_log(command, |entry| {
        entry.message() == "plugin broke off" && entry.text("request") == Some(&id)
    })
}

#[test]
fn a_trap_is_told_by_the_line_of_its_author() {
    let setup = Setup::new();
    let [component, debug] = copied(setup.folder());
    assert!(fs::metadata(&component).unwrap().len() < fs::metadata(&debug).unwrap().len() / 2);
    let (mut server, tester) = served(setup, &component);
    let check = |server: &Server| {
        for command in ["nth 7", "over 100", TRAP] {
            let entry = trapped(server, &tester, command);
            let mark = command.split(' ').next().unwrap();
            let place = format!("src/helper.rs:{}", line_of(HELPER, mark));
            assert_eq!(entry.text("at"), Some(&*place), "{entry:?}");
            let error = entry.text("error").unwrap();
            let frame = format!("{mark} at {place}");
            assert!(error.lines().any(|line| line.ends_with(&frame)), "{error}");
            assert!(error.contains("inlined into ") && error.contains("…/"), "{error}");
            assert!(!error.contains(project().to_str().unwrap()), "{error}");
        }
        // Either its first instruction traps, or the call: both are in the function.
        let deep = trapped(server, &tester, "deep 100000");
        assert!(deep.text("reason").unwrap().contains("its stack is used up"), "{deep:?}");
        let at = deep.text("at").unwrap().strip_prefix("src/helper.rs:").unwrap().parse::<usize>().unwrap();
        assert!((line_of(HELPER, "deep")..line_of(HELPER, "deep ends")).contains(&at), "{deep:?}");
        assert!(server.log().iter().all(|entry| !entry.text("warning").unwrap_or("").contains("debug file")));
    };
    check(&server);
    // Places come from the cache.
    let tables = |server: &Server| {
        let entries = fs::read_dir(server.folder().join("cache")).unwrap().map(|entry| entry.unwrap());
        let tables = entries.filter(|entry| entry.path().extension().is_some_and(|form| form == "places"));
        tables.map(|table| table.metadata().unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    let before = tables(&server);
    assert_eq!(before.len(), 1);
    server.start_anew();
    check(&server);
    assert_eq!(tables(&server), before);
}

/// The same for a call that is stopped while it computes, instead of trapping.
#[test]
fn a_call_that_is_stopped_is_told_by_the_line_of_its_author() {
    let is_in_the_loop = |place: &str| {
        let line = place.strip_prefix("src/helper.rs:").and_then(|line| line.parse::<usize>().ok());
        line.is_some_and(|line| (line_of(HELPER, "spin")..line_of(HELPER, "spin ends")).contains(&line))
    };
    let setup = Setup::new();
    let [component, _debug] = copied(setup.folder());
    let (server, tester) = served(setup, &component);
    let frame = server.connect(&tester).ask_framed("spin 1\r\nTimeout-Ms: 200");
    assert_eq!(frame.failure(), ("timeout", "unknown"), "{}", frame.message);
    assert!(!frame.message.contains("src/") && !frame.message.contains(".rs"), "{}", frame.message);
    let told = server.wait_for_log("it", |entry| entry.message() == "stopped at the deadline");
    assert!(is_in_the_loop(told.text("at").unwrap()), "{told:?}");
    assert!(told.text("error").unwrap().contains(" at src/helper.rs:"), "{told:?}");
    // The same without a server.
    let folder = TempDir::new().unwrap();
    let [component, _debug] = copied(folder.path());
    let mut run = lictor(folder.path());
    let options = ["plugin", "run", "--timeout", "200ms", "--core-dump", "spin.core"];
    let ran = finish(run.args(options).arg(&component).args(["spin", "1"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let at = ran.stderr.split("at=\"").nth(1).unwrap_or_default().split('"').next().unwrap();
    assert!(is_in_the_loop(at), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--timeout` of the command line"), "{}", ran.stderr);
    assert!(backtrace_of(&folder.path().join("spin.core")).contains(" at src/helper.rs:"));
}

#[test]
fn a_component_is_built_the_same_with_a_debug_file_and_without() {
    let folder = TempDir::new().unwrap();
    let [component, debug] = copied(folder.path());
    // The file without debug information is the built component, and has no debug file.
    let again = folder.path().join("again.wasm");
    let mut componentize = lictor(folder.path());
    fs::write(folder.path().join("again.wasm.debug"), "of another build").unwrap();
    let moved = finish(componentize.args(["plugin", "componentize"]).arg(&debug).arg("-o").arg(&again));
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert_eq!(fs::read(&again).unwrap(), fs::read(&component).unwrap());
    assert!(folder.path().join("again.wasm.debug").exists());
    let mut componentize = lictor(folder.path());
    let moved = finish(componentize.args(["plugin", "componentize"]).arg(&component).arg("-o").arg(&again));
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert_eq!(fs::read(&again).unwrap(), fs::read(&component).unwrap());
    assert!(!folder.path().join("again.wasm.debug").exists(), "an earlier build's is left");
}

#[test]
fn an_author_sees_the_line_without_a_server_and_in_a_core_dump() {
    let place = format!("src/helper.rs:{}", line_of(HELPER, "trap"));
    let folder = TempDir::new().unwrap();
    let [component, debug] = copied(folder.path());
    let run = || {
        let mut lictor = lictor(folder.path());
        finish(
            lictor.args(["plugin", "run", "--core-dump", "trap.core"]).arg(&component).args(TRAP.split(' ')),
        )
    };
    let ran = run();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(&format!("at={place:?}")), "{}", ran.stderr);
    let text = backtrace_of(&folder.path().join("trap.core"));
    assert!(text.contains(&format!("trap at {place}\n")), "{text}");
    fs::write(&debug, "not of this").unwrap();
    let ran = run();
    assert!(ran.stderr.contains("the debug file is not used"), "{}", ran.stderr);
    assert!(ran.stderr.contains("placed.wasm.debug: it is damaged"), "{}", ran.stderr);
    let text = backtrace_of(&folder.path().join("trap.core"));
    assert!(text.contains("commands::COMMANDS") && !text.contains("helper.rs"), "{text}");
}

/// Returns the section of a core dump that tools show as text.
fn backtrace_of(dump: &Path) -> String {
    let dump = fs::read(dump).unwrap();
    let section = wasmparser::Parser::new(0).parse_all(&dump).find_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CustomSection(section) if section.name() == "lictor.backtrace" => {
            Some(String::from_utf8(section.data().to_vec()).unwrap())
        }
        _ => None,
    });
    section.expect("a core dump has its backtrace")
}

#[test]
fn a_debug_file_that_comes_or_goes_is_noticed() {
    let setup = Setup::new().server("watch = true");
    let [component, debug] = copied(setup.folder());
    let away = setup.folder().join("away");
    fs::rename(&debug, &away).unwrap();
    let (server, tester) = served(setup, &component);
    let place = format!("src/helper.rs:{}", line_of(HELPER, "trap"));
    let mut reloads = 0;
    let mut at_next_reload = |change: &dyn Fn()| {
        change();
        reloads += 1;
        let reloaded = || server.log().iter().filter(|entry| entry.message() == "reloaded").count();
        testkit::eventually("a reload", || (reloaded() >= reloads).then_some(()));
        trapped(&server, &tester, TRAP).text("at").map(str::to_owned)
    };
    assert_eq!(trapped(&server, &tester, TRAP).text("at"), None);
    assert_eq!(at_next_reload(&|| fs::rename(&away, &debug).unwrap()), Some(place.clone()));
    assert_eq!(at_next_reload(&|| fs::rename(&debug, &away).unwrap()), None);
    let warnings = || {
        let log = server.log();
        log.iter()
            .filter(|entry| entry.text("warning").is_some_and(|words| words.contains("debug file")))
            .count()
    };
    assert_eq!(warnings(), 0);
    assert_eq!(at_next_reload(&|| fs::write(&debug, "no component").unwrap()), None);
    assert_eq!(warnings(), 1);
    assert_eq!(at_next_reload(&|| fs::rename(&away, &debug).unwrap()), Some(place));
    assert_eq!(warnings(), 1);
}

/// Runs `lictor check` for a server with the plugin, after `spoil` has damaged its debug file.
fn checked(limits: &str, spoil: impl FnOnce(&Path)) -> Finished {
    let setup = Setup::new().section(&format!("[limits]\n{limits}"));
    let [component, debug] = copied(setup.folder());
    spoil(&debug);
    let setup = setup.plugin("placed", &component, &["nth", "over", "trap", "deep"], "");
    finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()))
}

#[test]
fn a_debug_file_that_can_not_be_used_costs_the_places_and_not_the_plugin() {
    let fine = checked("", |_| {});
    assert!(fine.code == Some(0) && !fine.stderr.contains("debug file"), "{fine:?}");
    let gone = checked("", |debug| fs::remove_file(debug).unwrap());
    assert!(gone.code == Some(0) && !gone.stderr.contains("debug file"), "{gone:?}");
    let side_by_side =
        "put the component and its debug file of one build side by side, or remove the debug file";
    let told = |limits: &str, words: &str, help: &str, spoil: &dyn Fn(&Path)| {
        let checked = checked(limits, spoil);
        let begin = "the debug file of the plugin `placed` is not used: ";
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert_eq!(checked.stderr.matches("debug file of the plugin").count(), 1, "{}", checked.stderr);
        assert!(checked.stderr.contains(begin), "{}", checked.stderr);
        assert!(checked.stderr.contains(&format!("placed.wasm.debug: {words}")), "{}", checked.stderr);
        assert!(checked.stderr.contains(help), "{}", checked.stderr);
    };
    told("", "it is damaged", side_by_side, &|debug| fs::write(debug, "").unwrap());
    told("", "it is damaged", side_by_side, &|debug| {
        let bytes = fs::read(debug).unwrap();
        fs::write(debug, &bytes[..bytes.len() - 9]).unwrap();
    });
    told("", "it is of another build than the component", side_by_side, &|debug| {
        fs::copy(components::echo(), debug).unwrap();
    });
    told("", "this is a folder", side_by_side, &|debug| {
        fs::remove_file(debug).unwrap();
        fs::create_dir(debug).unwrap();
    });
    told("", "this is not a plain file", side_by_side, &|debug| {
        fs::remove_file(debug).unwrap();
        let made = std::process::Command::new("mkfifo").arg(debug).status().unwrap();
        assert!(made.success());
    });
    told("", "users other than its owner can write to it", "chmod go-w", &|debug| {
        fs::set_permissions(debug, fs::Permissions::from_mode(0o666)).unwrap();
    });
    let less = "build with less debug information";
    told("component_size = \"512KiB\"", "it is larger than component_size = 512KiB", less, &|debug| {
        let mut bytes = fs::read(debug).unwrap();
        bytes.resize(1 << 20, 0);
        fs::write(debug, bytes).unwrap();
    });
}

#[test]
fn a_trap_in_c_is_told_by_its_line() {
    if !is_to_be_had("c") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let project = new_project(folder.path(), "c");
    let source = fs::read_to_string(project.join("plugin.c")).unwrap();
    let source = source.replace(
        "static bool greet(",
        "static void helper(void) {\n  *(volatile int *)0x7fff0000 = 1; // here: helper\n}\n\nstatic bool greet(",
    );
    let source = source.replace("  lictor_print(", "  if (count > 0) helper();\n  lictor_print(");
    fs::write(project.join("plugin.c"), &source).unwrap();
    at_leisure(&mut script(&project, "build.sh"));
    let mut run = author(folder.path());
    let ran = finish(run.args(["plugin", "run"]).arg(project.join("placed.wasm")).args(["placed", "x"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("at=\"plugin.c:{}\"", line_of(&source, "helper"))),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains(&format!("{}/", folder.path().display())), "{}", ran.stderr);
}
