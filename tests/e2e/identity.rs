//! Admission of clients, and the message to those refused.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::HandshakeKind;
use testkit::certs::{Identity, Key};
use testkit::client::{Connection, Ending, Tls, tcp};
use testkit::server::{Server, Setup, shared};
use testkit::tools::{self, Conversation};

/// Returns the server's message to this client, whose handshake succeeds, before it closes.
fn told(server: &Server, tls: Tls) -> String {
    let mut connection = Connection::open(server.address(), tls).expect("the handshake is done");
    let (said, ending) = connection.read_to_end();
    assert_eq!(ending, Ending::Clean);
    String::from_utf8(said).expect("what is said is UTF-8")
}

/// Does the same for a client that sends 64 KB, with a valid request among it, before it reads.
fn told_after_sending(server: &Server, tls: Tls) -> String {
    let mut connection = Connection::open(server.address(), tls).expect("the handshake is done");
    let mut bytes = b"echo hello\r\n\r\n".to_vec();
    bytes.resize(64 * 1024, b'x');
    // The server may close before everything is sent.
    let _ = connection.try_send(bytes);
    let (said, _) = connection.read_to_end();
    String::from_utf8(said).expect("what is said is UTF-8")
}

fn admits(server: &Server, identity: &Identity) -> bool {
    told_first(server, Tls::showing(identity)) == "OK"
}

fn told_first(server: &Server, tls: Tls) -> String {
    Connection::open(server.address(), tls).expect("the handshake is done").read_reply()
}

#[test]
fn an_admitted_client_is_greeted_and_served() {
    let mut connection = Connection::open(shared().server.address(), Tls::showing(&shared().tester)).unwrap();
    assert_eq!(connection.read_bytes(6), b"OK\r\n\r\n");
    assert_eq!(connection.ask("echo hello"), "hello");
}

#[test]
fn a_client_without_a_certificate_is_told() {
    let line = "ERR No certificate was provided\r\n\r\n";
    assert_eq!(told(&shared().server, Tls::anonymous()), line);
    assert_eq!(told_after_sending(&shared().server, Tls::anonymous()), line);
}

#[test]
fn a_client_that_nobody_knows_is_told_its_name_and_thumbprint() {
    let stranger = Identity::new("stranger");
    let line = format!("ERR certificate (stranger) thumbprint '{}' is unknown\r\n\r\n", stranger.sha1());
    assert_eq!(told(&shared().server, Tls::showing(&stranger)), line);
    assert_eq!(told_after_sending(&shared().server, Tls::showing(&stranger)), line);
}

#[test]
fn a_certificate_outside_its_dates_is_told_why() {
    let (old, early) = (Identity::expired("old"), Identity::not_yet_valid("early"));
    let server = Setup::new().client("old", &old, &["*"]).client("early", &early, &["*"]).echo().start();
    for (name, identity, year) in [("old", &old, "2021"), ("early", &early, "2200")] {
        let begin = format!("ERR certificate ({name}) thumbprint '{}' cannot be used: ", identity.sha1());
        for line in
            [told(&server, Tls::showing(identity)), told_after_sending(&server, Tls::showing(identity))]
        {
            let reason = line.strip_prefix(&begin).unwrap_or_else(|| panic!("{line:?} begins otherwise"));
            let reason = reason.strip_suffix("\r\n\r\n").unwrap_or_else(|| panic!("{line:?} ends otherwise"));
            assert!(reason.contains(year) && !reason.contains(['\r', '\n']), "{line:?} does not say when");
        }
    }
}

#[test]
fn a_name_cannot_forge_a_reply() {
    let forger = Identity::new("x) is fine\r\n\r\nOK\r\n\r\n\x1b[2J\0\u{202e}");
    let said = told(&shared().server, Tls::showing(&forger));
    let line = said.strip_suffix("\r\n\r\n").expect("the line ends");
    assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    assert!(
        line.starts_with("ERR certificate (x) is fine\\r\\n\\r\\nOK\\r\\n\\r\\n\\x1b[2J\\x00"),
        "{line:?}"
    );
    assert!(line.ends_with(&format!(" thumbprint '{}' is unknown", forger.sha1())), "{line:?}");
}

#[test]
fn a_long_name_is_cut() {
    let stranger = Identity::new(&"long".repeat(5_000));
    let said = told(&shared().server, Tls::showing(&stranger));
    assert!(said.len() < 1024, "{} bytes", said.len());
    assert!(said.starts_with("ERR certificate (longlong"), "{said:?}");
    assert!(said.ends_with(&format!("thumbprint '{}' is unknown\r\n\r\n", stranger.sha1())), "{said:?}");
}

#[test]
fn a_certificate_without_a_name_is_called_unknown() {
    let nameless = Identity::nameless();
    let line = format!("ERR certificate (<Unknown>) thumbprint '{}' is unknown\r\n\r\n", nameless.sha1());
    assert_eq!(told(&shared().server, Tls::showing(&nameless)), line);
}

#[test]
fn the_last_entry_of_the_subject_is_the_name() {
    let stranger = Identity::with_organization("first", "last");
    let said = told(&shared().server, Tls::showing(&stranger));
    assert!(said.starts_with("ERR certificate (last) "), "{said:?}");
}

#[test]
fn every_kind_of_key_is_admitted_when_pinned() {
    let kinds = [Key::P256, Key::P384, Key::P521, Key::Ed25519, Key::Rsa, Key::Rsa4096];
    let identities: Vec<_> = kinds.iter().map(|key| Identity::with_key("client", *key)).collect();
    let ca = Identity::marked_as_ca("ca");
    let mut setup = Setup::new().echo().master("ca", &ca);
    for (position, identity) in identities.iter().enumerate() {
        setup = setup.master(&format!("client-{position}"), identity);
    }
    let server = setup.start();
    for (kind, identity) in kinds.iter().zip(&identities) {
        assert!(admits(&server, identity), "{kind:?}");
    }
    assert!(admits(&server, &ca), "a certificate that is marked as an authority, as openssl makes them");
}

#[test]
fn a_thumbprint_is_read_in_every_form() {
    let with_colons = |hex: &str| {
        let pairs: Vec<_> = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
        pairs.join(":")
    };
    let identities: Vec<_> = (0..9).map(|number| Identity::new(&format!("client {number}"))).collect();
    let forms = [
        identities[0].sha1(),
        identities[1].sha1().to_uppercase(),
        with_colons(&identities[2].sha1().to_uppercase()),
        identities[3].sha256(),
        identities[4].sha256().to_uppercase(),
        with_colons(&identities[5].sha256()),
        format!("sha256:{}", identities[6].sha256()),
        format!("SHA256 Fingerprint={}", with_colons(&identities[7].sha256().to_uppercase())),
        format!("Thumbprint : {}", identities[8].sha1().to_uppercase()),
    ];
    let mut setup = Setup::new();
    for (position, form) in forms.iter().enumerate() {
        let section = format!("[clients.c{position}]\nthumbprints = [\"{form}\"]\ncommands = [\"@ping\"]");
        setup = setup.section(&section);
    }
    let server = setup.start();
    for (identity, form) in identities.iter().zip(&forms) {
        assert!(admits(&server, identity), "{form}");
    }
}

#[test]
fn a_client_may_be_pinned_by_files_and_have_several_certificates() {
    let (old, new, third) = (Identity::new("old"), Identity::new("new"), Identity::new("third"));
    let setup = Setup::new();
    old.write(setup.folder(), "old");
    fs::create_dir(setup.folder().join("certs")).unwrap();
    new.write(&setup.folder().join("certs"), "new");
    let server = setup
        .section(&format!(
            "[clients.one]\ncertificates = [\"old.pem\", \"certs/new.pem\"]\nthumbprints = [\"{}\"]\n\
             commands = [\"@ping\"]",
            third.sha1()
        ))
        .start();
    for identity in [&old, &new, &third] {
        assert!(admits(&server, identity));
    }
    assert!(!admits(&server, &Identity::new("old")), "another certificate of the same name");
}

#[test]
fn a_stolen_certificate_is_worth_nothing_without_its_key() {
    let thief = Identity::new("thief");
    let victim = Identity::new("victim");
    let server = Setup::new().server("min_tls_version = \"1.2\"").master("victim", &victim).echo().start();
    for tls in [Tls::stealing(&victim, &thief), Tls::stealing(&victim, &thief).only_version_1_2()] {
        let Ok(mut connection) = Connection::open(server.address(), tls) else { continue };
        let _ = connection.try_send("echo hello\r\n\r\n");
        let (said, ending) = connection.read_to_end();
        assert_eq!((String::from_utf8_lossy(&said).as_ref(), ending), ("", Ending::Alert));
    }
    assert!(admits(&server, &victim));
}

#[test]
fn nothing_runs_before_the_client_is_known() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).hostile("").start();
    let flood = "flood 1000\r\n\r\n".repeat(20);
    for tls in [Tls::anonymous(), Tls::showing(&Identity::new("stranger"))] {
        let mut connection = Connection::open(server.address(), tls).unwrap();
        let _ = connection.try_send(&flood);
        let (said, _) = connection.read_to_end();
        assert!(
            said.starts_with(b"ERR ") && said.ends_with(b"\r\n\r\n"),
            "{:?}",
            String::from_utf8_lossy(&said)
        );
    }
    // The plugin logs its line for an admitted client only.
    assert_eq!(server.connect(&tester).ask("flood-line 10"), "flooded");
    server.wait_for_log("the plugin's line", |entry| entry.text("line") == Some("LLLLLLLLLL"));
    assert!(!server.printed().contains("floodflood"));
}

#[test]
fn tls_1_2_is_refused_unless_it_is_allowed() {
    let tester = Identity::new("tester");
    let old_style = || Tls::showing(&tester).only_version_1_2();
    let strict = Setup::new().master("tester", &tester).start();
    assert!(Connection::open(strict.address(), old_style()).is_err(), "1.3 alone by default");
    assert!(admits(&strict, &tester));

    let lenient = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester).start();
    assert_eq!(told_first(&lenient, old_style()), "OK");
    assert_eq!(told_first(&lenient, Tls::anonymous().only_version_1_2()), "ERR No certificate was provided");
    assert!(admits(&lenient, &tester));
}

#[test]
fn a_session_is_never_resumed() {
    let tester = Identity::new("tester");
    let server = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester).start();
    for tls in [Tls::showing(&tester).resuming(), Tls::showing(&tester).resuming().only_version_1_2()] {
        let config = tls.config();
        for _ in 0..3 {
            let mut connection = Connection::open_with(server.address(), config.clone()).unwrap();
            assert_eq!(connection.read_reply(), "OK");
            assert_eq!(connection.ask("@ping"), "pong");
            assert_eq!((connection.handshake(), connection.tickets()), (Some(HandshakeKind::Full), 0));
        }
    }
}

#[test]
fn openssl_is_given_no_session_to_resume() {
    let tester = Identity::new("tester");
    let server = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester).start();
    tester.write(server.folder(), "tester");
    let session = server.folder().join("session.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let more = [version, "-ign_eof", "-sess_out", session.to_str().unwrap()];
        let mut client =
            Conversation::with(&mut tools::s_client(server.address(), server.folder(), "tester", &more));
        let shown = client.hear("OK\r\n\r\n");
        assert!(shown.contains("New, TLSv1"), "{shown}");
        client.say("@ping\r\n\r\n");
        client.hear("pong\r\n\r\n");
        // OpenSSL writes this file as soon as there is a resumable session.
        assert!(!session.exists(), "{version}");
    }
}

#[test]
fn a_silent_stranger_is_put_out_while_others_are_served() {
    let tester = Identity::new("tester");
    let limits = "[limits]\nhandshake_timeout = \"300ms\"";
    let server = Setup::new().master("tester", &tester).section(limits).start();
    let mut silent: Vec<TcpStream> = (0..10).map(|_| tcp(server.address())).collect();
    // Half a ClientHello, and no more.
    silent[0].write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).unwrap();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("@ping"), "pong");
    for socket in &mut silent {
        let mut rest = Vec::new();
        // An alert may come first; a reset counts as the end, too.
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.len() < 100, "{rest:?}");
    }
    assert_eq!(connection.ask("@ping"), "pong", "an admitted client is not meant");
}

#[test]
fn a_stranger_that_speaks_no_tls_is_put_out() {
    let mut socket = tcp(shared().server.address());
    socket.write_all(b"echo hello\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.windows(5).any(|window| window == b"hello"), "{answer:?}");
}
