//! Grants of a plugin: given, withheld, exceeded.

use testkit::certs::Identity;
use testkit::components::{self, Minimal};
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

const COMMANDS: [&str; 4] = ["config", "config-all", "log", "log-flood"];

const CONFIG: &str = "[plugins.granted.config]\ngreeting = \"hello\"\nempty = \"\"";
const LOGGING: &str = "[plugins.granted.grants]\nlogging = true";

fn setup(sections: &str) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    (setup.plugin("granted", components::granted(), &COMMANDS, "").section(sections), tester)
}

fn server(sections: &str) -> (Server, Identity) {
    let (setup, tester) = setup(sections);
    (setup.start(), tester)
}

#[test]
fn what_is_withheld_is_named_with_the_lines_to_add() {
    for (sections, missing, lines) in [
        (LOGGING, "wasi:config/store@0.2.0-rc.1", "[plugins.granted.config]"),
        (
            CONFIG,
            "wasi:logging/logging@0.1.0-draft",
            "add:\n    | [plugins.granted.grants]\n    | logging = true",
        ),
        (
            &format!("{CONFIG}\n[plugins.granted.grants]\nlogging = false"),
            "wasi:logging/logging@0.1.0-draft",
            "add to [plugins.granted.grants]:\n    | logging = true",
        ),
    ] {
        let (setup, _) = setup(sections);
        let config = setup.write();
        let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        for words in ["plugin granted", missing, "not granted", lines] {
            assert!(checked.stderr.contains(words), "no {words:?} in {}", checked.stderr);
        }
    }
}

/// Compiling may take minutes. This component would not compile.
#[test]
fn what_is_withheld_is_told_before_anything_is_compiled() {
    let setup = Setup::new();
    let component = Minimal::new(&["run"])
        .importing("lictor:plugin/state@0.1.0", "")
        .beside("(core module (func (result i32)))")
        .write(setup.folder(), "guest");
    for (keys, words) in [
        ("", "which is not granted to it"),
        ("[plugins.guest.grants]\nkeyvalue = []", "it is not a valid component"),
    ] {
        let config = Setup::new().plugin("guest", &component, &["run"], keys);
        let checked = finish(lictor(config.folder()).arg("check").arg("--config").arg(config.write()));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stderr.contains(words), "{}", checked.stderr);
    }
}

#[test]
fn a_plugin_reads_its_own_config_and_nothing_else() {
    let other =
        "[plugins.other]\ncomponent = \"other.wasm\"\n[plugins.other.config]\nsecret = \"of the other\"";
    let (setup, tester) = setup(&format!("{CONFIG}\n{LOGGING}\n{other}"));
    std::fs::copy(components::echo(), setup.folder().join("other.wasm")).unwrap();
    let server = setup.start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("config greeting"), "hello");
    assert_eq!(connection.ask("config empty"), "");
    assert_eq!(connection.ask_framed("config secret").failure(), ("not-found", "failed"));
    assert_eq!(connection.ask("config-all"), "empty=\ngreeting=hello");
}

#[test]
fn an_empty_config_is_a_grant_of_nothing() {
    let (server, tester) = server(&format!("[plugins.granted.config]\n{LOGGING}"));
    assert_eq!(server.connect(&tester).ask("config-all"), "");
}

#[test]
fn a_plugins_events_are_in_the_log_with_their_level_and_escaped() {
    let (server, tester) = server(&format!("{CONFIG}\n{LOGGING}\n[log]\nlevel = \"debug\""));
    let mut connection = server.connect(&tester);
    for (level, written) in
        [("debug", "DEBUG"), ("info", "INFO"), ("warn", "WARN"), ("error", "ERROR"), ("critical", "ERROR")]
    {
        assert_eq!(connection.ask(&format!("log {level} part \"said at {level}\"")), "");
        let entry =
            server.wait_for_log("the event", |entry| entry.text("line") == Some(&format!("said at {level}")));
        assert_eq!((entry.message(), entry.text("level")), ("plugin log", Some(written)));
        assert_eq!((entry.text("plugin"), entry.text("context")), (Some("granted"), Some("part")));
        assert!(entry.text("request").is_some_and(|request| request.starts_with('c')), "{entry:?}");
    }
    connection.ask("log trace part \"below the level\"");
    connection.ask("log info \"a\\nb\" \"x\\r\\n{\\\"forged\\\":1}\\x1b[2J\"");
    let entry = server.wait_for_log("the event", |entry| entry.text("context") == Some("a\\nb"));
    assert_eq!(entry.text("line"), Some("x\\r\\n{\"forged\":1}\\x1b[2J"));
    assert!(!server.printed().contains("below the level"));
}

#[test]
fn events_beyond_a_plugins_share_are_counted() {
    let (server, tester) = server(&format!("{CONFIG}\n{LOGGING}"));
    let mut connection = server.connect(&tester);
    connection.ask("log-flood 100000");
    let logged =
        |server: &Server| server.log().iter().filter(|entry| entry.message() == "plugin log").count();
    let of_one_call = logged(&server);
    assert!((1..10_000).contains(&of_one_call), "{of_one_call}");
    testkit::eventually("the count of the others", || {
        (server.happened("plugin output") + logged(&server) as u64 >= 100_000).then_some(())
    });
}
