//! Clients identified by a URI for which an authority vouches.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use testkit::certs::{Authority, Identity};
use testkit::client::{Connection, Ending, Tls};
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::reload::{is_cut_off, is_cut_off_after};

const LAPTOP: &str = "spiffe://example.org/laptop";

/// Section of the client `name`, which is identified by `uri` and may run everything.
fn client(name: &str, uri: &str) -> String {
    format!("[clients.{name}]\nuris = [\"{uri}\"]\ncommands = [\"*\", \"@*\"]\n")
}

/// Sets up a config that trusts these authorities, each in a numbered file, for `laptop`; and the client
/// `tester`, which is pinned.
fn vouching(authorities: &[&Authority]) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    for (number, authority) in authorities.iter().enumerate() {
        fs::write(setup.folder().join(format!("ca-{number}.pem")), authority.pem()).unwrap();
    }
    let files: Vec<_> = (0..authorities.len()).map(|number| format!("ca-{number}.pem")).collect();
    (
        setup.section(&format!("[identity]\nauthorities = {files:?}")).section(&client("laptop", LAPTOP)),
        tester,
    )
}

#[test]
fn a_pin_of_a_certificate_that_its_authority_revoked_is_told_of() {
    let root = Authority::new("Root");
    let (setup, _) = vouching(&[&root]);
    let pinned = root.issue_with("pinned", &[], |params| params.serial_number = Some(77.into()));
    pinned.write(setup.folder(), "pinned");
    fs::write(setup.folder().join("root.crl"), root.revoking(&[77])).unwrap();
    let setup = setup.section("[clients.pinned]\ncertificates = [\"pinned.pem\"]\ncommands = [\"echo\"]");
    setup.write();
    let told = "the client `pinned` is admitted by a certificate that a revocation list names";
    let config = setup.folder().join("server.toml");
    assert!(!finish(lictor(setup.folder()).arg("check")).stderr.contains(told));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[identity]\n", "[identity]\nrevocation_lists = [\"root.crl\"]\n"))
        .unwrap();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains(told), "{checked:?}");
}

#[test]
fn authorities_that_shut_clients_out_are_told_of_by_a_check() {
    let (old, new) = (Authority::new("Root"), Authority::new("Root"));
    let (setup, _) = vouching(&[&old, &new]);
    let warned = |setup: &Setup, words: &str| {
        setup.write();
        let checked = finish(lictor(setup.folder()).arg("check"));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        checked.stderr.contains(words)
    };
    let namesakes =
        "two authorities are named Root and have different keys, and there is a revocation list of that name";
    assert!(!warned(&setup, namesakes), "without a list both vouch");
    fs::write(setup.folder().join("old.crl"), old.revoking(&[1])).unwrap();
    let text = fs::read_to_string(setup.folder().join("server.toml")).unwrap();
    fs::write(
        setup.folder().join("server.toml"),
        text.replace("[identity]\n", "[identity]\nrevocation_lists = [\"old.crl\"]\n"),
    )
    .unwrap();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert!(checked.stderr.contains(namesakes), "{checked:?}");
}

/// Returns the server's message to this client before it closes.
fn told(server: &Server, identity: &Identity) -> String {
    let mut connection = Connection::open(server.address(), Tls::showing(identity)).unwrap();
    let (said, ending) = connection.read_to_end();
    assert_eq!(ending, Ending::Clean);
    String::from_utf8(said).unwrap()
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

#[test]
fn a_uri_admits_through_an_authority_below_the_one_that_is_known() {
    let root = Authority::new("Example Root");
    let middle = root.below("Example Middle", None);
    let (setup, tester) = vouching(&[&root]);
    let server = setup.server("min_tls_version = \"1.2\"").start();
    let laptop = middle.issue("a name of no meaning", LAPTOP);
    let mut connection = server.connect(&laptop);
    assert_eq!(connection.ask("echo hello"), "hello");
    let whoami = connection.ask("@whoami");
    let known_by = format!("known by {LAPTOP} by Example Root");
    assert!(whoami.starts_with("laptop\ncertificate a name of no meaning\nsha256 "), "{whoami}");
    assert!(whoami.contains(&known_by) && whoami.contains("\nvalid for "), "{whoami}");
    assert_eq!(connection.ask("whoami"), format!("laptop {}", laptop.sha256()), "what a plugin is told");
    let admitted = server.wait_for_log("the client", |entry| entry.text("client") == Some("laptop"));
    assert_eq!(admitted.text("known_by"), Some(format!("{LAPTOP} by Example Root").as_str()));
    let clients = server.connect(&tester).ask("@clients");
    let certificate = format!("certificate {}… by {LAPTOP} for ", &laptop.sha256()[..8]);
    assert!(clients.contains("laptop  connections 1") && clients.contains(&certificate), "{clients}");
    // Another certificate with the same URI is the same client, without a change of the config.
    assert_eq!(server.connect(&root.issue("new", LAPTOP)).ask("echo hello"), "hello");
    let mut old_style = Connection::open(server.address(), Tls::showing(&laptop).only_version_1_2()).unwrap();
    assert_eq!(old_style.read_reply(), "OK");
    assert!(server.connect(&tester).ask("@whoami").contains("\nknown by pin\n"));
}

#[test]
fn what_no_authority_signed_is_unknown_and_the_log_says_why() {
    let (root, forger, other) = (Authority::new("Root"), Authority::new("Root"), Authority::new("Other"));
    let (setup, tester) = vouching(&[&root]);
    let server = setup.start();
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2021, 1, 1);
    for (what, identity, detail) in [
        ("signed by itself", Identity::with_uri("a", LAPTOP), "leads to no authority"),
        ("of another authority", other.issue("b", LAPTOP), "leads to no authority"),
        ("of an authority of the same name", forger.issue("c", LAPTOP), "a signature in its chain"),
        ("below one", forger.below("Middle", None).issue("d", LAPTOP), "a signature in its chain"),
        ("expired, of another", other.issue_with("e", &[LAPTOP], expired), "expired"),
        ("with another URI", root.issue("f", "spiffe://example.org/desk"), "no client has a URI of it"),
        ("with the URI as its name", root.issue_with(LAPTOP, &[], |_| {}), "no client has a URI of it"),
        (
            "marked as an authority",
            root.issue_with("g", &[LAPTOP], |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "(CA:TRUE)",
        ),
    ] {
        let said = told(&server, &identity);
        let sha1 = identity.sha1();
        let line = format!("thumbprint '{sha1}' is unknown\r\n\r\n");
        assert!(said.starts_with("ERR certificate (") && said.ends_with(&line), "{what}: {said}");
        let entry = server.wait_for_log("the refusal", |entry| {
            entry.message() == "refused" && entry.text("reason").is_some_and(|reason| reason.contains(&sha1))
        });
        assert!(entry.text("detail").is_some_and(|words| words.contains(detail)), "{what}: {entry:?}");
    }
    assert_eq!(server.connect(&tester).ask("@ping"), "pong");
}

#[test]
fn the_holder_of_what_an_authority_signed_is_told_why_it_is_not_taken() {
    let root = Authority::new("Root");
    let old = root.below("Old", Some(SystemTime::now() - Duration::from_secs(60)));
    let server = vouching(&[&root]).0.start();
    let two = [LAPTOP, "spiffe://example.org/desk"];
    for (identity, reason) in [
        (root.issue_with("a", &two, |_| {}), "it has 2 URIs, and a client's has exactly one"),
        (
            root.issue_with("a", &[LAPTOP], |params| params.not_after = date_time_ymd(2021, 1, 1)),
            "it expired at 2021-01-01T00:00:00Z",
        ),
        (
            root.issue_with("a", &[LAPTOP], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "its extended key usage, or one in its chain, is not for clients (clientAuth)",
        ),
        (old.issue("a", LAPTOP), "of its chain, certificate (Old): it expired at "),
    ] {
        let said = told(&server, &identity);
        let begin = format!("ERR certificate (a) thumbprint '{}' cannot be used: {reason}", identity.sha1());
        assert!(said.starts_with(&begin), "{said}");
    }
}

#[test]
fn a_pin_comes_before_a_uri() {
    let root = Authority::new("Root");
    let (setup, _) = vouching(&[&root]);
    let pinned = root.issue("a", LAPTOP);
    let server = setup.master("pinned", &pinned).start();
    let whoami = server.connect(&pinned).ask("@whoami");
    assert!(whoami.starts_with("pinned\n") && whoami.contains("\nknown by pin\n"), "{whoami}");
}

#[test]
fn an_authority_or_a_uri_that_is_removed_takes_its_connections_along() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let (setup, tester) = vouching(&[&old, &new]);
    let server = setup.start();
    let mut operator = server.connect(&tester);
    // Two authorities side by side, as while one replaces the other.
    let (mut by_old, mut by_new) =
        (server.connect(&old.issue("a", LAPTOP)), server.connect(&new.issue("b", LAPTOP)));
    by_old.send("sleep 4000\r\nSequence: s\r\n\r\n");
    assert_eq!((by_old.ask("echo a").as_str(), by_new.ask("echo b").as_str()), ("a", "b"));
    server.edit(|text| text.replace("\"ca-0.pem\", ", ""));
    assert_eq!(operator.ask("@reload"), "live     changed  identity.authorities");
    let stopped = by_old.read_frame();
    assert_eq!(stopped.failure(), ("cancelled", "unknown"), "{stopped:?}");
    is_cut_off(&mut by_old, "is unknown");
    let cut = server.wait_for_log("the reason", |entry| entry.message() == "cut off");
    assert!(cut.text("detail").is_some_and(|words| words.contains("leads to no authority")), "{cut:?}");
    assert_eq!(cut.text("thumbprint").map(str::len), Some(64), "{cut:?}");
    assert_eq!(by_new.ask("echo b"), "b");
    assert!(told(&server, &old.issue("a", LAPTOP)).ends_with("is unknown\r\n\r\n"));

    server.edit(|text| text.replace(LAPTOP, "spiffe://example.org/desk"));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.laptop.uris");
    is_cut_off(&mut by_new, "is unknown");
}

/// Two lists joined by hand, the first without a newline at its end: a reader that skips everything it does
/// not recognize as a list would admit the clients revoked in the second.
#[test]
fn lists_and_authorities_that_are_joined_wrongly_are_refused_and_take_nobody_in() {
    let [root, other] = ["Root", "Other"].map(Authority::new);
    let (setup, tester) = vouching(&[&root, &other]);
    let [of_root, of_other] = [root.revoking(&[]), other.revoking(&[7])];
    fs::write(setup.folder().join("crl.pem"), format!("{of_root}{of_other}")).unwrap();
    let server = setup.start();
    server.edit(|text| text.replace("[identity]\n", "[identity]\nrevocation_lists = [\"crl.pem\"]\n"));
    let mut operator = server.connect(&tester);
    assert_eq!(operator.ask("@reload"), "live     changed  identity.revocation_lists");
    let stolen = other.issue_with("a", &[LAPTOP], |params| params.serial_number = Some(7.into()));
    assert!(told(&server, &stolen).contains("was revoked"));
    let joined = |first: &str, second: &str| format!("{}{second}", first.trim_end());
    for (file, text) in [
        ("crl.pem", joined(&of_root, &of_other)),
        ("crl.pem", format!("{of_root}{}", of_other.replace("-----BEGIN", "----BEGIN"))),
        ("crl.pem", format!("{of_root}{}", other.pem())),
        ("ca-1.pem", joined(&root.pem(), &other.pem())),
        ("ca-1.pem", format!("{}{of_other}", other.pem())),
    ] {
        let path = server.folder().join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, &text).unwrap();
        assert_eq!(operator.ask_framed("@reload").failure(), ("conflict", "failed"), "{text}");
        let checked = finish(lictor(server.folder()).arg("check"));
        assert!(checked.code == Some(2) && checked.stderr.contains(file), "{checked:?}");
        assert!(checked.stderr.contains(" line "), "{checked:?}");
        assert!(told(&server, &stolen).contains("was revoked"), "{text}");
        fs::write(&path, before).unwrap();
    }
    assert!(operator.ask("@reload").contains("nothing has changed"));
}

#[test]
fn a_certificate_that_its_authority_takes_back_is_cut_off_and_no_other() {
    let root = Authority::new("Root");
    let (setup, tester) = vouching(&[&root]);
    fs::write(setup.folder().join("crl.pem"), root.revoking(&[])).unwrap();
    let server = setup.start();
    server.edit(|text| text.replace("[identity]\n", "[identity]\nrevocation_lists = [\"crl.pem\"]\n"));
    let mut operator = server.connect(&tester);
    assert_eq!(operator.ask("@reload"), "live     changed  identity.revocation_lists");
    let numbered =
        |serial: u64| root.issue_with("a", &[LAPTOP], |params| params.serial_number = Some(serial.into()));
    let (stolen, good) = (numbered(7), numbered(8));
    let (mut by_stolen, mut by_good) = (server.connect(&stolen), server.connect(&good));
    by_stolen.send("sleep 4000\r\nSequence: s\r\n\r\n");
    assert_eq!(by_stolen.ask("echo a"), "a");
    fs::write(server.folder().join("crl.pem"), root.revoking(&[7])).unwrap();
    assert_eq!(operator.ask("@reload"), "live     changed  identity.revocation_lists");
    assert_eq!(by_stolen.read_frame().failure(), ("cancelled", "unknown"));
    is_cut_off(&mut by_stolen, "cannot be used: it, or a certificate of its chain, was revoked");
    assert_eq!(by_good.ask("echo b"), "b");
    assert!(told(&server, &stolen).contains("was revoked"));
    // The list's successor was due years ago.
    let outdated = "crl.pem is out of date: the next one was due at ";
    server.wait_for_log("a warning", |entry| {
        entry.text("warning").is_some_and(|words| words.contains(outdated))
    });
    let checked = finish(lictor(server.folder()).arg("check"));
    assert!(
        checked.stderr.contains(&format!("warning: the revocation list of Root in {outdated}")),
        "{checked:?}"
    );
}

#[test]
fn what_an_authority_file_holds_is_read_anew_and_watched() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let (setup, _) = vouching(&[&old]);
    let server = setup.server("watch = true").start();
    let mut connection = server.connect(&old.issue("a", LAPTOP));
    assert_eq!(connection.ask("echo a"), "a");
    fs::write(server.folder().join("ca.new"), new.pem()).unwrap();
    fs::rename(server.folder().join("ca.new"), server.folder().join("ca-0.pem")).unwrap();
    let reloaded = server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    assert_eq!(reloaded.text("changed"), Some("identity.authorities"));
    is_cut_off(&mut connection, "is unknown");
    assert_eq!(server.connect(&new.issue("a", LAPTOP)).ask("echo a"), "a");
}

#[test]
fn whatever_ends_in_a_chain_takes_the_connection_along() {
    let root = Authority::new("Root");
    let (setup, tester) = vouching(&[&Authority::new("Long root"), &root]);
    let server = setup.start();
    // Counted from here on, since the server may take long to start.
    let end = in_seconds(5);
    let (short_root, short_middle) =
        (Authority::valid_until("Short root", Some(end)), root.below("Short middle", Some(end)));
    fs::write(server.folder().join("ca-0.pem"), short_root.pem()).unwrap();
    server.connect(&tester).ask("@reload");
    let short_leaf = root.issue_with("a", &[LAPTOP], |params| params.not_after = end.into());
    let mut connections = [
        (server.connect(&short_leaf), "cannot be used: it expired at "),
        (server.connect(&short_middle.issue("b", LAPTOP)), "of its chain, a certificate: it expired at "),
        (server.connect(&short_root.issue("c", LAPTOP)), "of its chain, a certificate: it expired at "),
    ];
    let mut lasting = server.connect(&root.issue("d", LAPTOP));
    for (connection, _) in &mut connections {
        assert_eq!(connection.ask("echo a"), "a");
    }
    let clients = server.connect(&tester).ask("@clients");
    assert_eq!(clients.matches(&format!("by {LAPTOP} for 0 days")).count(), 3, "{clients}");
    let end = Instant::now() + end.duration_since(SystemTime::now()).unwrap_or_default();
    for (connection, words) in &mut connections {
        is_cut_off_after(end, connection, words);
    }
    assert_eq!(lasting.ask("echo a"), "a");
}
