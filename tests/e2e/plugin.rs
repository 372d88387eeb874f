//! `lictor plugin …`: what authors need, without a server.

use std::fs;
use std::path::Path;

use crate::support::components::{self, Minimal};
use crate::support::server::Setup;
use crate::support::tools::{Finished, finish, lictor};

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
