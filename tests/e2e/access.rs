//! Why a client may run a command or not: `lictor check --as`, `--who`, and the log.

use std::fs;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::components;
use testkit::server::Setup;
use testkit::tools::{Finished, finish, lictor};

/// A folder with a config whose roles stand in an included file.
fn configured() -> Setup {
    let [ci, laptop] = ["ci", "laptop"].map(Identity::new);
    let setup = Setup::new()
        .top("include = [\"conf.d/*.toml\"]")
        .section(&format!(
            "[clients.ci]\nthumbprints = [\"{}\"]\nroles = [\"deployer\"]\ncommands = [\"@ping\"]",
            ci.sha256()
        ))
        .client("laptop", &laptop, &["*"])
        .section("[clients.gone]\nenabled = false\nthumbprints = []")
        .plugin(
            "deploy",
            components::echo(),
            &["deploy", "echo"],
            "timeout = \"2s\"\n[plugins.deploy.config]\ntoken = \"hunter2\"",
        )
        .plugin("missing", "none.wasm".as_ref(), &["missing"], "");
    fs::create_dir(setup.folder().join("conf.d")).unwrap();
    let role =
        "[roles.deployer]\ncommands = [\n  \"deploy staging *\",\n  \"deploy --help\",\n  \"missing\",\n]\n";
    fs::write(setup.folder().join("conf.d/roles.toml"), role).unwrap();
    setup.write();
    setup
}

fn check(setup: &Setup, arguments: &[&str]) -> Finished {
    finish(lictor(setup.folder()).arg("check").args(arguments))
}

#[test]
fn what_a_client_may_run_is_told_by_file_and_line_with_the_plugin() {
    let setup = configured();
    fs::copy(components::echo(), setup.folder().join("none.wasm")).unwrap();
    let told = check(&setup, &["--as", "ci", "deploy", "staging", "v1 now"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let lines: Vec<_> = told.stdout.lines().map(str::trim).collect();
    assert_eq!(lines[0], "ci may run: deploy staging \"v1 now\"");
    assert_eq!(lines[1], "by `deploy staging *` of the role deployer, conf.d/roles.toml:3");
    assert!(lines[2].starts_with("plugin deploy, server.toml:"), "{told:?}");
    assert!(lines[3].starts_with("sha256 ") && lines[3].len() == "sha256 ".len() + 64, "{told:?}");
    assert!(lines.contains(&"timeout = 2s") && lines.contains(&"config = [\"token\"]"), "{told:?}");
    assert!(!told.stdout.contains("hunter2"));

    let json = check(&setup, &["--json", "--as", "ci", "@ping"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["allowed"], &json["plugin"]), (&Value::Bool(true), &Value::Null));
    assert_eq!((&json["by"][0]["pattern"], &json["by"][0]["role"]), (&"@ping".into(), &Value::Null));
    assert!(json["by"][0]["line"].as_u64().unwrap() > 1);
}

#[test]
fn what_a_client_may_not_run_is_told_with_the_line_that_would_allow_it() {
    let setup = configured();
    fs::copy(components::echo(), setup.folder().join("none.wasm")).unwrap();
    let told = check(&setup, &["--as", "ci", "deploy", "prod", "v*"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    for words in [
        "ci may not run: deploy prod v*\n",
        "no pattern of ci allows these arguments of deploy",
        "close: `deploy staging *` of the role deployer, conf.d/roles.toml:3: argument 1 differs",
        "this line in [clients.ci], server.toml:",
        r#"commands = ["@ping", 'deploy prod "v\x2a"']"#,
    ] {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
    // The line does what it says.
    let text = fs::read_to_string(setup.folder().join("server.toml")).unwrap();
    let line = told.stdout.lines().find(|line| line.trim_start().starts_with("commands = ")).unwrap().trim();
    fs::write(setup.folder().join("server.toml"), text.replace("commands = [\"@ping\"]", line)).unwrap();
    assert_eq!(check(&setup, &["--as", "ci", "deploy", "prod", "v*"]).code, Some(0));
    assert_eq!(check(&setup, &["--as", "ci", "deploy", "prod", "v1"]).code, Some(1));

    for (arguments, code, words) in [
        (&["--as", "ci", "nosuch"][..], 1, "no plugin serves nosuch"),
        (&["--as", "laptop", "nosuch"], 1, "no plugin serves nosuch"),
        (&["--as", "ci", "@nosuch"], 1, "there is no built-in command @nosuch"),
        (&["--as", "ci", "deploy", "a\nb"], 1, "ci may not run: deploy \"a\\nb\"\n"),
        (&["--who", "nosuch"], 1, "no client may run this\nno plugin serves nosuch"),
        (&["--who", "gone*"], 1, "no plugin serves gone*"),
        (&["--as", "laptop", "@reload"], 1, "commands = [\"*\", \"@reload .\"]"),
        (&["--as", "cj", "echo"], 2, "there is no client cj in server.toml; clients: ci, laptop"),
        (&["--as", "gone", "echo"], 2, "the client gone is switched off"),
        (&["--as", "ci"], 2, "required"),
        (&["--who"], 2, "required"),
        (&["echo"], 2, "a command needs --as CLIENT or --who"),
        (&["--as", "ci", ""], 2, "a command needs a name"),
    ] {
        let told = check(&setup, arguments);
        assert_eq!(told.code, Some(code), "{arguments:?}: {told:?}");
        assert!((told.stdout.clone() + &told.stderr).contains(words), "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_plugin_that_would_not_run_is_no_yes() {
    let setup = configured();
    fs::write(setup.folder().join("none.wasm"), "other").unwrap();
    let text = fs::read_to_string(setup.folder().join("server.toml")).unwrap();
    let pinned = text.replace(
        "component = \"none.wasm\"\n",
        &format!("component = \"none.wasm\"\nsha256 = \"{}\"\n", "0".repeat(64)),
    );
    fs::write(setup.folder().join("server.toml"), pinned).unwrap();
    let told = check(&setup, &["--as", "ci", "missing"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("is not the one with the `sha256` of the config"), "{told:?}");
}

#[test]
fn who_may_run_a_command_is_listed_with_the_lines() {
    let setup = configured();
    fs::copy(components::echo(), setup.folder().join("none.wasm")).unwrap();
    let told = check(&setup, &["--who", "deploy"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let lines: Vec<_> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(
        lines[0].starts_with(
            "ci: by `deploy staging *` of the role deployer, conf.d/roles.toml:3, `deploy --help`"
        )
    );
    assert!(lines[1].starts_with("laptop: by `*`, server.toml:"), "{told:?}");
    let exact = check(&setup, &["--who", "deploy", "prod"]);
    assert!(!exact.stdout.contains("ci:") && exact.stdout.contains("laptop:"), "{exact:?}");
    let long = "x".repeat(1100);
    let told = check(&setup, &["--as", "ci", "deploy", "prod", &long]);
    assert!(told.stdout.contains("and other arguments at the end: it is too long for a pattern"), "{told:?}");
    let nobody = check(&setup, &["--who", "@drain"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(1), "no client may run this\n"), "{nobody:?}");
    let json = check(&setup, &["--json", "--who", "@ping"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["clients"][0]["client"], "ci");
}

#[test]
fn the_log_tells_which_patterns_came_closest_and_the_client_is_told_nothing() {
    let tester = Identity::new("tester");
    let server =
        Setup::new().client("tester", &tester, &["echo in *", "echo secret-*", "@ping"]).echo().start();
    let mut connection = server.connect(&tester);
    let refused = connection.ask_framed("echo out 1");
    assert_eq!(refused.failure(), ("forbidden", "not-run"));
    assert_eq!(refused.message, "Command echo is not allowed to this client");
    let logged = server.wait_for_log("the refusal", |entry| entry.text("code") == Some("forbidden"));
    let closest = "`echo in *` (argument 1 differs), `echo secret-*` (argument 1 differs)";
    assert_eq!(logged.text("closest"), Some(closest));
    assert_eq!(logged.text("arguments"), None, "they may be secret");
}
