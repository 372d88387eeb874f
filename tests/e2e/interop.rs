//! Third-party TLS clients speak the protocol.

use testkit::server::{Shared, shared};
use testkit::tools::{Conversation, finish, openssl, python, s_client};

/// The shared server, with its client's certificate beside its config as `tester.pem` and `tester.key`.
fn with_files() -> &'static Shared {
    static WRITTEN: std::sync::Once = std::sync::Once::new();
    WRITTEN.call_once(|| drop(shared().tester.write(shared().server.folder(), "tester")));
    shared()
}

#[test]
fn openssl_s_client_talks_to_the_server() {
    let server = &with_files().server;
    let mut client =
        Conversation::with(&mut s_client(server.address(), server.folder(), "tester", &["-quiet"]));
    assert_eq!(client.hear("\r\n\r\n"), "OK\r\n\r\n");
    client.say("echo hello\r\n\r\n");
    assert_eq!(client.hear("\r\n\r\n"), "hello\r\n\r\n");
    client.say("echo framed\r\nSequence: 1\r\n\r\n");
    assert_eq!(client.hear("framed"), "OK\r\nSequence: 1\r\nSize: 6\r\n\r\nframed");
}

#[test]
fn openssl_s_client_by_hand_needs_its_crlf_switch() {
    let server = &with_files().server;
    let more = ["-quiet", "-crlf"];
    let mut client = Conversation::with(&mut s_client(server.address(), server.folder(), "tester", &more));
    client.hear("OK\r\n\r\n");
    client.say("echo hello\n\n");
    assert_eq!(client.hear("\r\n\r\n"), "hello\r\n\r\n");
    client.say("@ping\n\n");
    assert_eq!(client.hear("\r\n\r\n"), "pong\r\n\r\n");
}

#[test]
fn openssl_s_client_with_bare_line_feeds_is_told_what_is_wrong() {
    let server = &with_files().server;
    let mut client =
        Conversation::with(&mut s_client(server.address(), server.folder(), "tester", &["-quiet"]));
    client.hear("OK\r\n\r\n");
    client.say("echo hello\n\n");
    let told = client.hear_out();
    assert!(told.starts_with("ERR Bad request: ") && told.contains("LF"), "{told:?}");
}

#[test]
fn openssl_s_client_without_a_certificate_is_told() {
    let address = shared().server.address().to_string();
    let mut client = Conversation::with(&mut openssl(&["s_client", "-connect", &address, "-quiet"]));
    assert_eq!(client.hear_out(), "ERR No certificate was provided\r\n\r\n");
}

/// Certificates with OpenSSL's own defaults: version 3, marked as an authority, SHA-256 with RSA.
#[test]
fn a_certificate_made_by_openssl_is_admitted_by_the_fingerprint_that_openssl_shows() {
    use testkit::server::Setup;
    let setup = Setup::new();
    let (key, certificate) = (setup.folder().join("made.key"), setup.folder().join("made.pem"));
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let made = finish(&mut openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/O=somebody/CN=made",
        "-days",
        "30",
        "-keyout",
        key,
        "-out",
        certificate,
    ]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let shown = finish(&mut openssl(&["x509", "-in", certificate, "-noout", "-fingerprint", "-sha1"]));
    let (_, fingerprint) = shown.stdout.trim().split_once('=').expect("sha1 Fingerprint=…");
    let section = format!("[clients.made]\nthumbprints = [\"{fingerprint}\"]\ncommands = [\"echo\"]");
    let server = setup.echo().section(&section).start();
    let mut client =
        Conversation::with(&mut s_client(server.address(), server.folder(), "made", &["-quiet"]));
    client.hear("OK\r\n\r\n");
    client.say("echo hello\r\n\r\n");
    assert_eq!(client.hear("\r\n\r\n"), "hello\r\n\r\n");
}

const PYTHON: &str = r#"
import socket, ssl, sys

address, folder = sys.argv[1], sys.argv[2]
host, port = address.rsplit(":", 1)
context = ssl.create_default_context(cafile=folder + "/server.pem")
context.load_cert_chain(folder + "/tester.pem", folder + "/tester.key")

def connect(session=None):
    tcp = socket.create_connection((host, int(port)), timeout=30)
    return context.wrap_socket(tcp, server_hostname="localhost", session=session)

def read_until(tls, end):
    data = b""
    while not data.endswith(end):
        more = tls.recv(4096)
        if not more:
            raise SystemExit(f"the server closed after {data!r}")
        data += more
    return data

session = None
for _ in range(2):
    with connect(session) as tls:
        assert read_until(tls, b"\r\n\r\n") == b"OK\r\n\r\n"
        tls.sendall(b"echo hello\r\n\r\n")
        assert read_until(tls, b"\r\n\r\n") == b"hello\r\n\r\n"
        tls.sendall(b"body\r\nSize: 5\r\nSequence: 7\r\n\r\n\x00\r\n\r\n")
        assert read_until(tls, b"\x00\r\n\r\n") == b"OK\r\nSequence: 7\r\nSize: 5\r\n\r\n\x00\r\n\r\n"
        assert not tls.session_reused
        assert tls.version() == "TLSv1.3"
        session = tls.session
        # Sends close_notify and waits for the server's.
        tls.unwrap().close()
print("done")
"#;

#[test]
fn python_talks_to_the_server() {
    let server = &with_files().server;
    let arguments = [server.address().to_string(), server.folder().display().to_string()];
    assert_eq!(python(PYTHON, &arguments.each_ref().map(String::as_str)).trim(), "done");
}
