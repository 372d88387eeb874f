//! Key-value state as plugins see it: its contents, owners, quotas, and survival of the server's end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::{self, STATEFUL_COMMANDS};
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::metrics::metrics;

/// Sets up a server whose plugin `stateful` has `grants` and `keys`, and whose section `[state]` has these
/// lines.
fn setup(keys: &str, grants: &str, state: &str) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let setup = setup.plugin("stateful", components::stateful(), &STATEFUL_COMMANDS, keys);
    let setup = setup.section(&format!("[plugins.stateful.grants]\nkeyvalue = {grants}"));
    (setup.section(&format!("[state]\n{state}")), tester)
}

fn in_memory(keys: &str) -> (Server, Identity) {
    let (setup, tester) = setup(keys, "[\"default\", \"other\"]", "engine = \"memory\"");
    (setup.start(), tester)
}

fn in_file(path: &Path) -> (Server, Identity) {
    let (setup, tester) = setup("", "[\"default\"]", &format!("engine = \"sqlite\"\npath = {path:?}"));
    (setup.start(), tester)
}

#[test]
fn wasi_keyvalue_does_what_it_says() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    let mut ask = |line: &str| connection.ask(line);
    assert_eq!(ask("kv-exists default a"), "false");
    assert_eq!(ask("kv-set default a \"a b ☃\""), "");
    assert_eq!(ask("kv-get default a"), "a b ☃");
    assert_eq!(ask("kv-exists default a"), "true");
    assert_eq!(ask("kv-exists other a"), "false", "stores are apart");
    assert_eq!(ask("kv-increment default n 5"), "5");
    assert_eq!(ask("kv-increment default n 37"), "42");
    assert_eq!(ask("kv-set-many default x=1 y=2"), "");
    assert_eq!(ask("kv-get-many default x none y"), "x=1 - y=2");
    assert_eq!(ask("kv-delete-many default x none"), "");
    assert_eq!(ask("kv-delete default a"), "");
    assert_eq!(ask("kv-delete default a"), "", "deleting what is not there is no fault");
    assert_eq!(ask("kv-get-many default a x y"), "- - y=2");
    for (line, code, words) in [
        ("kv-get default a", "not-found", ""),
        ("kv-increment default y -1", "bad-arguments", "no number"),
        ("kv-increment default n 18446744073709551615", "plugin-failed", "does not fit"),
        ("kv-set default \"\" x", "plugin-failed", "empty"),
        ("kv-set default \"a\\nb\" x", "plugin-failed", "control character"),
        ("kv-open third", "denied", "access denied"),
        ("kv-cursor default 9", "plugin-failed", "cursor"),
    ] {
        let frame = connection.ask_framed(line);
        assert_eq!(frame.failure(), (code, "failed"), "{line}: {frame:?}");
        assert!(frame.message.contains(words), "{line}: {frame:?}");
    }
    connection.ask("kv-set default text hello");
    assert!(
        connection.ask_framed("kv-increment default text 1").message.contains("not a whole decimal number")
    );
    assert_eq!(connection.ask("kv-get default text"), "hello", "what can't be counted up is left alone");
}

#[test]
fn our_interface_has_expiry_versions_and_prefixes() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    let first = connection.ask("state-swap default k - one");
    let conflict = connection.ask_framed("state-swap default k - two");
    assert_eq!(conflict.failure(), ("conflict", "failed"));
    let second = connection.ask(&format!("state-swap default k {first} two"));
    assert_ne!(first, second);
    assert_eq!(connection.ask_framed(&format!("state-swap default k {first} three")).failure().0, "conflict");
    assert_eq!(connection.ask("state-get default k"), format!("two {second} -"));
    assert_eq!(connection.ask_framed(&format!("state-swap-out default k {first}")).failure().0, "conflict");
    assert_eq!(connection.ask(&format!("state-swap-out default k {second}")), "");
    assert_eq!(connection.ask_framed("state-get default k").failure().0, "not-found");

    connection.ask("state-set default soon x 3600000");
    let shown = connection.ask("state-get default soon");
    let left: u64 = shown.rsplit(' ').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
    assert!((3_000_000..=3_600_000).contains(&left), "{shown}");
    assert_eq!(connection.ask("state-keep default soon"), "true");
    assert!(connection.ask("state-get default soon").ends_with(" -"));
    connection.ask("state-set default gone x 1");
    testkit::eventually("the entry expires", || {
        (connection.ask_framed("state-get default gone").field("Code") == Some("not-found")).then_some(())
    });
    assert_eq!(connection.ask("state-touch default gone 5"), "false");
    assert_eq!(connection.ask_framed("state-set default k v 0").failure().0, "bad-arguments");

    assert_eq!(connection.ask("state-increment default n -3"), "-3");
    assert_eq!(connection.ask("state-increment default n 10"), "7");
    assert_eq!(connection.ask_framed("state-increment default soon 1").failure().0, "plugin-failed");
    for key in ["p/1", "p/2", "p/3", "q"] {
        connection.ask(&format!("state-set default {key} v"));
    }
    assert_eq!(connection.ask("state-list default p/ 2"), "p/1 p/2 …");
    assert_eq!(connection.ask("state-list default p/ 2 p/2"), "p/3");
    assert_eq!(connection.ask("state-list default none/ 10"), "");
    assert_eq!(connection.ask("state-delete default q"), "true");
    assert_eq!(connection.ask("state-delete default q"), "false");
    assert_eq!(connection.ask_framed("state-get third q").failure().0, "denied");
}

#[test]
fn a_listing_of_many_keys_comes_in_pages() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    for round in 0..25 {
        let entries: Vec<String> = (0..100).map(|n| format!("k{round:02}-{n:02}=v")).collect();
        assert_eq!(connection.ask(&format!("kv-set-many default {}", entries.join(" "))), "");
    }
    assert_eq!(connection.ask("kv-pages default"), "1000+1000+500");
}

#[test]
fn a_store_is_its_plugins_own_unless_it_is_shared() {
    let tester = Identity::new("tester");
    let plugin = |setup: Setup, name: &str, grants: &str| {
        let command = format!("kv-{name}");
        let setup = setup.plugin(name, components::stateful(), &[&command], "store_keys = 2");
        setup.section(&format!("[plugins.{name}.grants]\nkeyvalue = {grants}"))
    };
    // Three plugins with the same component, each with one of its commands: `kv-set`, `kv-get`, `kv-exists`.
    let setup = Setup::new().master("tester", &tester).section("[state]\nengine = \"memory\"");
    let setup = plugin(setup, "set", "[\"default\"]");
    let setup = plugin(setup, "get", "[\"set/default\", \"default\"]");
    let server = plugin(setup, "exists", "[\"default\"]").start();
    let mut connection = server.connect(&tester);
    connection.ask("kv-set default k v");
    assert_eq!(connection.ask("kv-get set/default k"), "v", "the grant says whose store it is");
    assert_eq!(connection.ask_framed("kv-get default k").failure().0, "not-found", "its own is another");
    assert_eq!(connection.ask("kv-exists default k"), "false");
    assert_eq!(connection.ask_framed("kv-exists set/default k").failure().0, "denied");
    // The owner's quota applies.
    connection.ask("kv-set default l v");
    let full = connection.ask_framed("kv-set default m v");
    assert!(full.message.contains("quota of 2 keys is used up"), "{full:?}");
}

#[test]
fn quotas_hold_to_the_key_and_to_the_byte() {
    let (server, tester) = in_memory("store_keys = 3\nstore_bytes = \"1KiB\"");
    let mut connection = server.connect(&tester);
    for key in ["a", "b", "c"] {
        assert_eq!(connection.ask(&format!("kv-set default {key} v")), "");
    }
    assert!(connection.ask_framed("kv-set default d v").message.contains("quota of 3 keys is used up"));
    assert_eq!(connection.ask("kv-set other d v"), "", "each store has its own");
    assert_eq!(connection.ask("kv-delete default b"), "");
    assert_eq!(connection.ask("kv-set-sized default d 1019"), "", "1024 bytes with keys and values");
    assert!(connection.ask_framed("kv-set default a vv").message.contains("quota of 1024 bytes is used up"));
    assert_eq!(connection.ask("kv-set-sized default d 1"), "");
    assert!(connection.ask_framed("kv-set-sized default d 1048577").message.contains("too large"));
}

#[test]
fn what_a_call_asks_of_the_host_is_bounded() {
    let (server, tester) = in_memory("host_calls = 100\nhost_bytes = \"64KiB\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("state-flood default 100"), "");
    let frame = connection.ask_framed("state-flood default 101");
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"));
    assert!(frame.message.contains("more than its 100 operations of the host"), "{frame:?}");
    assert_eq!(connection.ask("kv-set-sized default k 60000"), "");
    let frame = connection.ask_framed("kv-set-sized default k 70000");
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"));
    assert!(frame.message.contains("more than its 65536 bytes through the host"), "{frame:?}");
    assert_eq!(connection.ask("kv-exists default k"), "true", "each call has its own share");
    assert!(metrics(&mut connection)["lictor_host_bytes_used_up_total"] > 0);
}

#[test]
fn handles_of_stores_are_bounded() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("kv-hoard default 4000"), "4000");
    assert_eq!(connection.ask_framed("kv-hoard default 5000").failure().0, "plugin-limit");
    assert_eq!(metrics(&mut connection)["lictor_handles_used_up_total"], 1);
}

#[test]
fn without_a_grant_the_plugin_does_not_load() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let setup = setup.plugin("stateful", components::stateful(), &STATEFUL_COMMANDS, "");
    let config = setup.write();
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for words in [
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi:keyvalue/atomics@0.2.0-draft",
        "wasi:keyvalue/batch@0.2.0-draft",
        "lictor:plugin/state@0.1.0",
        "[plugins.stateful.grants]\n    | keyvalue = [\"default\"]",
    ] {
        assert!(checked.stderr.contains(words), "no {words:?} in {}", checked.stderr);
    }
}

/// The sum would not be a valid number in `wasi:keyvalue`, and is not written.
#[test]
fn an_increment_that_cannot_be_told_changes_nothing() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("state-increment default n -5"), "-5");
    assert_eq!(connection.ask_framed("kv-increment default n 3").failure(), ("plugin-failed", "failed"));
    assert_eq!(connection.ask("kv-get default n"), "-5");
    assert_eq!(connection.ask("kv-increment default n 5"), "0");
}

/// Holds however late the entry is read.
#[test]
fn what_is_read_of_an_entry_that_expires_can_be_written_back() {
    let (server, tester) = in_memory("");
    let mut connection = server.connect(&tester);
    let mut were_there = 0;
    for _ in 0..200 {
        connection.ask("state-set default k v 2");
        // Reads the entry until it is gone.
        loop {
            let frame = connection.ask_framed("state-get default k");
            if frame.status == "ERR" {
                assert_eq!(frame.failure().0, "not-found", "{}", frame.message);
                break;
            }
            let left: u64 = frame.text().rsplit(' ').next().unwrap().parse().unwrap();
            assert!((1..=2).contains(&left), "{left} ms left");
            were_there += 1;
        }
    }
    assert!(were_there > 0);
}

/// Writers count up, each its own key, and note the answers; the server is killed in the middle, repeatedly.
#[test]
fn what_was_answered_outlives_kill_9() {
    const ROUNDS: usize = 4;
    const WRITERS: usize = 4;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let mut answered = [0_u64; WRITERS];
    for round in 0..ROUNDS {
        let (mut server, tester) = in_file(&path);
        let mut connection = server.connect(&tester);
        for (writer, answered) in answered.iter().enumerate() {
            let kept = connection.ask(&format!("state-get default w{writer}"));
            let kept: u64 = kept.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            assert!(kept >= *answered, "round {round}: {kept} is kept of {answered} that were answered");
            // At most one write was in progress when the server was killed.
            assert!(kept <= answered + 1, "round {round}: {kept} where {answered} were answered");
        }
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (address, tester, enough) = (server.address(), &tester, &enough);
                    scope.spawn(move || count_up(&mut Connection::admitted(address, tester), writer, enough))
                })
                .collect();
            testkit::eventually("some writes", || enough.load(Ordering::SeqCst).then_some(()));
            server.signal("KILL");
            for (writer, last) in writers.into_iter().zip(answered.iter_mut()) {
                *last = writer.join().unwrap().max(*last);
            }
        });
        server.wait();
    }
    assert!(answered.iter().all(|last| *last > 50), "{answered:?}");
}

/// Counts up until the server is gone; returns the last answer. Sets `enough` once the kill may come.
fn count_up(connection: &mut Connection, writer: usize, enough: &AtomicBool) -> u64 {
    let mut last = 0;
    let request = format!("state-increment default w{writer} 1\r\n\r\n");
    for written in 0.. {
        if connection.try_send(&request).is_err() {
            break;
        }
        let Some(reply) = connection.try_read_reply() else { break };
        last = reply.parse().unwrap_or(last);
        if written == 50 {
            enough.store(true, Ordering::SeqCst);
        }
    }
    last
}

#[test]
fn a_file_that_may_not_grow_makes_writes_unavailable_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let state = format!("engine = \"sqlite\"\npath = {path:?}\nfile_size = \"1MiB\"");
    let (setup, tester) = setup("", "[\"default\"]", &state);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    connection.ask("kv-set default small kept");
    let full = (0..20)
        .map(|number| connection.ask_framed(&format!("kv-set-sized default k{number} 100000")))
        .find(|frame| frame.status == "ERR")
        .expect("the file is full at some time");
    assert!(full.message.contains("state is unavailable; try again later"), "{full:?}");
    assert!(!full.message.contains("state.db"), "a client is told no path: {full:?}");
    server.wait_for_log("the operator's part", |entry| {
        entry.message() == "a host function failed" && entry.text("plugin") == Some("stateful")
    });
    assert_eq!(metrics(&mut connection)["lictor_state_unavailable_total"], 1);
    assert_eq!(connection.ask("kv-get default small"), "kept");
    assert_eq!(connection.ask("kv-delete default k0"), "");
    assert_eq!(connection.ask("kv-delete default k1"), "");
    assert_eq!(connection.ask("kv-set-sized default again 100000"), "", "there is room again");
}

#[test]
fn a_backup_of_a_busy_server_is_a_state_file() {
    let folder = TempDir::new().unwrap();
    let (path, copy) = (folder.path().join("state.db"), folder.path().join("copy.db"));
    let (server, tester) = in_file(&path);
    server.connect(&tester).ask("kv-set default k before");
    let back_up = |more: &[&str]| {
        let mut command = lictor(server.folder());
        finish(command.args(["state", "backup"]).arg(&copy).args(["--config", "server.toml"]).args(more))
    };
    let made = back_up(&[]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let again = back_up(&[]);
    assert_eq!(again.code, Some(1), "{again:?}");
    let words = "copy.db: there is a file already; name another, or replace it by `--replace`";
    assert!(again.stderr.contains("the copy can't be made: ") && again.stderr.contains(words), "{again:?}");
    let mut command = lictor(server.folder());
    let nowhere = finish(command.args(["state", "backup", "none/copy.db"]));
    let words = "lictor: the copy can't be made: none/copy.db: there is no such folder; make it";
    assert!(nowhere.stderr.contains(words), "{nowhere:?}");
    server.connect(&tester).ask("kv-set default k after");
    assert_eq!(back_up(&["--replace"]).code, Some(0));
    server.connect(&tester).ask("kv-set default k later");
    drop(server);
    let (server, tester) = in_file(&copy);
    assert_eq!(server.connect(&tester).ask("kv-get default k"), "after");
}

#[test]
fn state_that_is_not_ours_or_not_there_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "something else, longer than a page of SQLite".repeat(50)).unwrap();
    let (setup, _) = setup("", "[\"default\"]", &format!("engine = \"sqlite\"\npath = {path:?}"));
    let config = setup.write();
    for verb in ["check", "serve"] {
        let said = finish(lictor(setup.folder()).arg(verb).arg("--config").arg(&config));
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains("not a state file") && said.stderr.contains("state.db"), "{said:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let mut command = lictor(setup.folder());
    let said = finish(command.args(["state", "backup", "copy.db", "--config"]).arg(&config));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("there is no state yet"), "{said:?}");
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!path.exists(), "`check` makes no state");
}
