//! Certificates that a library would refuse: a pin is a certificate's hash, so all that counts is the peer's
//! proof that it holds the key.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use testkit::certs::{Identity, with_long_rsa_key};
use testkit::client::{Connection, Ending, Tls};
use testkit::server::{Server, Setup};
use testkit::tools::{Conversation, Finished, finish, lictor, openssl, s_client};

/// A kind of certificate by OpenSSL, and the refusal with TLS 1.2 and 1.3; `None` if it is admitted.
struct Kind {
    name: &'static str,
    key: &'static [&'static str],
    certificate: &'static [&'static str],
    said: [Option<&'static str>; 2],
}

const EC: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const NOT_1_2: &str = ", and so its key can be proven with TLS 1.3 alone";
const MANY_DIGITS: &str = "0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

const fn good(name: &'static str, certificate: &'static [&'static str]) -> Kind {
    Kind { name, key: EC, certificate, said: [None, None] }
}

const fn in_1_3(name: &'static str, certificate: &'static [&'static str]) -> Kind {
    Kind { name, key: EC, certificate, said: [Some(NOT_1_2), None] }
}

const fn never(name: &'static str, key: &'static [&'static str], said: &'static str) -> Kind {
    Kind { name, key, certificate: &[], said: [Some(said), Some(said)] }
}

const KINDS: &[Kind] = &[
    // No extensions: version 1.
    in_1_3("version-1", &["-config", "plain.cnf"]),
    in_1_3("critical", &["-addext", "1.2.3.4=critical,DER:0500"]),
    good("long-serial", &["-set_serial", MANY_DIGITS]),
    good("negative-serial", &["-set_serial", "-5"]),
    good("constraints", &["-addext", "nameConstraints=critical,permitted;DNS:example.org"]),
    good(
        "authority",
        &["-addext", "keyUsage=critical,keyCertSign", "-addext", "extendedKeyUsage=serverAuth"],
    ),
    good("no-name", &["-subj", "/"]),
    good("sha1", &["-sha1"]),
    Kind { name: "md5", key: &["genrsa", "2048"], certificate: &["-md5"], said: [None, None] },
    never("rsa-1024", &["genrsa", "1024"], "its RSA key has 1024 bits, and must have 2048 to 8192"),
    never("dsa", &["genpkey", "-paramfile", "dsa.params"], "its key is DSA, and not RSA of 2048"),
    never("ed448", &["genpkey", "-algorithm", "ED448"], "its key is Ed448, and not RSA"),
    never("curve", &["ecparam", "-genkey", "-noout", "-name", "secp256k1"], "its key is on another curve"),
    never("pss", &["genpkey", "-algorithm", "RSA-PSS"], "its key is RSA for PSS alone (rsassaPss)"),
];

/// Runs OpenSSL in `folder`, which must succeed.
fn made(folder: &Path, arguments: &[&str]) {
    let made = finish(openssl(arguments).current_dir(folder));
    assert_eq!(made.code, Some(0), "{arguments:?}: {made:?}");
}

/// Makes a key and a certificate of each kind in `folder`.
fn make_all(folder: &Path) {
    fs::write(folder.join("plain.cnf"), "[req]\ndistinguished_name = d\n[d]\n").unwrap();
    made(folder, &["dsaparam", "-out", "dsa.params", "1024"]);
    for Kind { name, key, certificate, .. } in KINDS {
        let (key_file, file) = (format!("{name}.key"), format!("{name}.pem"));
        let (command, rest) = key.split_first().unwrap();
        made(folder, &[&[*command, "-out", &key_file], rest].concat());
        let subject = format!("/CN={name}");
        let request =
            ["req", "-x509", "-new", "-days", "30", "-key", &key_file, "-out", &file, "-subj", &subject];
        made(folder, &[&request, *certificate].concat());
    }
    with_long_rsa_key("rsa-8448", 8448).write(folder, "rsa-8448");
}

/// Returns each kind, and the reasons for its refusal.
fn kinds() -> impl Iterator<Item = (&'static str, [Option<&'static str>; 2])> {
    let long = Some("its RSA key has 8448 bits, and must have 2048 to 8192");
    KINDS.iter().map(|kind| (kind.name, kind.said)).chain([("rsa-8448", [long, long])])
}

/// Pins a client of the kind `name` by the method `how`.
fn pin(identity: &Identity, name: &str, how: &str) -> String {
    match how {
        "sha1" => format!("thumbprints = [\"{}\"]", identity.sha1()),
        "sha256" => format!("thumbprints = [\"{}\"]", identity.sha256()),
        _ => format!("certificates = [\"{name}.pem\"]"),
    }
}

/// Returns the logged reason of the `count`th refusal for showing the certificate of `name` without proof.
fn unproven(server: &Server, name: &str, count: usize) -> String {
    let of = |entry: &&testkit::server::Entry| {
        entry.message() == "a client's certificate was shown without proof" && entry.text("of") == Some(name)
    };
    testkit::eventually(&format!("word {count} of {name}"), || {
        let log = server.log();
        let told: Vec<_> = log.iter().filter(of).collect();
        (told.len() >= count).then(|| told[count - 1].text("reason").unwrap().to_owned())
    })
}

/// Connects, and returns true on a greeting; otherwise there must be an alert.
fn gets_in(server: &Server, tls: Tls) -> bool {
    let Ok(mut connection) = Connection::open(server.address(), tls) else { return false };
    if connection.is_greeted() {
        return true;
    }
    let (said, ending) = connection.read_to_end();
    assert_eq!((said.as_slice(), ending), (&b""[..], Ending::Alert));
    false
}

/// Kinds on one server: the log shows twenty lines a second about strangers.
const AT_ONCE: usize = 4;

#[test]
fn what_is_pinned_gets_in_whatever_stands_in_it_if_its_key_can_be_proven() {
    let folder = tempfile::tempdir().unwrap();
    make_all(folder.path());
    let kinds: Vec<_> = kinds().collect();
    for how in ["sha1", "sha256", "file"] {
        for kinds in kinds.chunks(AT_ONCE) {
            let mut setup = Setup::new().server("min_tls_version = \"1.2\"");
            for (name, _) in kinds {
                let pin = pin(&Identity::read(folder.path(), name), name, how);
                setup = setup.section(&format!("[clients.{name}]\n{pin}\ncommands = [\"@ping\"]"));
                let file = format!("{name}.pem");
                fs::copy(folder.path().join(&file), setup.folder().join(&file)).unwrap();
            }
            let server = setup.start();
            for (name, said) in kinds {
                shows(&server, name, &Identity::read(folder.path(), name), *said);
            }
        }
    }
}

/// Shows the certificate of `identity` with TLS 1.2 and 1.3, without its key and, if usable, with it.
fn shows(server: &Server, name: &str, identity: &Identity, said: [Option<&str>; 2]) {
    let thief = Identity::new("thief");
    let stealing = || Tls::stealing(identity, &thief);
    let show = || if said[1].is_none() { Tls::showing(identity) } else { stealing() };
    let mut told = 0;
    for (tls, said) in [(show().only_version_1_2(), said[0]), (show(), said[1])] {
        assert_eq!(gets_in(server, tls), said.is_none(), "{name}: {said:?}");
        if let Some(words) = said {
            told += 1;
            let reason = unproven(server, name, told);
            assert!(reason.contains(words) && reason.contains(&identity.sha256()), "{name}: {reason}");
        }
    }
    // Seeing a certificate does not give away its key.
    for (tls, said) in [(stealing(), said[1]), (stealing().only_version_1_2(), said[0])] {
        assert!(!gets_in(server, tls), "{name} was stolen");
        // A wrong signature alone is logged only with the words of the alert.
        let Some(words) = said else { continue };
        told += 1;
        let reason = unproven(server, name, told);
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[test]
fn a_check_tells_whom_no_certificate_will_ever_let_in_and_why() {
    let mut setup = Setup::new();
    make_all(setup.folder());
    for (name, _) in kinds() {
        setup = setup
            .section(&format!("[clients.{name}]\ncertificates = [\"{name}.pem\"]\ncommands = [\"@ping\"]"));
    }
    setup.write();
    let told = |name: &str, how: &str, said: Option<&str>, checked: &Finished| {
        let told = format!("warning: the certificate {name}.pem of the client `{name}` will {how}: ");
        let line = checked.stderr.lines().find_map(|line| line.strip_prefix(&told));
        match said {
            None => assert_eq!(line, None, "{name} {how}"),
            Some(words) => assert!(line.is_some_and(|line| line.contains(words)), "{name}: {checked:?}"),
        }
    };
    let checked = |setup: &Setup| {
        let checked = finish(lictor(setup.folder()).arg("check"));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        checked
    };
    let (never, not_with_1_2) = ("never let it in", "not let it in with TLS 1.2");
    let by_default = checked(&setup);
    let setup = setup.server("min_tls_version = \"1.2\"");
    setup.write();
    let with_1_2 = checked(&setup);
    for (name, [with_tls_1_2, said]) in kinds() {
        told(name, never, said, &by_default);
        told(name, not_with_1_2, None, &by_default);
        told(name, never, said, &with_1_2);
        told(name, not_with_1_2, with_tls_1_2.filter(|_| said.is_none()), &with_1_2);
    }
}

#[test]
fn a_certificate_that_more_bytes_follow_is_told_for_what_it_is() {
    let setup = Setup::new();
    let identity = Identity::new("desk");
    let der = [identity.chain()[0].as_ref(), b"\0"].concat();
    let pem = pem_of(&der);
    fs::write(setup.folder().join("desk.pem"), pem).unwrap();
    let section = "[clients.desk]\ncertificates = [\"desk.pem\"]\ncommands = [\"@ping\"]";
    let setup = setup.section(section);
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    let words = "will never let it in: more bytes follow the certificate in its block";
    assert!(checked.stderr.contains(words), "{checked:?}");
}

/// Encodes these bytes as PEM, with OpenSSL.
fn pem_of(der: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("der"), der).unwrap();
    let encoded = finish(openssl(&["base64", "-in", "der"]).current_dir(folder.path()));
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", encoded.stdout)
}

#[test]
fn openssl_and_lictor_get_in_with_a_certificate_of_version_1_and_to_a_server_that_has_one() {
    let setup = Setup::new().echo();
    make_all(setup.folder());
    let own = Identity::read(setup.folder(), "version-1");
    for ending in ["pem", "key"] {
        let from = setup.folder().join(format!("critical.{ending}"));
        fs::copy(from, setup.folder().join(format!("server.{ending}"))).unwrap();
    }
    let pin = format!("sha256:{}", Identity::read(setup.folder(), "critical").sha256());
    let server = setup.client("own", &own, &["echo"]).start();
    let mut client =
        Conversation::with(&mut s_client(server.address(), server.folder(), "version-1", &["-quiet"]));
    client.hear("OK\r\n\r\n");
    client.say("echo hello\r\n\r\n");
    assert_eq!(client.hear("\r\n\r\n"), "hello\r\n\r\n");
    let address = server.address().to_string();
    let call = ["call", "--server", &address, "--pin", &pin, "--cert", "version-1.pem", "echo", "hello"];
    let called = finish(lictor(server.folder()).args(call));
    assert_eq!((called.code, called.stdout.as_str()), (Some(0), "hello\n"), "{called:?}");
}

#[test]
fn a_server_with_a_pinned_certificate_of_version_1_and_without_its_key_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    make_all(folder.path());
    let (shown, thief) = (Identity::read(folder.path(), "version-1"), Identity::new("thief"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(thief.key()).unwrap();
    let stolen = SingleCertAndKey::from(CertifiedKey::new(shown.chain(), key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(stolen));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() && connection.complete_io(&mut tcp).is_ok() {}
        !connection.is_handshaking()
    });
    let pin = format!("sha256:{}", shown.sha256());
    let call = ["call", "--server", &address, "--pin", &pin, "--cert", "version-1.pem", "echo", "hello"];
    let called = finish(lictor(folder.path()).args(call));
    assert_eq!(called.code, Some(3), "{called:?}");
    assert!(called.stderr.contains("a signature is not one of the key that it should be of"), "{called:?}");
    assert!(!serving.join().unwrap(), "the client went on");
}
