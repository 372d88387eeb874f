//! Bytes in, bytes out. Cases that fit a transcript are in `wire/`.

use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::server::{Server, Setup, shared};

use crate::transcript;

/// Starts a server with both plugins for one client that may do anything, and these sections.
pub fn server_with(sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile("").section(sections).start();
    (server, tester)
}

/// Makes a head of `length` bytes, including its empty line.
fn head_of(length: usize) -> String {
    let fixed = "body-size\r\nX: \r\n\r\n";
    format!("body-size\r\nX: {}\r\n\r\n", "v".repeat(length - fixed.len()))
}

#[test]
fn plain_requests() {
    transcript::check("plain.txt", include_str!("wire/plain.txt"), || shared().connect());
}

#[test]
fn framed_requests() {
    transcript::check("framed.txt", include_str!("wire/framed.txt"), || shared().connect());
}

#[test]
fn quoted_arguments() {
    transcript::check("quoting.txt", include_str!("wire/quoting.txt"), || shared().connect());
}

#[test]
fn bodies() {
    transcript::check("bodies.txt", include_str!("wire/bodies.txt"), || shared().connect());
}

#[test]
fn bytes_that_are_no_request() {
    transcript::check("grammar.txt", include_str!("wire/grammar.txt"), || shared().connect());
}

#[test]
fn a_head_has_at_most_8192_bytes() {
    let mut connection = shared().connect();
    connection.send(head_of(8192));
    assert_eq!(connection.read_reply(), "0");

    connection.send(head_of(8193));
    let reply = connection.read_reply();
    assert!(reply.starts_with("ERR Bad request: ") && reply.contains("8192"), "{reply:?}");
    connection.assert_closed();
}

#[test]
fn a_head_without_an_end_is_refused_at_8192_bytes() {
    let mut connection = shared().connect();
    let _ = connection.try_send("echo ".to_owned() + &"x".repeat(100_000));
    let reply = connection.read_reply();
    assert!(reply.starts_with("ERR Bad request: ") && reply.contains("8192"), "{reply:?}");
    connection.assert_closed();
}

#[test]
fn small_requests_that_together_are_large_are_served() {
    let mut connection = shared().connect();
    connection.send("echo hello\r\n\r\n".repeat(2_000));
    for _ in 0..2_000 {
        assert_eq!(connection.read_reply(), "hello");
    }
}

#[test]
fn plain_replies_come_in_the_order_of_the_requests() {
    let mut connection = shared().connect();
    let requests: String = (0..200)
        .map(|number| match number % 20 {
            0 => format!("sleep 5\r\nX: {number}\r\n\r\n"),
            _ => format!("echo {number}\r\n\r\n"),
        })
        .collect();
    connection.send(requests);
    for number in 0..200 {
        let wanted = if number % 20 == 0 { "slept".to_owned() } else { number.to_string() };
        assert_eq!(connection.read_reply(), wanted);
    }
}

#[test]
fn plain_commands_run_one_after_the_other() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).hostile("instances = \"shared\"").start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 20\r\n\r\nleak\r\n\r\nsleep 20\r\n\r\nleak\r\n\r\n");
    let replies: Vec<_> = (0..4).map(|_| connection.read_reply()).collect();
    // One instance: two calls at once would have made two.
    assert_eq!(replies, ["slept", "1", "slept", "2"]);
}

#[test]
fn a_framed_reply_may_overtake_another() {
    let mut connection = shared().connect();
    connection.send("sleep 2000\r\nSequence: slow\r\n\r\n");
    connection.send("echo hello\r\nSequence: quick\r\n\r\n");
    let first = connection.read_frame();
    assert_eq!((first.field("Sequence"), first.text()), (Some("quick"), "hello"));
    let second = connection.read_frame();
    assert_eq!((second.field("Sequence"), second.text()), (Some("slow"), "slept"));
}

#[test]
fn a_plain_request_does_not_wait_for_framed_ones() {
    let mut connection = shared().connect();
    connection.send("sleep 2000\r\nSequence: slow\r\n\r\necho hello\r\n\r\n");
    assert_eq!(connection.read_reply(), "hello");
    assert_eq!(connection.read_frame().text(), "slept");
}

#[test]
fn a_framed_request_does_not_wait_for_plain_ones() {
    let mut connection = shared().connect();
    connection.send("sleep 2000\r\n\r\necho hello\r\nSequence: quick\r\n\r\n");
    assert_eq!(connection.read_frame().text(), "hello");
    assert_eq!(connection.read_reply(), "slept");
}

#[test]
fn framed_requests_run_side_by_side() {
    let mut connection = shared().connect();
    let begun = Instant::now();
    for number in 0..20 {
        connection.send(format!("sleep 1000\r\nSequence: {number}\r\n\r\n"));
    }
    for _ in 0..20 {
        assert_eq!(connection.read_frame().text(), "slept");
    }
    // One after the other they would take 20 seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn more_framed_requests_than_may_be_in_flight_are_answered_all() {
    let (server, tester) = server_with("[limits]\nin_flight = 4");
    let mut connection = server.connect(&tester);
    let requests: String = (0..100).map(|number| format!("sleep 5\r\nSequence: {number}\r\n\r\n")).collect();
    connection.send(requests);
    let mut answered: Vec<usize> =
        (0..100).map(|_| connection.read_frame().field("Sequence").unwrap().parse().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_sequence_in_flight_cannot_be_used_again() {
    let mut connection = shared().connect();
    connection.send("sleep 300\r\nSequence: same\r\n\r\n");
    connection.send("echo hello\r\nSequence: same\r\n\r\n");
    assert_eq!(connection.read_frame().text(), "slept", "what came before is answered first");
    let reply = connection.read_reply();
    assert!(reply.starts_with("ERR Bad request: ") && reply.contains("same"), "{reply:?}");
    connection.assert_closed();
}

#[test]
fn what_came_before_a_fault_is_answered_before_it() {
    let mut connection = shared().connect();
    connection.send("sleep 200\r\nSequence: framed\r\n\r\nsleep 300\r\n\r\necho last\r\n\r\n\nno request");
    assert_eq!(connection.read_frame().text(), "slept");
    assert_eq!(connection.read_reply(), "slept");
    assert_eq!(connection.read_reply(), "last");
    assert!(connection.read_reply().starts_with("ERR Bad request: "));
    connection.assert_closed();
}

#[test]
fn an_error_leaves_the_connection_open() {
    let mut connection = shared().connect();
    assert_eq!(connection.ask("nosuch"), "ERR Unknown command nosuch");
    assert_eq!(connection.ask("fail denied no"), "ERR no");
    assert!(connection.ask("trap").starts_with("ERR "));
    assert_eq!(connection.ask("echo hello"), "hello");
}

#[test]
fn an_error_closes_the_connection_where_that_is_configured() {
    let (server, tester) = server_with("[protocol]\nclose_on_error = true");
    for (request, reply) in [
        ("nosuch\r\n\r\n", "ERR Unknown command nosuch"),
        ("fail denied no\r\n\r\n", "ERR no"),
        ("blank-line\r\n\r\n", "ERR Reply needs a Sequence header"),
        ("echo hello\r\n\r\nnosuch\r\n\r\necho never\r\n\r\n", "hello"),
    ] {
        let mut connection = server.connect(&tester);
        connection.send(request);
        assert_eq!(connection.read_reply(), reply);
        if reply == "hello" {
            assert_eq!(connection.read_reply(), "ERR Unknown command nosuch");
        }
        connection.assert_closed();
    }
}

#[test]
fn a_client_may_run_what_it_is_granted_and_no_more() {
    let (some, none) = (Identity::new("some"), Identity::new("none"));
    let server = Setup::new()
        .client("some", &some, &["echo", "body*", "@ping", "@commands"])
        .client("none", &none, &["@commands"])
        .echo()
        .hostile("")
        .start();
    let mut connection = server.connect(&some);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask("body-size"), "0");
    assert_eq!(connection.ask("@ping"), "pong");
    for forbidden in ["leak", "spin", "@whoami", "@cancel 1"] {
        let frame = connection.ask_framed(forbidden);
        assert_eq!(frame.failure(), ("forbidden", "not-run"), "{forbidden}");
        assert!(connection.ask(forbidden).starts_with("ERR "), "{forbidden}");
    }
    assert_eq!(connection.ask_framed("nosuch").failure(), ("unknown-command", "not-run"));
    assert_eq!(names_in(&connection.ask("@commands")), ["body", "body-size", "echo", "@ping", "@commands"]);

    let mut connection = server.connect(&none);
    assert_eq!(connection.ask_framed("echo hello").failure(), ("forbidden", "not-run"));
    assert_eq!(names_in(&connection.ask("@commands")), ["@commands"]);
}

/// Returns the commands that `@commands` lists: the first word of each line.
fn names_in(list: &str) -> Vec<&str> {
    list.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect()
}

#[test]
fn every_plugins_command_is_no_built_in_and_the_other_way_round() {
    let (plugins, built_ins) = (Identity::new("plugins"), Identity::new("built-ins"));
    let setup = Setup::new().client("plugins", &plugins, &["*"]).client("built-ins", &built_ins, &["@*"]);
    let server = setup.echo().start();
    let mut connection = server.connect(&plugins);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask_framed("@ping").failure(), ("forbidden", "not-run"));
    let mut connection = server.connect(&built_ins);
    assert_eq!(connection.ask("@ping"), "pong");
    assert_eq!(connection.ask_framed("echo hello").failure(), ("forbidden", "not-run"));
}

#[test]
fn built_ins_answer() {
    let mut connection = shared().connect();
    assert_eq!(connection.ask("@ping"), "pong");
    let whoami = connection.ask("@whoami");
    assert!(whoami.starts_with("tester"), "{whoami:?}");
    assert!(whoami.contains(&shared().tester.sha256()), "{whoami:?}");
    let commands = connection.ask("@commands");
    assert!(commands.lines().any(|line| line.starts_with("echo [TEXT]... ")), "{commands}");
    let listed = names_in(&commands);
    for name in ["echo", "spin", "random", "@ping", "@whoami", "@commands", "@cancel"] {
        assert!(listed.contains(&name), "{name} in {listed:?}");
    }
}

#[test]
fn what_a_plugin_says_of_its_commands_cannot_forge_a_reply() {
    use testkit::components::Minimal;
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let liar = Minimal::new(&[])
        .described("liar", "one\r\n\r\nOK\r\nSequence: 1", "liar \r\n\r\n\x1b[2J\u{202e}")
        .described("@ping", "a built-in, says the plugin", "@ping")
        .described(&"long".repeat(1_000), &"long".repeat(3_000), "x")
        .write(setup.folder(), "liar");
    let server = setup.plugin("liar", &liar, &["liar"], "").start();
    let mut connection = server.connect(&tester);
    let commands = connection.ask("@commands");
    assert!(commands.contains("liar"), "{commands:?}");
    assert!(commands.len() < 4_000, "{} bytes", commands.len());
    assert!(!commands.contains(|c: char| c.is_control() && c != '\n' && c != '\r'), "{commands:?}");
    assert!(!commands.contains("says the plugin"), "{commands:?}");
    assert_eq!(connection.ask("liar"), "ok");
    assert_eq!(connection.ask("@ping"), "pong");
}

#[test]
fn a_request_can_be_cancelled() {
    let mut connection = shared().connect();
    connection.send("sleep 4000\r\nSequence: long\r\n\r\n@cancel long\r\nSequence: c\r\n\r\n");
    let begun = Instant::now();
    let frames = [connection.read_frame(), connection.read_frame()];
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let of = |sequence| frames.iter().find(|frame| frame.field("Sequence") == Some(sequence)).unwrap();
    assert_eq!(of("c").status, "OK");
    assert_eq!(of("long").failure().0, "cancelled");
    assert_eq!(connection.ask("echo hello"), "hello");
}

#[test]
fn what_is_not_in_flight_cannot_be_cancelled() {
    let mut connection = shared().connect();
    assert_eq!(connection.ask_framed("@cancel nosuch").failure(), ("not-found", "failed"));
    assert_eq!(connection.ask_framed("@cancel").failure(), ("bad-arguments", "failed"));

    let mut other = shared().connect();
    connection.send("sleep 500\r\nSequence: mine\r\n\r\n");
    assert_eq!(other.ask_framed("@cancel mine").failure(), ("not-found", "failed"), "another connection's");
    assert_eq!(connection.read_frame().text(), "slept");
}

#[test]
fn the_clients_deadline_holds_where_it_is_the_shorter_one() {
    let mut connection = shared().connect();
    let begun = Instant::now();
    for command in ["sleep 4000", "spin"] {
        connection.send(format!("{command}\r\nTimeout-Ms: 100\r\nSequence: 1\r\n\r\n"));
        assert_eq!(connection.read_frame().failure(), ("timeout", "unknown"), "{command}");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    connection.send("time-left\r\nTimeout-Ms: 1000\r\n\r\n");
    assert!((1..=1000).contains(&connection.read_reply().parse::<u64>().unwrap()));
    connection.send("time-left\r\nTimeout-Ms: 3600000\r\n\r\n");
    assert!(
        (1..=5000).contains(&connection.read_reply().parse::<u64>().unwrap()),
        "the plugin's is the shorter one"
    );
    connection.send("echo hello\r\nTimeout-Ms: 0\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.read_frame().failure(), ("timeout", "not-run"));
}

#[test]
fn an_admitted_client_is_called_by_its_configured_name() {
    let tester = Identity::new("what the certificate says");
    let server = Setup::new().master("what-the-config-says", &tester).hostile("").start();
    let mut connection: Connection = server.connect(&tester);
    assert_eq!(connection.ask("whoami"), format!("what-the-config-says {}", tester.sha256()));
    assert!(connection.ask("@whoami").starts_with("what-the-config-says"));
}

#[test]
fn a_plain_request_waits_on_its_clients_time_not_on_its_plugins() {
    let (server, tester) = server_with("");
    let mut connection = server.connect(&tester);
    connection
        .send("sleep 300\r\n\r\necho in time\r\n\r\nsleep 300\r\n\r\necho late\r\nTimeout-Ms: 200\r\n\r\n");
    assert_eq!(connection.read_reply(), "slept");
    assert_eq!(connection.read_reply(), "in time");
    assert_eq!(connection.read_reply(), "slept");
    assert_eq!(connection.read_reply(), "ERR The deadline passed before the command began");
}
