//! The listener by clients' certificates: who is admitted, what each sees, and what a reload takes away.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::certs::{Authority, Identity};
use testkit::client::{Connection, Ending, Tls};
use testkit::eventually;
use testkit::server::{Server, Setup};

use super::{Response, addresses};
use crate::expires::from_now;

const LISTEN: &str = "[admin]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]";

/// Starts a server on which `reader` may see metrics, and `probe` may not.
fn start(lines: &str) -> (Server, Identity, Identity, Identity, SocketAddr) {
    let (operator, reader, probe) =
        (Identity::new("operator"), Identity::new("reader"), Identity::new("probe"));
    let setup = Setup::new().echo().master("operator", &operator);
    let setup =
        setup.client("reader", &reader, &["@metrics"]).section(lines).client("probe", &probe, &["@ping"]);
    let server = setup.section(LISTEN).start();
    let address = addresses(&server, "metrics and health to clients")[0];
    (server, operator, reader, probe, address)
}

fn ask(connection: &mut Connection, path: &str) -> Response {
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: any\r\n\r\n"));
    let mut bytes = Vec::new();
    loop {
        if let Some((response, rest)) = Response::parse(&bytes, "GET") {
            assert!(rest.is_empty());
            return response;
        }
        bytes.extend(connection.read_bytes(1));
    }
}

fn open(address: SocketAddr, identity: &Identity) -> Connection {
    Connection::open(address, Tls::showing(identity)).unwrap()
}

/// Returns the words to a peer that is not admitted.
fn refusal(address: SocketAddr, tls: Tls) -> String {
    let (bytes, ending) = Connection::open(address, tls).unwrap().read_to_end();
    assert_eq!(ending, Ending::Clean);
    let (response, rest) = Response::parse(&bytes, "GET").unwrap();
    assert_eq!((response.status, rest), (403, &b""[..]));
    assert_eq!(response.field("connection"), Some("close"));
    response.body
}

#[test]
fn each_client_sees_what_it_may() {
    let (server, operator, reader, probe, address) = start("");
    for (identity, metrics) in [(&operator, 200), (&reader, 200), (&probe, 403)] {
        let mut connection = open(address, identity);
        assert_eq!(ask(&mut connection, "/livez").body, "ok\n");
        assert_eq!(ask(&mut connection, "/readyz").body, "ok\n");
        let response = ask(&mut connection, "/metrics");
        assert_eq!(response.status, metrics, "{response:?}");
        // A refusal leaves the connection open.
        assert_eq!(ask(&mut connection, "/livez").status, 200);
        assert_eq!(ask(&mut connection, "/nowhere").status, 404);
    }
    let words = ask(&mut open(address, &probe), "/metrics").body;
    assert_eq!(words, "Command @metrics is not allowed to this client\n");
    // Visitors are no clients' connections.
    let _visitor = open(address, &reader);
    assert!(server.connect(&operator).ask("@status metrics").contains("\nlictor_connections 1\n"));
}

#[test]
fn strangers_are_told_as_elsewhere() {
    let (server, _, reader, _, address) = start("");
    let stranger = Identity::new("stranger");
    let words = format!("certificate (stranger) thumbprint '{}' is unknown\n", stranger.sha1());
    assert_eq!(refusal(address, Tls::showing(&stranger)), words);
    assert_eq!(refusal(address, Tls::anonymous()), "No certificate was provided\n");
    server.wait_for_log("the refusal", |entry| entry.message() == "refused");
    // Somebody else's certificate without its key.
    let stolen = Connection::open(address, Tls::stealing(&reader, &stranger));
    let ending = stolen.map(|mut connection| connection.read_to_end());
    assert!(!matches!(ending, Ok((_, Ending::Clean))), "{ending:?}");
    let old = Connection::open(address, Tls::showing(&reader).only_version_1_2());
    assert!(old.is_err());
}

#[test]
fn the_protocol_is_negotiated() {
    let (_server, _, reader, _, address) = start("");
    let config = |protocols: &[&str]| {
        let mut config = (*Tls::showing(&reader).config()).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let mut connection = Connection::open_with(address, config(&["h2", "http/1.1"])).unwrap();
    assert_eq!(connection.protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(ask(&mut connection, "/livez").status, 200);
    assert!(Connection::open_with(address, config(&["h2"])).is_err(), "HTTP/2 is not spoken");
}

#[test]
fn what_a_reload_takes_away_holds_on_open_connections() {
    let (server, operator, reader, probe, address) = start("");
    let mut connections = [open(address, &reader), open(address, &reader), open(address, &probe)];
    connections.iter_mut().for_each(|connection| assert_eq!(ask(connection, "/livez").status, 200));
    let [first, second, probe] = &mut connections;
    assert_eq!(ask(first, "/metrics").status, 200);
    server.edit(|text| text.replace("commands = [\"@metrics\"]", "commands = [\"@ping\"]"));
    let mut operator = server.connect(&operator);
    assert_eq!(operator.ask("@reload"), "live     changed  clients.reader.commands");
    assert_eq!(ask(first, "/metrics").status, 403);
    assert_eq!(ask(first, "/livez").status, 200);
    server.edit(|text| text.replace("[clients.reader]\n", "[clients.reader]\nenabled = false\n"));
    assert_eq!(operator.ask("@reload"), "live     removed  clients.reader");
    for connection in [first, second] {
        let response = ask(connection, "/livez");
        assert_eq!((response.status, response.field("connection")), (403, Some("close")));
        assert!(response.body.ends_with("' is unknown\n"), "{response:?}");
        connection.assert_closed();
    }
    assert_eq!(ask(probe, "/livez").status, 200, "others stay");
    assert!(refusal(address, Tls::showing(&reader)).ends_with("' is unknown\n"));
}

#[test]
fn a_client_that_expires_is_turned_away() {
    let (server, operator, reader, _, address) = start("");
    let end = Instant::now() + Duration::from_secs(2);
    let line = format!("[clients.reader]\nexpires = {}\n", from_now(Duration::from_secs(2)));
    server.edit(|text| text.replace("[clients.reader]\n", &line));
    assert_eq!(server.connect(&operator).ask("@reload"), "live     changed  clients.reader.expires");
    let mut connection = open(address, &reader);
    let response =
        eventually("the end", || Some(ask(&mut connection, "/livez")).filter(|it| it.status != 200));
    assert!(Instant::now() >= end && response.status == 403, "{response:?}");
    assert!(response.body.contains("cannot be used: its client expired at "), "{response:?}");
    connection.assert_closed();
    assert!(refusal(address, Tls::showing(&reader)).contains("its client expired at "));
}

#[test]
fn a_client_that_an_authority_vouches_for_sees_pages_until_it_is_revoked() {
    let authority = Authority::new("ca");
    let desk = authority.issue("desk", "spiffe://example.org/desk");
    let setup = Setup::new().echo();
    let (folder, operator) = (setup.folder().to_owned(), Identity::new("operator"));
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let setup = setup
        .section("[identity]\nauthorities = [\"ca.pem\"]")
        .section("[clients.desk]\nuris = [\"spiffe://example.org/desk\"]\ncommands = [\"@metrics\"]");
    let server = setup.master("operator", &operator).section(LISTEN).start();
    let address = addresses(&server, "metrics and health to clients")[0];
    let mut connection = open(address, &desk);
    assert_eq!(ask(&mut connection, "/metrics").status, 200);
    let unsigned = Identity::with_uri("desk", "spiffe://example.org/desk");
    assert!(refusal(address, Tls::showing(&unsigned)).ends_with("' is unknown\n"));
    server.edit(|text| text.replace("spiffe://example.org/desk", "spiffe://example.org/other"));
    server.connect(&operator).ask("@reload");
    assert_eq!(ask(&mut connection, "/metrics").status, 403);
    connection.assert_closed();
}

#[test]
fn plain_http_on_this_port_is_answered_by_no_byte() {
    let (_server, _, _, _, address) = start("");
    let mut stream = testkit::client::tcp(address);
    std::io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
}
