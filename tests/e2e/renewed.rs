//! `lictor cert renew`: properties that a successor takes over, and certificates found through the config.

use std::fs;
use std::path::Path;

use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::tools::{finish, openssl};

use crate::renew::{newest, renew, today};

/// Returns a certificate's subject, names and purposes, as OpenSSL shows them.
fn shown(certificate: &Path) -> String {
    let path = certificate.display().to_string();
    let names = "subjectAltName,extendedKeyUsage,nsComment";
    let shown = finish(
        openssl(&["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-ext", names, "-in"]).arg(path),
    );
    assert_eq!(shown.code, Some(0), "{shown:?}");
    shown.stdout
}

/// Makes `NAME.pem` and `NAME.key` in `folder`, as an operator does with OpenSSL.
fn make(folder: &Path, name: &str, subject: &str, extensions: &[&str]) {
    let at = |ending: &str| folder.join(format!("{name}.{ending}")).display().to_string();
    let mut command =
        openssl(&["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]);
    command.args(["-days", "30", "-subj", subject, "-keyout", &at("key"), "-out", &at("pem")]);
    command.args(extensions.iter().flat_map(|extension| ["-addext", extension]));
    let made = finish(&mut command);
    assert_eq!(made.code, Some(0), "{made:?}");
}

#[test]
fn a_successor_says_all_that_the_old_one_said() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let names = "subjectAltName=URI:spiffe://example.org/laptop,email:a@example.org,DNS:laptop.lan,IP:10.0.0.7,\
                 otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@example.org,RID:1.2.3.4";
    for (name, subject, extensions) in [
        (
            "all",
            "/C=DE/O=Example Ltd/OU=Office/emailAddress=a@example.org/CN=another name",
            &[names, "extendedKeyUsage=clientAuth,serverAuth", "nsComment=made by hand"][..],
        ),
        ("none", "/CN=none", &[]),
        ("critical", "/DC=org/DC=example/CN=x", &["subjectAltName=critical,URI:https://example.org/x"]),
    ] {
        make(&certs, name, subject, extensions);
        let renewed = renew(folder.path(), &[name]);
        if name == "critical" {
            // Two parts of one kind.
            assert_eq!(renewed.code, Some(2), "{renewed:?}");
            assert!(
                renewed.stderr.contains("its subject (DC=org, DC=example, CN=x) can't be kept"),
                "{renewed:?}"
            );
            let commands = renewed.stderr.lines().map(str::trim).filter(|line| line.starts_with("openssl "));
            let commands: Vec<_> = commands.collect();
            assert_eq!(commands.len(), 2, "{renewed:?}");
            for command in commands {
                let words: Vec<_> = command.split(' ').skip(1).collect();
                let done = finish(openssl(&words).current_dir(folder.path()));
                assert_eq!(done.code, Some(0), "{done:?}");
            }
            let renewed = renew(folder.path(), &[name]);
            assert_eq!((renewed.code, &*renewed.stderr), (Some(0), ""), "{renewed:?}");
        } else {
            assert_eq!(renewed.code, Some(0), "{renewed:?}");
        }
        let new = newest(folder.path(), name);
        assert_ne!(new, name);
        assert_eq!(shown(&certs.join(format!("{new}.pem"))), shown(&certs.join(format!("{name}.pem"))));
    }
}

#[test]
fn the_servers_certificate_is_found_by_the_paths_of_the_config() {
    let setup = Setup::new();
    setup.write();
    let folder = setup.folder();
    let text = fs::read_to_string(folder.join("server.toml")).unwrap();
    for (certificate, key) in
        [("tls/server.pem", "tls/server.key"), ("certs/fullchain.crt", "certs/privkey.pem")]
    {
        let at = |file: &str| folder.join(file);
        fs::create_dir(at(certificate).parent().unwrap()).unwrap();
        fs::copy(at("server.pem"), at(certificate)).unwrap();
        fs::copy(at("server.key"), at(key)).unwrap();
        let told = text.replace("\"server.pem\"", &format!("{certificate:?}"));
        let told = told.replace("\"server.key\"", &format!("{key:?}"));
        fs::write(at("server.toml"), &told).unwrap();
        let renewed = renew(folder, &["server"]);
        assert_eq!(renewed.code, Some(0), "{renewed:?}");
        let stem = format!("{}.{}", certificate.rsplit_once('.').unwrap().0, today());
        let lines = format!("certificate = \"{stem}.pem\"\n   private_key = \"{stem}.key\"\n");
        assert!(renewed.stdout.contains(&lines), "{renewed:?}");
        let again = renew(folder, &["server"]);
        assert!(renewed.stdout.ends_with(&again.stdout) && !again.stdout.contains("made "), "{again:?}");
        let told = told.replace(&format!("{certificate:?}"), &format!("\"{stem}.pem\""));
        fs::write(at("server.toml"), told.replace(&format!("{key:?}"), &format!("\"{stem}.key\""))).unwrap();
        let done = renew(folder, &["server"]);
        assert!(done.code == Some(0) && done.stdout.contains("nothing left to do"), "{done:?}");
        let another = renew(folder, &["server", "--again"]);
        assert!(another.stdout.contains(&format!("made {stem}-2.pem and {stem}-2.key")), "{another:?}");
    }
    fs::create_dir(folder.join("empty")).unwrap();
    let elsewhere = renew(folder, &["server", "--dir", "empty"]);
    assert!(elsewhere.stderr.contains("leave --dir out: server.toml says where"), "{elsewhere:?}");
    let unknown = renew(&folder.join("empty"), &["server"]);
    assert!(unknown.stderr.contains("name the server's config with --config"), "{unknown:?}");
    assert!(
        [elsewhere, unknown].iter().all(|told| told.code == Some(2) && !told.stderr.contains("cert new"))
    );
}

#[test]
fn a_client_that_is_switched_off_is_told_as_such_and_found_by_the_paths_of_the_config() {
    let off = "[clients.\"web-01.lan\"]\nenabled = false\ncertificates = [\"keys/web-01.lan.pem\"]\ncommands = [\"echo\"]";
    let setup = Setup::new().echo().section(off);
    setup.write();
    let keys = setup.folder().join("keys");
    fs::create_dir(&keys).unwrap();
    Identity::new("web-01.lan").write(&keys, "web-01.lan");
    let renewed = renew(setup.folder(), &["web-01.lan"]);
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    let new = format!("keys/web-01.lan.{}.pem", today());
    for words in [
        format!("server.toml: `clients.\"web-01.lan\".certificates` has \"{new}\" beside"),
        "the client web-01.lan is disabled, and neither pin is in force".to_owned(),
        "`enabled = false` from `clients.\"web-01.lan\"`".to_owned(),
        "from `clients.\"web-01.lan\".certificates`".to_owned(),
    ] {
        assert!(renewed.stdout.contains(&words), "{words}: {renewed:?}");
    }
    assert!(!renewed.stdout.contains("put both pins in force"), "{renewed:?}");
}
