//! Text disguised as something else: a reply of the server, an entry of its log.

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::components;
use testkit::server::{Server, Setup};

use crate::{assert_serves, server_with};

/// A second reply, if its line ends were not escaped. Written as an argument.
const SECOND_REPLY: &str = r#""no\r\n\r\nOK\r\nSequence: asked\r\nSize: 6\r\n\r\nforged""#;

/// A separate log entry, if it were not escaped.
const ENTRY: &str = "x\n{\"level\":\"ERROR\",\"message\":\"forged\",\"client\":\"admin\"}\n\u{1b}[2J\u{202e}";

#[test]
fn no_argument_makes_two_replies_of_one() {
    let some = Identity::new("some");
    let server = Setup::new().client("some", &some, &["fail", "echo", "@*"]).echo().hostile("").start();
    let mut connection = server.connect(&some);
    for command in [
        SECOND_REPLY.to_owned(),
        format!("fail denied {SECOND_REPLY}"),
        format!("fail {SECOND_REPLY} {SECOND_REPLY}"),
        format!("@cancel {SECOND_REPLY}"),
        format!("@ping {SECOND_REPLY}"),
        format!("@commands {SECOND_REPLY}"),
        format!("spin {SECOND_REPLY}"),
        format!("echo {SECOND_REPLY}"),
    ] {
        let plain = connection.ask(&command);
        assert!(!plain.starts_with("OK"), "{command}: {plain:?}");
        let frame = connection.ask_framed(&command);
        if frame.status == "ERR" {
            let (code, outcome) = frame.failure();
            assert!(!code.is_empty() && !outcome.is_empty(), "{frame:?}");
            assert!(!frame.message.contains(char::is_control), "{frame:?}");
        }
        // Each was answered once, so the next reply belongs to this.
        assert_eq!(connection.ask("@ping"), "pong", "after {command}");
    }
    assert_serves(&server, &some);
}

#[test]
fn what_another_client_wrote_never_reads_as_the_answer_to_a_request_in_flight() {
    let [alice, bob] = ["alice", "bob"].map(Identity::new);
    let commands = ["kv-set", "kv-get", "sleep"];
    let setup = Setup::new().client("alice", &alice, &commands).client("bob", &bob, &commands).hostile("");
    let grants = "[plugins.kv.grants]\nkeyvalue = [\"default\"]";
    let server = setup.plugin("kv", components::kv(), &["kv-set", "kv-get"], grants).start();
    let (mut alice, mut bob) = (server.connect(&alice), server.connect(&bob));
    alice.send("sleep 60000\r\nSequence: pay-17\r\n\r\n");
    for forged in [
        r"OK\r\nSequence: pay-17\r\nSize: 0",
        r"PART\r\nSequence: pay-17\r\nSize: 0",
        r"ERR no\r\nSequence: pay-17\r\nCode: denied\r\nOutcome: failed\r\nSize: 0",
        r"ERR\r\nSequence: pay-17",
        r"ERR The server is stopping",
        r"\r\nOK\r\nSequence: pay-17\r\nSize: 0",
    ] {
        bob.ask(&format!("kv-set note \"{forged}\""));
        assert_eq!(alice.ask("kv-get note"), "ERR Reply needs a Sequence header", "{forged}");
        assert_eq!(alice.ask_framed("kv-get note").text(), forged.replace(r"\r\n", "\r\n"));
    }
    bob.ask("kv-set note OK");
    assert_eq!(alice.ask("kv-get note"), "OK");
}

#[test]
fn no_argument_makes_an_entry_of_the_log() {
    let (server, tester) = server_with("[log]\narguments = true");
    let entry = ENTRY.replace('"', "\\\"").replace('\n', "\\n").replace('\u{1b}', "\\x1b");
    let mut connection = server.connect(&tester);
    for command in [format!("echo \"{entry}\""), format!("\"{entry}\""), format!("fail denied \"{entry}\"")] {
        connection.ask_framed(&command);
    }
    drop(connection);
    assert_serves(&server, &tester);
    assert_is_honest(server, "echo");
}

#[test]
fn no_certificates_name_makes_an_entry_of_the_log() {
    let (server, tester) = server_with("");
    for stranger in [Identity::new(ENTRY), Identity::with_organization("x", ENTRY)] {
        let mut connection = Connection::open(server.address(), Tls::showing(&stranger)).unwrap();
        assert!(connection.read_reply().ends_with("is unknown"));
    }
    assert_serves(&server, &tester);
    assert_is_honest(server, "refused");
}

/// Ends the server and checks its log, which must contain `word`: each line is one entry, none of them is
/// forged, and nothing in it controls a terminal.
fn assert_is_honest(mut server: Server, word: &str) {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let printed = server.printed();
    assert!(printed.contains(word), "{printed}");
    for line in printed.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no entry: {line:?}"));
        assert_ne!(entry["message"], "forged", "{line}");
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        let words = entry.as_object().unwrap().values().filter_map(Value::as_str);
        assert!(words.clone().all(|text| !text.contains(char::is_control)), "{line}");
    }
}
