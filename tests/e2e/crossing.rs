//! Data that plugins pass to the host: `reply` bounds only replies; all else has its own bounds and words.

use testkit::certs::Identity;
use testkit::components::{self, HOSTILE_COMMANDS, PRINTING_COMMANDS, STATEFUL_COMMANDS};
use testkit::server::{Server, Setup};

use crate::metrics::metrics;

/// A tight bound on replies, to show that it affects nothing else.
const TERSE: &str = "reply = \"1KiB\"";

/// A server with plugins that keep state, run commands, publish and print, all with `keys`.
fn server_with(keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new()
        .master("tester", &tester)
        .plugin("stateful", components::stateful(), &STATEFUL_COMMANDS, keys)
        .section("[plugins.stateful.grants]\nkeyvalue = [\"default\"]")
        .plugin("reaching", components::reaching(), &["run"], keys)
        .section("[plugins.reaching.grants]\ncommands = [\"*\"]\nfiles = []")
        .plugin("announcing", components::announcing(), &["announce"], keys)
        .section("[plugins.announcing.grants]\nevents = [\"*\"]")
        .plugin("printing", components::printing(), &PRINTING_COMMANDS, keys)
        .plugin("hostile", components::hostile(), &HOSTILE_COMMANDS, keys)
        .section("[state]\nengine = \"memory\"");
    (setup.start(), tester)
}

#[test]
fn what_goes_to_the_host_is_not_bounded_as_replies_are() {
    for keys in [TERSE, "reply = \"1KiB\"\ninstances = \"shared\""] {
        let (server, tester) = server_with(keys);
        let mut connection = server.connect(&tester);
        assert_eq!(connection.ask("kv-set-sized default k 100000"), "");
        assert_eq!(connection.ask("kv-set-sized default k 1048576"), "");
        // A batch of 2 MB, and the largest that a store accepts.
        assert_eq!(connection.ask("kv-set-many-sized default 20 100000"), "");
        assert_eq!(connection.ask("kv-set-many-sized default 15 1048576"), "");
        assert_eq!(connection.ask("logged L 100000"), "printed");
        let large = |head: &str| format!("{head}\r\nSize: 60000\r\n\r\n{}", "b".repeat(60_000));
        connection.send(large("announce jobs"));
        assert_eq!(connection.read_reply(), "0");
        connection.send(large("run body-size"));
        assert_eq!(connection.read_reply(), "60000");
    }
}

#[test]
fn each_bound_has_words_of_its_own() {
    let (server, tester) = server_with(TERSE);
    let mut connection = server.connect(&tester);
    for (command, code, words) in [
        ("big 1025", "plugin-limit", "returned more than its 1024 bytes"),
        ("big 2000000", "plugin-limit", "returned more than its 1024 bytes"),
        ("kv-set-sized default k 1048577", "plugin-failed", "1048576"),
        (
            "kv-set-many-sized default 17 1048576",
            "plugin-limit",
            "handed the host more than 16842752 bytes at once",
        ),
        ("kv-set-many-sized default 1001 1", "plugin-failed", "1000"),
    ] {
        let frame = connection.ask_framed(command);
        assert_eq!(frame.failure().0, code, "{command}: {}", frame.message);
        assert!(frame.message.contains(words), "{command}: {}", frame.message);
    }
    let counted = metrics(&mut connection);
    assert_eq!(counted["lictor_host_pieces_too_large_total"], 1);
    assert_eq!(counted["lictor_replies_too_large_total"], 2);
    let broke = server.wait_for_log("the advice", |entry| entry.message() == "plugin broke off");
    assert!(
        broke.text("advice").is_some_and(|advice| advice.contains("hand over less at once")),
        "{broke:?}"
    );
}

/// A long failure and a long description are bounded too, and so are the replies that a warm instance holds.
#[test]
fn a_reply_that_is_too_large_keeps_its_instance_and_the_calls_behind_it() {
    let (server, tester) = server_with("reply = \"1KiB\"\ninstances = \"shared\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("leak"), "1");
    connection.send("big 3000000\r\n\r\nbig 1024\r\n\r\nfail-big\r\n\r\nleak\r\n\r\n");
    assert!(connection.read_reply().starts_with("ERR Plugin hostile returned more than its 1024 bytes"));
    assert_eq!(connection.read_reply().len(), 1024);
    assert!(connection.read_reply().starts_with("ERR mmmm"));
    assert_eq!(connection.read_reply(), "2", "a reply that is too large is no harm to an instance");
}
