//! Both families of addresses on one port, and traffic on the port that is not a client's.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use testkit::certs::Identity;
use testkit::client::{Connection, Ending, Tls, tcp};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Conversation, finish, lictor, openssl};

fn server() -> (Server, Identity) {
    let tester = Identity::new("tester");
    (Setup::new().master("tester", &tester).echo().start(), tester)
}

#[test]
fn one_port_takes_both_families() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIPPED: this machine has no IPv6");
        return;
    }
    let tester = Identity::new("tester");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let setup = Setup::new().server(&listen).master("tester", &tester).echo();
    let server = setup.start();
    server.wait_for_log("both addresses", |entry| entry.text("address") == Some(&format!("[::]:{port}")));
    let by = |address: &str| SocketAddr::new(address.parse().unwrap(), port);
    let mut four = Connection::admitted(by("127.0.0.1"), &tester);
    let mut six = Connection::admitted(by("::1"), &tester);
    assert_eq!((four.ask("echo 4"), six.ask("echo 6")), ("4".to_owned(), "6".to_owned()));
    let clients = six.ask("@clients");
    assert!(clients.contains("  127.0.0.1:") && clients.contains("  [::1]:"), "{clients}");
    assert!(!clients.contains("ffff"), "{clients}");
    let checked = finish(lictor(server.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!checked.stderr.contains("address of this machine"), "{checked:?}");
}

#[test]
fn a_check_tells_of_an_address_that_is_not_this_machines() {
    let tester = Identity::new("tester");
    // Reserved for documentation, so no machine has it.
    let setup = Setup::new().server("listen = [\"203.0.113.1:4888\", \"127.0.0.1:4888\"]");
    let setup = setup.master("tester", &tester).echo();
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warning = "`server.listen` has 203.0.113.1, which is not an address of this machine now";
    assert!(checked.stderr.contains(warning) && !checked.stderr.contains("has 127"), "{checked:?}");
    let served = finish(lictor(setup.folder()).arg("serve"));
    assert_eq!(served.code, Some(2), "{served:?}");
    assert!(served.stderr.contains("this machine has no such address: `ip address` shows"), "{served:?}");
}

/// Sends `bytes` and waits until the server has closed the connection.
fn knock(server: &Server, bytes: &[u8]) {
    let mut socket = tcp(server.address());
    socket.write_all(bytes).expect("the server takes it");
    // A reset counts as the end.
    let _ = socket.read_to_end(&mut Vec::new());
}

/// Returns the advice for a handshake that failed with `error`.
fn advised(server: &Server, error: &str) -> String {
    let entry = server.wait_for_log(error, |entry| {
        entry.message() == "handshake failed" && entry.text("error") == Some(error)
    });
    entry.text("advice").expect("there is advice").to_owned()
}

#[test]
fn what_comes_to_the_port_is_named() {
    let (server, _) = server();
    for (bytes, error, advice) in [
        (
            &b"GET /healthz?token=secret HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            "a client that speaks HTTP without TLS: GET",
            "no HTTP",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a client that speaks HTTP/2 without TLS", "no HTTP"),
        (b"SSH-2.0-x\r\n", "a client that speaks SSH", "scanner"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a balancer's PROXY header before TLS", "send-proxy"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "a balancer's PROXY header before TLS", "send-proxy"),
        (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0", "a client that speaks RDP", "scanner"),
        (b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10\x01\0\x80", "a client that speaks SSL 2", "update the client"),
        (b"EHLO example.org\r\n", "a client that speaks SMTP: EHLO", "scanner"),
        (b"echo secret\r\n\r\n", "text without TLS: echo", "`lictor call`"),
        (b"\x1b]0;x\x07\r\n\r\n\r\n", "bytes that are no TLS: 1b5d303b78070d0a0d0a0d0a", "scanner"),
    ] {
        knock(&server, bytes);
        let advised = advised(&server, error);
        assert!(advised.contains(advice), "{error}: {advised}");
    }
    assert!(!server.printed().contains("secret"), "only the first word is logged");
}

/// Builds a ClientHello of `version`, without extensions.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let suites = [0x00, 0x2f];
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, u8::try_from(suites.len()).unwrap()]);
    hello.extend(suites);
    hello.extend([1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    [&[0x16, version[0], version[1], 0, length + 4, 1, 0, 0, length][..], &hello].concat()
}

#[test]
fn versions_of_tls_that_are_too_old_are_named() {
    let (server, _) = server();
    for (version, error) in [
        ([3, 0], "a client that speaks SSL 3 at most"),
        ([3, 1], "a client that speaks TLS 1.0 at most"),
        ([3, 2], "a client that speaks TLS 1.1 at most"),
    ] {
        knock(&server, &old_hello(version));
        assert!(advised(&server, error).contains("min_tls_version"));
    }
}

#[test]
fn a_connection_without_a_byte_is_counted_and_not_logged() {
    let (server, tester) = server();
    for _ in 0..3 {
        drop(tcp(server.address()));
    }
    let mut connection = server.connect(&tester);
    eventually("the count", || {
        connection.ask("@status").contains("lictor_connections_silent_total 3").then_some(())
    });
    let messages: Vec<_> = server.log().iter().map(|entry| entry.message().to_owned()).collect();
    assert!(!messages.iter().any(|message| message == "handshake failed" || message == "nothing came"));
}

/// An alert, in either direction, is explained by its meaning here.
#[test]
fn a_handshake_that_fails_is_explained() {
    let (server, tester) = server();
    let address = server.address().to_string();
    let (certificate, _) = tester.write(server.folder(), "other");
    let other = certificate.to_str().unwrap();
    for (options, error, advice) in [
        (
            &["-CAfile", other, "-verify_return_error"][..],
            "the client does not trust the server's certificate: unknown_ca",
            "--pin",
        ),
        (&["-tls1_2"], "a client that speaks TLS 1.2 at most", "min_tls_version = \"1.2\""),
        (
            &["-sigalgs", "RSA-PSS+SHA256"],
            "no signature that the client takes and the server's key can make",
            "update",
        ),
        (&["-groups", "ffdhe2048"], "no key exchange that both client and server have", "update"),
        (
            &["-servername", "host:4888"],
            "the client sent a server name (SNI) that is no host name",
            "without a port",
        ),
    ] {
        let mut command = openssl(&["s_client", "-connect", &address]);
        let ended = finish(command.args(options));
        assert_ne!(ended.code, Some(0), "{options:?}: {ended:?}");
        let advised = advised(&server, error);
        assert!(advised.contains(advice), "{options:?}: {advised}");
    }
}

/// As docs/protocol.md says: neither a name nor an address nor a malformed name is looked at.
#[test]
fn any_host_name_is_taken() {
    let (server, _) = server();
    let address = server.address().to_string();
    for name in ["example.org", "127.0.0.1", "::1", "under_score", "dot.example.", "EXAMPLE.org"] {
        let mut client = Conversation::with(&mut openssl(&[
            "s_client",
            "-connect",
            &address,
            "-servername",
            name,
            "-quiet",
        ]));
        assert_eq!(client.hear_out(), "ERR No certificate was provided\r\n\r\n", "{name}");
    }
}

#[test]
fn a_client_that_ends_in_the_handshake_is_told_as_that() {
    let (server, tester) = server();
    let mut socket = tcp(server.address());
    socket.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).unwrap();
    drop(socket);
    let error = "the client ended the connection in the middle of the handshake";
    assert!(advised(&server, error).contains("trust the server's certificate"));
    // A client that ends after the handshake is not one of these.
    let mut connection = Connection::open(server.address(), Tls::showing(&tester)).unwrap();
    assert!(connection.is_greeted());
    connection.end_sending();
    assert_eq!(connection.read_to_end().1, Ending::Clean);
}
