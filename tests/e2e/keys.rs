//! Keys, chains and names of certificates made by other tools, and the words about unusable ones.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, SanType};
use testkit::certs::{Authority, Identity};
use testkit::client::{Connection, Tls};
use testkit::server::{Setup, shared};
use testkit::tools::{finish, lictor, openssl};

/// Runs OpenSSL in `folder`, which must succeed.
fn made(folder: &Path, arguments: &[&str]) {
    let made = finish(openssl(arguments).current_dir(folder));
    assert_eq!(made.code, Some(0), "{arguments:?}: {made:?}");
}

/// Files `NAME.pem` and `NAME.key` that are unusable, and the words about each.
const FAULTS: &[(&str, &[&str])] = &[
    ("other", &["the private key is not the certificate's; where two belong together, `openssl x509"]),
    (
        "order",
        &["the private key is that of certificate 2 in the file, and not of the first; put that one first"],
    ),
    ("encrypted", &["is encrypted", "`openssl pkey -in FILE -out FILE.key` writes it without one"]),
    ("traditional", &["is encrypted", "`openssl pkey -in FILE -out FILE.key` writes it without one"]),
    ("dsa", &["its key is DSA, and not RSA of 2048 to 8192 bits", "`lictor cert new NAME` makes"]),
    ("dsa-old", &["line 1: the private key that begins here is DSA", "`lictor cert new NAME` makes"]),
    ("ed448", &["the private key is Ed448, and not RSA of 2048", "`lictor cert new NAME` makes"]),
    ("short", &["its RSA key has 1024 bits, and must have 2048 to 8192", "`lictor cert new NAME` makes"]),
    ("swapped", &["this file holds a private key, but no certificate", "of its key may be swapped"]),
    ("ssh", &["is in OpenSSH's own form; `ssh-keygen -p -m PKCS8 -f FILE`"]),
    ("bundle", &["this file is PKCS#12, not PEM; `openssl pkcs12 -in FILE -nocerts -noenc -out FILE.key`"]),
];

fn make_faults(folder: &Path) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let root = Authority::new("Root");
    root.issue("order", "spiffe://example.org/order").write(folder, "order");
    write("order.pem", &(root.pem() + &read("order.pem")));
    for name in ["other", "encrypted", "traditional", "ed448", "ssh", "bundle", "dsa-old", "swapped"] {
        Identity::new(name).write(folder, name);
    }
    Identity::new("somebody else").write(folder, "somebody");
    fs::copy(folder.join("somebody.key"), folder.join("other.key")).unwrap();
    fs::copy(folder.join("swapped.key"), folder.join("swapped.pem")).unwrap();
    let bundle = [
        "pkcs12",
        "-export",
        "-in",
        "bundle.pem",
        "-inkey",
        "bundle.key",
        "-out",
        "p12",
        "-passout",
        "pass:",
    ];
    made(folder, &bundle);
    fs::rename(folder.join("p12"), folder.join("bundle.key")).unwrap();
    let secret = ["-aes256", "-passout", "pass:secret"];
    made(folder, &[&["pkey", "-in", "somebody.key", "-out", "encrypted.key"], &secret[..]].concat());
    let old = ["ec", "-in", "somebody.key", "-out", "traditional.key"];
    made(folder, &[&old, &secret[..]].concat());
    made(folder, &["dsaparam", "-out", "dsa.params", "1024"]);
    made(folder, &["genpkey", "-paramfile", "dsa.params", "-out", "dsa.key"]);
    made(folder, &["genrsa", "-out", "short.key", "1024"]);
    for name in ["dsa", "short"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        made(folder, &["req", "-x509", "-new", "-key", &key, "-subj", "/CN=x", "-out", &certificate]);
    }
    made(folder, &["dsa", "-in", "dsa.key", "-out", "dsa-old.key"]);
    made(folder, &["genpkey", "-algorithm", "ED448", "-out", "ed448.key"]);
    let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";
    write(
        "ssh.key",
        &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"),
    );
}

#[test]
fn a_key_that_does_not_do_is_told_with_what_mends_it_on_both_ends_and_once() {
    let setup = Setup::new();
    make_faults(setup.folder());
    let config = fs::read_to_string(setup.write()).unwrap();
    for (name, words) in FAULTS {
        let named = config.replace("\"server.", &format!("\"{name}."));
        fs::write(setup.folder().join("server.toml"), named).unwrap();
        let checked = finish(lictor(setup.folder()).arg("check"));
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let target = ["call", "--server", "127.0.0.1:1", "--pin", &"ab".repeat(32)];
        let called =
            finish(lictor(setup.folder()).args(target).args(["--cert", &pem, "--key", &key, "@ping"]));
        for said in [&checked, &called] {
            assert_eq!(said.code, Some(2), "{name}: {said:?}");
            for words in *words {
                assert_eq!(said.stderr.matches(words).count(), 1, "{name}: {words}: {said:?}");
            }
        }
    }
}

#[test]
fn a_chain_that_is_not_in_order_is_served_and_told_with_the_right_order() {
    let setup = Setup::new();
    let root = Authority::new("Root");
    let middle = root.below("Middle", None);
    middle.issue("localhost", "spiffe://example.org/server").write(setup.folder(), "server");
    let own = fs::read_to_string(setup.folder().join("server.pem")).unwrap();
    setup.write();
    for (rest, words) in [
        (middle.pem() + &root.pem(), None),
        (
            root.pem() + &middle.pem(),
            Some([
                "certificate 1 (localhost) is followed by certificate 2 (Root), which did not sign it",
                "write those of the file in the order 1, 3, 2\n",
            ]),
        ),
        (
            Authority::new("Stranger").pem() + &middle.pem(),
            Some([
                "certificate 1 (localhost) is followed by certificate 2 (Stranger), which did not sign it",
                "in the order 1, 3, and leave out certificate 2 (Stranger), which is no part of it\n",
            ]),
        ),
    ] {
        fs::write(setup.folder().join("server.pem"), own.clone() + &rest).unwrap();
        let checked = finish(lictor(setup.folder()).arg("check"));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let told = checked.stderr.contains("the server's certificate chain is out of order");
        assert_eq!(told, words.is_some(), "{checked:?}");
        for words in words.iter().flatten() {
            assert!(checked.stderr.contains(words), "{words}: {checked:?}");
        }
    }
    // If another certificate precedes the server's own, the advice is not to leave its own out.
    fs::write(setup.folder().join("server.pem"), middle.pem() + &own).unwrap();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("write those of the file in the order 2, 1\n"), "{checked:?}");
    assert!(!checked.stderr.contains("leave out"), "{checked:?}");
}

/// A certificate that a pin accepts may be refused by clients that trust an authority.
#[test]
fn a_servers_certificate_that_its_authoritys_clients_refuse_is_told_of() {
    let setup = Setup::new();
    setup.write();
    let root = Authority::new("Root");
    let named = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    type Change<'a> = &'a dyn Fn(&mut CertificateParams);
    let check = |change: Change<'_>| {
        let change = |params: &mut CertificateParams| {
            named(params);
            change(params);
        };
        root.issue_with("server", &[], change).write(setup.folder(), "server");
        let checked = finish(lictor(setup.folder()).arg("check"));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        checked.stderr
    };
    let refused = "clients that trust the authority which signed the server's certificate will refuse it";
    assert!(!check(&|_| {}).contains(refused));
    let critical = || {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        extension
    };
    let cases: [(&str, Change<'_>); 4] = [
        ("it has no DNS name and no address", &|params| params.subject_alt_names.clear()),
        ("its extended key usage is not for servers", &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("it is marked as an authority", &|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        ("it has a critical extension that is not understood", &|params| {
            params.custom_extensions.push(critical());
        }),
    ];
    for (words, change) in cases {
        let told = check(change);
        assert!(told.contains(refused) && told.contains(words), "{words}: {told}");
    }
}

#[test]
fn names_are_read_in_the_encodings_of_other_times() {
    let folder = tempfile::tempdir().unwrap();
    made(
        folder.path(),
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "name.key"],
    );
    // T61String, which holds Latin-1, BMPString, UniversalString, UTF8String.
    for mask in ["0x0004", "0x0800", "0x0100", "0x2000"] {
        let config = format!(
            "[req]\ndistinguished_name = d\nprompt = no\nutf8 = yes\nstring_mask = MASK:{mask}\n[d]\nO = Käse\nCN = Jürgen\n"
        );
        fs::write(folder.path().join("name.cnf"), config).unwrap();
        let request = ["req", "-x509", "-new", "-key", "name.key", "-config", "name.cnf", "-out", "name.pem"];
        made(folder.path(), &request);
        let identity = Identity::read(folder.path(), "name");
        let shown = finish(lictor(folder.path()).args(["cert", "thumbprint", "name.pem"]));
        assert!(shown.stdout.contains("  subject  O=Käse, CN=Jürgen\n"), "{mask}: {shown:?}");
        let mut connection = Connection::open(shared().server.address(), Tls::showing(&identity)).unwrap();
        let (said, _) = connection.read_to_end();
        let told = format!("certificate (Jürgen) thumbprint '{}' is unknown", identity.sha1());
        assert_eq!(String::from_utf8(said).unwrap(), format!("ERR {told}\r\n\r\n"), "{mask}");
        shared().server.wait_for_log("the refusal", |entry| entry.text("reason") == Some(&told));
    }
}
