//! `lictor plugin …`: tools for authors, without a server.

use std::fs;
use std::path::Path;

use testkit::components::{self, Minimal};
use testkit::server::Setup;
use testkit::tools::{Finished, finish, lictor};

fn plugin(arguments: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    finish(lictor(folder.path()).arg("plugin").args(arguments))
}

fn path(component: &Path) -> &str {
    component.to_str().unwrap()
}

#[test]
fn a_component_is_shown_with_its_imports_their_grants_and_its_commands() {
    let shown = plugin(&["inspect", path(components::echo())]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in [
        "a component of ",
        "lictor:plugin/request@0.1.0  always there",
        "lictor:plugin/commands@0.1.0",
        "echo [TEXT]...",
    ] {
        assert!(shown.stdout.contains(words), "no {words:?} in {}", shown.stdout);
    }
    let granted = plugin(&["inspect", path(components::granted())]);
    for words in ["  by grant\n", "to grant them:\n"] {
        assert!(granted.stdout.contains(words), "no {words:?} in {}", granted.stdout);
    }
    let (_, lines) = granted.stdout.split_once("to grant them:\n").unwrap();
    let lines: String =
        lines.lines().take_while(|line| line.starts_with(' ')).map(|line| format!("{line}\n")).collect();
    let granted: toml::Table = lines.parse().unwrap();
    let plugin = &granted["plugins"]["NAME"];
    assert_eq!(plugin["grants"]["logging"].as_bool(), Some(true), "{plugin}");
    assert!(plugin["config"].as_table().is_some(), "{plugin}");
}

#[test]
fn all_that_is_not_granted_is_told_once_with_each_table_once() {
    let setup = Setup::new().plugin("\"a.b\"", components::check(), &["check-load"], "");
    let config = setup.write();
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for words in
        ["not granted to it; to grant them, add:", "[plugins.\"a.b\".config]", "[plugins.\"a.b\".grants]"]
    {
        assert_eq!(checked.stderr.matches(words).count(), 1, "{words}: {}", checked.stderr);
    }
}

#[test]
fn a_component_that_does_not_load_is_shown_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let import = "(export \"f\" (func))";
    let component =
        Minimal::new(&["x"]).importing("acme:thing/api@1.0.0", import).write(folder.path(), "x.wasm");
    let shown = plugin(&["inspect", path(&component)]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    let line = shown.stdout.lines().find(|line| line.contains("acme:thing/api@1.0.0")).unwrap();
    assert!(line.contains("which this host does not offer"), "{line}");
    assert!(shown.stderr.contains("it does not load"), "{}", shown.stderr);
    let text = folder.path().join("text");
    fs::write(&text, "no component").unwrap();
    let refused = plugin(&["inspect", path(&text)]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("it is not WebAssembly"), "{}", refused.stderr);
}

#[test]
fn a_command_runs_without_a_server_and_its_cost_is_told_beside_its_reply() {
    let run = plugin(&["run", path(components::echo()), "echo", "hello", "-n"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "hello -n\n"));
    for words in ["instance ", "call ", "computing", "memory 64."] {
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
}

#[test]
fn a_plugin_that_is_tried_out_has_config_headers_body_and_a_caller() {
    let run =
        plugin(&["run", path(components::granted()), "--config", "greeting=hello", "config", "greeting"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "hello\n"));
    let hostile = path(components::hostile());
    let whoami = plugin(&["run", hostile, "--client", "laptop", "whoami"]);
    assert!(whoami.stdout.starts_with("laptop"), "{whoami:?}");
    let header = plugin(&["run", hostile, "--header", "X-Y: z", "header", "x-y"]);
    assert!(header.stdout.contains('z'), "{header:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body"), "12345").unwrap();
    let body = plugin(&["run", hostile, "--body", path(&folder.path().join("body")), "body-size"]);
    assert_eq!(body.stdout, "5\n");
}

#[test]
fn what_goes_wrong_in_a_trial_is_told_as_a_client_and_as_the_log_would_be() {
    let hostile = path(components::hostile());
    for (arguments, words) in [
        (&["fail", "denied", "no"][..], "lictor: no (denied, failed)"),
        (&["panic", "these words"], "these words"),
        (&["trap"], "plugin-trapped, unknown"),
        (&["trap"], "misbehave::trap"),
        (&["grow"], "plugin-limit, unknown"),
    ] {
        let run = plugin(&[&["run", hostile], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(run.stderr.contains(words), "{arguments:?}: no {words:?} in {}", run.stderr);
    }
    let spinning = plugin(&["run", hostile, "--timeout", "100ms", "spin"]);
    assert!(spinning.stderr.contains("(timeout, unknown)"), "{}", spinning.stderr);
    let logged = plugin(&["run", path(components::granted()), "log", "warn", "part", "careful"]);
    assert!(logged.stderr.contains("careful"), "{}", logged.stderr);
}

#[test]
fn a_trial_that_is_asked_for_wrongly_ends_with_2() {
    for arguments in [
        &["run"][..],
        &["run", "x.wasm"],
        &["run", "x.wasm", "--memory", "64MB", "x"],
        &["run", "x.wasm", "--config", "a", "x"],
    ] {
        assert_eq!(plugin(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn names_that_no_config_takes_are_refused_as_there() {
    for (option, value, words) in [
        ("--name", "x/y", "can't stand in a name"),
        ("--name", "", "can't be empty"),
        ("--client", "a b", "can't stand in a name"),
        ("--store", "../x", "can't stand in a name"),
        ("--config", "=v", "the key before `=` is empty"),
        ("--plugin", "a b=x.wasm", "can't stand in a name"),
        ("--host-calls", "many", "whole number"),
        ("--host-calls", "1000000001", "the maximum is"),
        ("--host-bytes", "65GiB", "the maximum is"),
    ] {
        let run = plugin(&["run", "x.wasm", option, value, "x"]);
        assert_eq!(run.code, Some(2), "{option} {value}: {run:?}");
        assert!(run.stderr.contains(words), "{option} {value}: no {words:?} in {}", run.stderr);
    }
    let run = plugin(&["run", path(components::echo()), "k*"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(
        run.stderr.contains("no plugin can have this command: a plugin's command is one name"),
        "{run:?}"
    );
}

#[test]
fn commands_that_no_config_can_name_are_faults_of_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    for (names, words) in [
        (&["@ping"][..], "\"@ping\": names that begin with `@`"),
        (&["good", "a b"], "\"a b\": ' ' at position 2"),
        (&[""], "\"\": a command's name can't be empty"),
        (&["k*"], "\"k*\": a plugin's command is one name"),
        (&["same", "other", "same"], "\"same\": it is there twice"),
    ] {
        let component = Minimal::new(names).write(folder.path(), "x.wasm");
        let shown = plugin(&["inspect", path(&component)]);
        assert_eq!(shown.code, Some(1), "{shown:?}");
        assert!(shown.stdout.contains("commands:\n"), "{shown:?}");
        for words in ["its `describe` has invalid command names", words] {
            assert!(shown.stderr.contains(words), "{names:?}: no {words:?} in {}", shown.stderr);
        }
    }
}

#[test]
fn operations_of_the_host_are_bounded_as_in_a_server() {
    let kv = path(components::kv());
    let set = |options: &[&str]| plugin(&[&["run", kv], options, &["kv-set", "colour", "blue"]].concat());
    assert_eq!(set(&[]).code, Some(0));
    for option in [["--host-calls", "0"], ["--host-bytes", "1B"]] {
        let bounded = set(&option);
        assert_eq!(bounded.code, Some(1), "{bounded:?}");
        for words in ["(plugin-limit, unknown)", option[0]] {
            assert!(bounded.stderr.contains(words), "no {words:?} in {}", bounded.stderr);
        }
    }
}

#[test]
fn state_is_kept_in_a_folder_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("none/x.db");
    let run = plugin(&["run", path(components::kv()), "--state", path(&state), "kv-get", "x"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("there is no such folder for the state"), "{run:?}");
    assert!(!folder.path().join("none").exists());
}

#[test]
fn what_was_denied_is_told_with_the_options_that_grant() {
    let run = plugin(&["run", path(components::check()), "check-http", "http://127.0.0.1:1/", "1", "2"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    for words in ["(denied, ", "--http URL", "--plugin NAME=FILE"] {
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
}

#[test]
fn streams_are_told_from_what_the_suite_tests_and_what_is_kept_warm() {
    let streams = path(components::streams());
    let tested = plugin(&["test", streams]);
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(tested.stderr.contains("the suite is for components of `world plugin`"), "{tested:?}");
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("calls.toml");
    fs::write(&script, "[[call]]\ncommand = \"count 1 0\"\n").unwrap();
    let kept = plugin(&["run", streams, "--script", path(&script), "--instances", "shared"]);
    assert_eq!(kept.code, Some(1), "{kept:?}");
    assert!(kept.stderr.contains("leave out `--instances`"), "{kept:?}");
}

#[test]
fn a_build_step_that_would_do_nothing_or_half_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (hostile, sealed) = (path(components::hostile()), at("sealed.wasm"));
    for package in ["lictor:plugin/http", "", "wasi:sokcets", "wasi:cli@0.2.0"] {
        let run = plugin(&["seal", hostile, "--without", package, "-o", path(&sealed)]);
        assert_eq!(run.code, Some(1), "{package}: {run:?}");
        for words in ["it imports nothing of a package", "name one that it imports", "wasi:cli"] {
            assert!(run.stderr.contains(words), "{package}: no {words:?} in {}", run.stderr);
        }
        assert!(!sealed.exists(), "{package}");
    }
    fs::create_dir(at("made")).unwrap();
    for verb in [&["componentize", hostile][..], &["seal", hostile, "--without", "wasi:cli"]] {
        let run = plugin(&[verb, &["-o", path(&at("made"))]].concat());
        assert_eq!(run.code, Some(2), "{verb:?}: {run:?}");
        assert!(run.stderr.contains("is a folder: name the component's file"), "{verb:?}: {run:?}");
        assert!(!at("made.debug").exists(), "{verb:?}");
    }
}
