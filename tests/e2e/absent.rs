//! A config that names missing files, or sections that are disabled.

use std::fs;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::reload::is_cut_off;

/// Disables a section, or enables it again.
fn switch(server: &Server, section: &str, enabled: &str) {
    server.edit(|text| {
        let text = text.replace("enabled = false\n", "");
        text.replace(&format!("[{section}]\n"), &format!("[{section}]\n{enabled}"))
    });
}

#[test]
fn a_client_that_is_switched_off_is_cut_off_and_can_come_back() {
    let (tester, guest) = (Identity::new("tester"), Identity::new("guest"));
    let server = Setup::new().master("tester", &tester).client("guest", &guest, &["echo"]).echo().start();
    let mut operator = server.connect(&tester);
    let mut connection = server.connect(&guest);
    assert_eq!(connection.ask("echo here"), "here");
    switch(&server, "clients.guest", "enabled = false\n");
    assert_eq!(operator.ask("@reload"), "live     removed  clients.guest");
    is_cut_off(&mut connection, "is unknown");
    let refused = Connection::open(server.address(), Tls::showing(&guest));
    assert!(refused.unwrap().read_reply().ends_with("is unknown"));
    let checked = finish(lictor(server.folder()).arg("check"));
    assert!(checked.stdout.contains("  client guest: switched off\n"), "{checked:?}");
    switch(&server, "clients.guest", "");
    assert_eq!(operator.ask("@reload"), "live     added    clients.guest");
    assert_eq!(server.connect(&guest).ask("echo again"), "again");
}

#[test]
fn the_commands_of_a_plugin_that_is_switched_off_are_unknown() {
    let tester = Identity::new("tester");
    let echo = Setup::new();
    let component = echo.folder().join("echo.wasm");
    fs::copy(components::echo(), &component).unwrap();
    let server =
        echo.client("tester", &tester, &["echo", "@*"]).plugin("echo", &component, &["echo"], "").start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("echo here"), "here");
    switch(&server, "plugins.echo", "enabled = false\n");
    // No longer needed by any plugin.
    fs::remove_file(component).unwrap();
    assert_eq!(connection.ask("@reload"), "live     removed  plugins.echo");
    assert_eq!(connection.ask("echo gone"), "ERR Unknown command echo");
    let warning = server.wait_for_log("the permission", |entry| entry.message() == "a config warning");
    let words = warning.text("warning").unwrap();
    assert!(words.contains("the plugin that serves `echo` is switched off"), "{words}");
    let checked = finish(lictor(server.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("  plugin echo: switched off\n"), "{checked:?}");
}

#[test]
fn a_command_that_its_plugin_does_not_describe_is_warned_of_with_the_nearest() {
    let tester = Identity::new("tester");
    let keys = "[plugins.kv.grants]\nkeyvalue = [\"default\"]\ncommands = [\"kv-sett\"]";
    let setup = Setup::new().client("tester", &tester, &["kv-incr", "kv-gett"]);
    let setup = setup.plugin("kv", components::kv(), &["kv-incr", "kv-get"], keys);
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let undescribed = "the plugin `kv` serves `kv-incr`, which its `describe` does not name";
    for words in [
        undescribed,
        "did you mean `kv-increment`? it describes `kv-get`, ",
        "`clients.tester.commands` holds `kv-gett`, which no plugin serves",
        "`plugins.kv.grants.commands` holds `kv-sett`, which no plugin serves",
        "did you mean `kv-get`?",
        "plugins' commands: `kv-get`, `kv-incr`",
    ] {
        assert!(checked.stderr.contains(words), "{words}: {}", checked.stderr);
    }
    let server = setup.start();
    server.wait_for_log("the same warning", |entry| {
        entry.text("warning").is_some_and(|warning| warning.contains(undescribed))
    });
    // Without `commands` a plugin serves the command of its own name.
    let config = server.folder().join("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    let commands = text.lines().find(|line| line.ends_with("\"kv-get\"]")).unwrap();
    fs::write(&config, text.replace(&format!("{commands}\n"), "")).unwrap();
    let checked = finish(lictor(server.folder()).arg("check"));
    let advice = "it describes others: write `commands = [\"kv-";
    assert!(
        checked.stderr.contains(advice) && checked.stderr.contains("\"]` in [plugins.kv]"),
        "{checked:?}"
    );
}
