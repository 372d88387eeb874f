//! Information for operators in the log.

use std::fs;

use testkit::certs::Identity;
use testkit::client::{Connection, Ending, Tls};
use testkit::eventually;
use testkit::server::{Entry, Setup};
use testkit::tools::lictor;

use crate::protocol::server_with;

fn command<'a>(log: &'a [Entry], name: &str) -> &'a Entry {
    let found = log.iter().find(|entry| entry.message() == "command" && entry.text("command") == Some(name));
    found.unwrap_or_else(|| panic!("no event of {name}: {log:?}"))
}

#[test]
fn warnings_of_the_config_are_events_of_the_start() {
    let (tester, idle) = (Identity::new("tester"), Identity::new("idle"));
    let server = Setup::new().master("tester", &tester).client("idle", &idle, &[]).echo().start();
    let warning = server.wait_for_log("the warning", |entry| entry.message() == "a config warning");
    let words = warning.text("warning").unwrap();
    assert!(
        words.contains("server.toml:") && words.contains(": the client `idle` may run nothing; write "),
        "{words}"
    );
    let printed = server.printed();
    assert_eq!(printed.lines().count(), server.log().len(), "a line is no event: {printed}");
}

#[test]
fn a_connection_and_each_of_its_commands_have_an_event() {
    let (server, tester) = server_with("");
    let mut connection = server.connect(&tester);
    connection.ask("echo hello");
    connection.ask_framed("fail not-found gone");
    connection.ask("nosuch");
    drop(connection);
    let ended = server.wait_for_log("the connection's end", |entry| entry.message() == "ended");
    let log = server.log();
    let admitted = log.iter().find(|entry| entry.message() == "admitted").unwrap();
    let id = admitted.text("connection").unwrap();
    assert_eq!(admitted.text("client"), Some("tester"));
    assert_eq!(admitted.text("thumbprint"), Some(tester.sha256().as_str()));
    assert!(admitted.text("peer").unwrap().starts_with("127.0.0.1:"));
    assert_eq!((ended.text("connection"), ended.value("requests").unwrap().as_u64()), (Some(id), Some(3)));

    let echo = command(&log, "echo");
    assert_eq!((echo.text("client"), echo.text("connection")), (Some("tester"), Some(id)));
    assert_eq!(echo.text("request"), Some(format!("{id}-1").as_str()));
    assert_eq!((echo.text("outcome"), echo.value("bytes").unwrap().as_u64()), (Some("ok"), Some(5)));
    assert!(echo.value("micros").unwrap().as_u64().is_some());
    let failed = command(&log, "fail");
    assert_eq!((failed.text("outcome"), failed.text("code")), (Some("failed"), Some("not-found")));
    let unknown = command(&log, "nosuch");
    assert_eq!((unknown.text("outcome"), unknown.text("code")), (Some("not-run"), Some("unknown-command")));
}

#[test]
fn a_refusal_has_an_event_with_its_reason() {
    let (server, _) = server_with("");
    let stranger = Identity::new("a stranger");
    let mut connection = Connection::open(server.address(), Tls::showing(&stranger)).unwrap();
    connection.read_reply();
    let refused = server.wait_for_log("the refusal", |entry| entry.message() == "refused");
    assert!(refused.text("reason").unwrap().contains(&stranger.sha1()), "{refused:?}");
    assert_eq!(refused.text("thumbprint"), Some(stranger.sha256().as_str()), "{refused:?}");
}

/// An attack on TLS must not look like a client's broken network.
#[test]
fn a_fault_of_tls_is_told_from_a_client_that_went_away() {
    let (server, tester) = server_with("");
    let mut forger = server.connect(&tester);
    // A record of 32 unencrypted bytes.
    forger.send_raw(&[&[0x17, 3, 3, 0, 32][..], &[0; 32]].concat());
    assert_eq!(forger.read_to_end().1, Ending::Alert);
    let fault = server.wait_for_log("the fault", |entry| entry.message() == "TLS fault");
    assert_eq!((fault.text("connection"), fault.text("client")), (Some("c1"), Some("tester")));
    assert!(fault.text("error").is_some_and(|error| error.contains("decrypt")), "{fault:?}");
    let ended = |connection: &'static str| {
        let is_end =
            move |entry: &Entry| entry.message() == "ended" && entry.text("connection") == Some(connection);
        server.wait_for_log("the end", is_end).text("reason").unwrap().to_owned()
    };
    assert_eq!(ended("c1"), "a fault of TLS");
    drop(server.connect(&tester));
    assert_eq!(ended("c2"), "the client went away");
    let mut orderly = server.connect(&tester);
    orderly.end_sending();
    orderly.assert_closed();
    assert_eq!(ended("c3"), "closed by the client");
    assert_eq!(server.log().iter().filter(|entry| entry.message() == "TLS fault").count(), 1);
}

#[test]
fn arguments_are_logged_only_where_that_is_asked_for() {
    for (sections, logged) in [("", false), ("[log]\narguments = true", true)] {
        let (server, tester) = server_with(sections);
        let mut connection = server.connect(&tester);
        connection.ask("echo \"my\\nsecret\" word");
        connection.ask("nosuch secret");
        connection.send("echo\r\nX-Token: secret\r\nSize: 6\r\n\r\nsecret");
        connection.read_reply();
        drop(connection);
        server.wait_for_log("the connection's end", |entry| entry.message() == "ended");
        let printed = server.printed();
        assert_eq!(printed.contains("secret"), logged, "{printed}");
        if logged {
            assert_eq!(command(&server.log(), "echo").text("arguments"), Some("my\\nsecret word"));
        }
    }
}

#[test]
fn beyond_its_budget_the_log_counts_good_commands_and_still_tells_the_bad_ones() {
    let (server, tester) = server_with("[log]\ncommands_per_second = 0");
    let mut connection = server.connect(&tester);
    for _ in 0..50 {
        connection.ask("echo hello");
    }
    connection.ask("nosuch");
    let counted =
        server.wait_for_log("the count", |entry| entry.message() == "commands not logged one by one");
    assert_eq!((counted.text("client"), counted.text("command")), (Some("tester"), Some("echo")));
    assert_eq!((counted.text("outcome"), counted.text("code")), (Some("ok"), None));
    assert!(counted.value("count").unwrap().as_u64().is_some_and(|count| (1..=50).contains(&count)));
    // The count of a part may come first.
    server.wait_for_log("the bad one", |entry| {
        entry.message() == "command" && entry.text("command") == Some("nosuch")
    });
    let log = server.log();
    assert!(log.iter().all(|entry| entry.message() != "command" || entry.text("command") != Some("echo")));
}

#[test]
fn a_level_leaves_out_what_is_below_it() {
    let tester = Identity::new("tester");
    // The address cannot be read from such a log, so the server listens on a known one.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n\
         [log]\nlevel = \"error\"\n[clients.tester]\nthumbprints = [\"{}\"]\ncommands = [\"@ping\"]\n",
        tester.sha256()
    );
    let folder = tempfile::tempdir().unwrap();
    Identity::of_server().write(folder.path(), "server");
    fs::write(folder.path().join("server.toml"), config).unwrap();
    let mut command = lictor(folder.path());
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut child = command.arg("serve").stderr(log).spawn().unwrap();
    let address = ([127, 0, 0, 1], port).into();
    eventually("the server to listen", || std::net::TcpStream::connect(address).ok());
    assert_eq!(Connection::admitted(address, &tester).ask("@ping"), "pong");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "");
}

#[test]
fn every_line_of_the_log_is_an_event() {
    let (mut server, tester) = server_with("");
    server.connect(&tester).ask("flood");
    // A log read while the server writes may end in the middle of a line, or have more lines a moment later.
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let printed = server.printed();
    assert!(!printed.is_empty());
    assert_eq!(printed.lines().count(), server.log().len(), "{printed}");
}
