//! Limits of one client's own: below those on every client, and changed by a reload on live connections.

use testkit::certs::Identity;
use testkit::client::{Connection, Frame, Tls};
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::metrics::metrics;
use crate::reload::is_cut_off;

/// A server with the client `own` that has `limits`, the client `other`, and an operator.
struct Three {
    server: Server,
    own: Identity,
    other: Identity,
    operator: Connection,
}

fn with_limits(limits: &str) -> Three {
    let [own, other, operator] = ["own", "other", "operator"].map(Identity::new);
    let setup = Setup::new().client("own", &own, &["*", "@ping"]).client("other", &other, &["*", "@ping"]);
    let setup = setup.master("operator", &operator).echo().hostile("timeout = \"10m\"");
    let setup = setup.section(&format!("[clients.own.limits]\n{limits}"));
    let server = setup.section("[limits]\nqueue_timeout = \"200ms\"").start();
    let operator = server.connect(&operator);
    Three { server, own, other, operator }
}

impl Three {
    /// Replaces `from` by `to` in the config, and reloads.
    fn change(&mut self, from: &str, to: &str) {
        self.server.edit(|text| {
            assert!(text.contains(from), "{text}");
            text.replace(from, to)
        });
        assert_eq!(self.operator.ask("@reload"), "live     changed  clients.own.limits");
    }
}

/// Counts the failures of `frames` with this code.
fn failed(frames: &[Frame], code: &str) -> usize {
    frames.iter().filter(|frame| frame.status == "ERR" && frame.failure() == (code, "not-run")).count()
}

#[test]
fn a_clients_own_rate_bounds_all_its_connections_and_no_other_client() {
    let mut three = with_limits("requests_per_second = 10");
    let mut connections = [(); 2].map(|()| three.server.connect(&three.own));
    let burst = [("@ping", ""); 100];
    let refused = failed(&connections[0].ask_all(&burst), "rate-limited");
    assert!((70..=90).contains(&refused), "{refused} of 100 with 10 at once and 10 a second");
    assert!(failed(&connections[1].ask_all(&burst), "rate-limited") > 70);
    assert_eq!(failed(&three.server.connect(&three.other).ask_all(&burst), "rate-limited"), 0);
    three.change("requests_per_second = 10", "requests_per_second = 50");
    let refused = failed(&connections[0].ask_all(&burst), "rate-limited");
    assert!((20..=50).contains(&refused), "{refused} of 100 with 50 at once and 50 a second");
    three.change("requests_per_second = 50", "");
    assert_eq!(failed(&connections[1].ask_all(&burst), "rate-limited"), 0);
}

#[test]
fn a_client_has_no_more_calls_running_than_its_own_limit() {
    let mut three = with_limits("concurrent_commands = 1");
    let mut connection = three.server.connect(&three.own);
    connection.send("spin\r\nSequence: s\r\n\r\n");
    assert_eq!(connection.ask_framed("echo a").failure(), ("busy", "not-run"));
    let mut other = three.server.connect(&three.other);
    other.send("spin\r\nSequence: s\r\n\r\n");
    assert_eq!(other.ask_framed("echo a").text(), "a");
    three.change("concurrent_commands = 1", "concurrent_commands = 2");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    three.change("concurrent_commands = 2", "concurrent_commands = 1");
    assert_eq!(connection.ask_framed("echo a").failure(), ("busy", "not-run"));
}

/// Returns what the server says first on a new connection.
fn greeting(server: &Server, identity: &Identity) -> String {
    let mut connection = Connection::open(server.address(), Tls::showing(identity)).expect("a handshake");
    connection.read_reply()
}

const TOO_MANY: &str = "Too many connections: this client may have 2 at once";

#[test]
fn a_client_has_no_more_connections_than_its_own_limit() {
    let mut three = with_limits("connections = 2");
    let mut connections = [(); 2].map(|()| three.server.connect(&three.own));
    let mut further = Connection::open(three.server.address(), Tls::showing(&three.own)).unwrap();
    assert_eq!(further.read_reply(), format!("ERR {TOO_MANY}"), "instead of a greeting");
    further.assert_closed();
    let told = three.server.wait_for_log("the refusal", |entry| {
        entry.message() == "refused" && entry.text("client") == Some("own")
    });
    assert_eq!(told.text("reason"), Some(TOO_MANY));
    assert_eq!(metrics(&mut three.operator)["lictor_client_connections_refused_total"], 1);
    connections.iter_mut().for_each(|connection| assert_eq!(connection.ask("echo on"), "on"));
    let _others = [(); 3].map(|()| three.server.connect(&three.other));
    let [first, second] = connections;
    drop(first);
    let mut third = eventually("the place of the first", || {
        let mut connection = Connection::open(three.server.address(), Tls::showing(&three.own)).ok()?;
        connection.is_greeted().then_some(connection)
    });
    // A lower limit cuts off the newest of those that are there.
    third.send("spin\r\nSequence: s\r\n\r\n");
    three.change("connections = 2", "connections = 1");
    is_cut_off(&mut third, "Too many connections: this client may have 1 at once");
    let mut second = second;
    assert_eq!(second.ask("echo on"), "on");
    three.server.wait_for_log("the end", |entry| {
        entry.message() == "ended" && entry.text("reason") == Some("too many connections of the client")
    });
    assert!(metrics(&mut three.operator)["lictor_client_connections_refused_total"] >= 2);
    assert!(greeting(&three.server, &three.own).starts_with("ERR Too many"));
    three.change("connections = 1", "connections = 2");
    assert_eq!(greeting(&three.server, &three.own), "OK");
}

#[test]
fn a_connection_that_is_cut_off_makes_room_at_once() {
    let mut three = with_limits("connections = 1");
    let mut first = three.server.connect(&three.own);
    let mut ended = Vec::new();
    for id in 2..5 {
        assert_eq!(three.operator.ask(&format!("@kick c{id}")), format!("ending c{id} of own"));
        // It is told so, and does not close its end.
        assert!(first.read_reply().starts_with("ERR "));
        ended.push(std::mem::replace(&mut first, three.server.connect(&three.own)));
    }
    assert_eq!(first.ask("echo on"), "on");
    assert!(greeting(&three.server, &three.own).starts_with("ERR Too many"), "the limit holds");
}

/// Asks for `echo a` with each of these keys.
fn with_keys(connection: &mut Connection, keys: std::ops::Range<usize>) -> Vec<Frame> {
    keys.map(|key| {
        let header = format!("Idempotency-Key: {key}\r\n");
        connection.ask_all(&[("echo a", &header)]).remove(0)
    })
    .collect()
}

#[test]
fn a_client_fills_no_more_than_its_own_quota_of_keys() {
    let mut three = with_limits("idempotency_keys = 2");
    let mut connection = three.server.connect(&three.own);
    assert_eq!(failed(&with_keys(&mut connection, 0..5), "rate-limited"), 3);
    assert_eq!(failed(&with_keys(&mut three.server.connect(&three.other), 0..5), "rate-limited"), 0);
    three.change("idempotency_keys = 2", "idempotency_keys = 4");
    assert_eq!(failed(&with_keys(&mut connection, 2..7), "rate-limited"), 3);
    three.change("idempotency_keys = 4", "idempotency_bytes = \"1KiB\"");
    let refused = failed(&with_keys(&mut connection, 4..99), "rate-limited");
    assert!((50..95).contains(&refused), "{refused}");
}

#[test]
fn limits_are_lowered_even_if_the_reload_then_fails() {
    let limits = "connections = 2\nrequests_per_second = 100\nidempotency_keys = 5";
    let mut three = with_limits(limits);
    let [mut kept, mut cut] = [(); 2].map(|()| three.server.connect(&three.own));
    std::fs::write(three.server.folder().join("broken.wasm"), "no component").unwrap();
    let lower = "connections = 1\nrequests_per_second = 10\nidempotency_keys = 1";
    three
        .server
        .edit(|text| text.replace(limits, lower) + "\n[plugins.broken]\ncomponent = \"broken.wasm\"\n");
    let failure = three.operator.ask_framed("@reload");
    assert_eq!(failure.failure().0, "conflict");
    assert!(failure.message.contains("clients.own.limits changed"), "{}", failure.message);
    is_cut_off(&mut cut, "this client may have 1 at once");
    assert_eq!(failed(&with_keys(&mut kept, 0..2), "rate-limited"), 1);
    let refused = failed(&kept.ask_all(&[("@ping", ""); 100]), "rate-limited");
    assert!(refused >= 70, "{refused}");
    // What a failed reload would raise stays as it was.
    three.server.edit(|text| text.replace(lower, "connections = 9"));
    assert_eq!(three.operator.ask_framed("@reload").failure().0, "conflict");
    assert!(greeting(&three.server, &three.own).starts_with("ERR Too many"));
}
