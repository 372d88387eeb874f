//! `lictor state list|get|delete` beside a running server, and without one.

use std::path::Path;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::components::{self, STATEFUL_COMMANDS};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

fn server() -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let setup = setup.plugin("kv", components::stateful(), &STATEFUL_COMMANDS, "");
    let setup = setup.section("[plugins.kv.grants]\nkeyvalue = [\"default\", \"other\"]");
    (setup.section("[state]\nengine = \"sqlite\"\npath = \"state/state.db\"").start(), tester)
}

fn state(folder: &Path, line: &str) -> Finished {
    finish(lictor(folder).arg("state").args(line.split(' ')))
}

#[track_caller]
fn done(folder: &Path, line: &str) -> String {
    let done = state(folder, line);
    assert_eq!(done.code, Some(0), "{line}: {done:?}");
    done.stdout
}

#[track_caller]
fn fails(folder: &Path, line: &str, code: i32, words: &str) {
    let failed = state(folder, line);
    assert_eq!(failed.code, Some(code), "{line}: {failed:?}");
    assert!(failed.stdout.is_empty() && failed.stderr.contains(words), "{line}: {failed:?}");
}

#[test]
fn entries_are_listed_and_read_beside_a_server() {
    let (server, tester) = server();
    let mut connection = server.connect(&tester);
    for (key, value) in [("users/anna", "1"), ("users/bob", "two"), ("jobs", "x\\x1b[31m")] {
        assert_eq!(connection.ask(&format!("kv-set default {key} \"{value}\"")), "");
    }
    connection.ask("kv-set other k v");
    connection.ask("state-set default short v 1");
    connection.ask("state-set default long v 3600000");
    let folder = server.folder();
    let stores = done(folder, "list");
    assert!(
        stores.starts_with("kv/default  keys ") && stores.contains("\nkv/other  keys 1  bytes 2\n"),
        "{stores}"
    );
    eventually("the end of what expires", || {
        (done(folder, "list kv") == "jobs\nlong\nusers/anna\nusers/bob\n").then_some(())
    });
    assert_eq!(done(folder, "list kv/default --prefix users/"), "users/anna\nusers/bob\n");
    assert_eq!(done(folder, "list kv --prefix users/ --after users/anna"), "users/bob\n");
    let cut = state(folder, "list kv --limit 1");
    assert_eq!(cut.stdout, "jobs\n");
    assert!(cut.stderr.contains("--after \"jobs\""), "{cut:?}");
    let long = done(folder, "list -l kv --prefix long");
    assert!(long.contains("1 bytes  version ") && long.contains(" s  long"), "{long}");
    let json: Value = serde_json::from_str(&done(folder, "list kv --json --limit 2")).unwrap();
    assert_eq!(json["entries"][0]["key"], "jobs");
    assert!(json["entries"][1]["ttl_ms"].as_u64().is_some_and(|left| left > 3_000_000), "{json}");
    assert_eq!((&json["entries"][0]["ttl_ms"], &json["after"]), (&Value::Null, &Value::from("long")));
    assert_eq!(done(folder, "get kv users/bob"), "two\n");
    assert_eq!(done(folder, "get --raw kv users/bob"), "two");
    assert_eq!(done(folder, "get kv/default jobs"), "x\x1b[31m\n", "no terminal reads it");
    let json: Value = serde_json::from_str(&done(folder, "get --json kv jobs")).unwrap();
    assert_eq!(json["value"], "x\x1b[31m");
    fails(folder, "get kv nobody", 1, "kv/default: there is no key nobody");
    fails(folder, "get kv short", 1, "there is no key short");
    fails(folder, "get kvv nobody", 1, "there is no store kvv/default; `lictor state list` lists");
    fails(folder, "list kv/", 2, "write PLUGIN/STORE");
    fails(folder, "list kv --limit 0", 2, "1..=100000");
}

#[test]
fn what_is_deleted_is_gone_for_plugins_of_a_server_and_counts_no_more() {
    let (mut server, tester) = server();
    let mut connection = server.connect(&tester);
    for number in 0..1200 {
        connection.send(format!("kv-set default s/{number} v\r\n\r\n"));
    }
    for _ in 0..1200 {
        assert_eq!(connection.read_reply(), "");
    }
    connection.ask("kv-set default one v");
    let folder = server.folder().to_owned();
    let folder = folder.as_path();
    fails(folder, "delete kv nobody", 1, "there is no key nobody");
    fails(folder, "delete kv", 2, "name the KEY to delete, or use --prefix");
    fails(folder, "delete kv one --prefix s/ --yes", 2, "cannot be used with");
    fails(folder, "delete kv --prefix s/", 2, "1200 keys begin with \"s/\", and none was deleted; add --yes");
    assert_eq!(connection.ask("kv-exists default one"), "true");
    let deleted = state(folder, "delete kv one");
    assert_eq!(
        (deleted.code, deleted.stderr.as_str()),
        (Some(0), "kv/default: deleted one\n"),
        "{deleted:?}"
    );
    eventually("the plugin's knowledge", || {
        (connection.ask("kv-exists default one") == "false").then_some(())
    });
    let deleted = state(folder, "delete kv --prefix s/ --yes");
    assert_eq!(deleted.stderr, "kv/default: deleted 1200 keys\n", "{deleted:?}");
    assert!(done(folder, "list").starts_with("kv/default  keys 0  bytes 0\n"));
    fails(folder, "delete kv --prefix s/ --yes", 1, "no key begins with \"s/\"");
    // The server goes on, and the commands also work without it.
    assert_eq!(connection.ask("kv-set default after v"), "");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(done(folder, "get --raw kv after"), "v");
    done(folder, "delete kv after");
    assert_eq!(done(folder, "list kv"), "");
}

#[test]
fn without_a_file_there_is_nothing_to_look_into() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    setup.write();
    fails(setup.folder(), "list", 1, "write `engine = \"sqlite\"` and a `path` into [state]");
    let nowhere = tempfile::tempdir().unwrap();
    for line in ["list", "get kv a", "delete kv a", "backup copy.db"] {
        fails(nowhere.path(), line, 2, "there is no server.toml: make one with `lictor init`");
    }
    let setup = setup.section("[state]\nengine = \"sqlite\"\npath = \"state/state.db\"");
    setup.write();
    fails(setup.folder(), "list", 1, "there is no state yet");
    let mut server = setup.start();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let listed = state(server.folder(), "list");
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(0), ""), "{listed:?}");
    assert!(listed.stderr.contains("there are no stores"), "{listed:?}");
}
