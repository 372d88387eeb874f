//! `lictor cert renew`: the steps from a certificate to its successor, none of them done twice.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use testkit::certs::{Authority, Identity};
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::systemd::is_root;

pub fn renew(folder: &Path, arguments: &[&str]) -> Finished {
    finish(lictor(folder).args(["cert", "renew"]).args(arguments))
}

/// Returns the name, without its ending, of the newest files of `name` in `certs`.
pub fn newest(folder: &Path, name: &str) -> String {
    let files = fs::read_dir(folder.join("certs")).unwrap().map(|file| file.unwrap().file_name());
    let files = files.map(|file| file.into_string().unwrap());
    let found = files.filter_map(|file| Some(file.strip_suffix(".pem")?.to_owned()));
    found.filter(|file| file.starts_with(name)).max().unwrap()
}

/// Starts a server with `laptop` pinned by file and `desk` by thumbprint, both with files in `certs`;
/// `tester` may do anything.
fn server() -> (Server, Identity) {
    let (tester, desk) = (Identity::new("tester"), Identity::new("desk"));
    let setup = Setup::new().echo().master("tester", &tester);
    let certs = setup.folder().join("certs");
    fs::create_dir(&certs).unwrap();
    Identity::new("laptop").write(&certs, "laptop");
    desk.write(&certs, "desk");
    let laptop = "# the one in the office\n[clients.laptop]\ncertificates = [ # by file\n  \"certs/laptop.pem\", # old\n]\n\
                  commands = [\"echo\"]";
    let server = setup.section(laptop).client("desk", &desk, &["echo"]).start();
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o640)).unwrap();
    (server, tester)
}

fn call(server: &Server, name: &str) -> Finished {
    let address = server.address().to_string();
    let certificate = format!("certs/{name}.pem");
    let call =
        ["call", "--config", "server.toml", "--server", &address, "--cert", &certificate, "echo", "hello"];
    finish(lictor(server.folder()).args(call))
}

#[test]
fn a_clients_certificate_and_its_successor_are_both_pinned_until_the_old_line_goes() {
    let (server, tester) = server();
    let before = fs::read_to_string(server.config()).unwrap();
    for (name, key) in [("laptop", "certificates"), ("desk", "thumbprints")] {
        let renewed = renew(server.folder(), &[name]);
        assert_eq!(renewed.code, Some(0), "{renewed:?}");
        let new = newest(server.folder(), name);
        assert_ne!(new, name);
        assert!(renewed.stdout.contains(&format!("made certs/{new}.pem and certs/{new}.key")), "{renewed:?}");
        let told = format!("server.toml: `clients.{name}.{key}` has \"");
        assert!(renewed.stdout.contains(&told), "{renewed:?}");
        assert!(renewed.stdout.contains(&format!("from `clients.{name}.{key}`")), "{renewed:?}");
        let mode =
            |file: &str| fs::metadata(server.folder().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&format!("certs/{new}.key")), mode("server.toml")), (0o600, 0o640));
        let key = fs::read(server.folder().join(format!("certs/{new}.key"))).unwrap();
        let text = fs::read_to_string(server.config()).unwrap();

        // Running again makes nothing, and names the same next steps.
        let again = renew(server.folder(), &[name]);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(!again.stdout.contains("made ") && renewed.stdout.ends_with(&again.stdout), "{again:?}");
        assert_eq!(fs::read(server.folder().join(format!("certs/{new}.key"))).unwrap(), key);
        assert_eq!(fs::read_to_string(server.config()).unwrap(), text);
    }
    let text = fs::read_to_string(server.config()).unwrap();
    let (laptop, desk) = (newest(server.folder(), "laptop"), newest(server.folder(), "desk"));
    let of_desk = Identity::read(&server.folder().join("certs"), &desk).sha256();
    let without =
        text.replace(&format!(", \"certs/{laptop}.pem\""), "").replace(&format!(", \"{of_desk}\""), "");
    assert_eq!(without, before, "comments and all else stay");

    let mut operator = server.connect(&tester);
    let changed = operator.ask("@reload");
    assert!(changed.contains("clients.laptop.thumbprints") && changed.contains("clients.desk.thumbprints"));
    for name in ["laptop", &laptop, "desk", &desk] {
        assert_eq!(call(&server, name).stdout, "hello\n", "{name}");
    }
    server.edit(|text| text.replace("\"certs/laptop.pem\", ", ""));
    operator.ask("@reload");
    assert_eq!((call(&server, "laptop").code, call(&server, &laptop).code), (Some(3), Some(0)));
}

#[test]
fn a_renewal_that_broke_off_goes_on_where_it_did() {
    let (server, _) = server();
    assert_eq!(renew(server.folder(), &["laptop"]).code, Some(0));
    let (new, text) = (newest(server.folder(), "laptop"), fs::read_to_string(server.config()).unwrap());
    server.edit(|text| text.replace(&format!(", \"certs/{new}.pem\""), ""));
    let resumed = renew(server.folder(), &["laptop"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert!(!resumed.stdout.contains("made "), "{resumed:?}");
    assert_eq!(fs::read_to_string(server.config()).unwrap(), text);

    // A completed renewal.
    server.edit(|text| text.replace("\"certs/laptop.pem\", ", ""));
    let done = renew(server.folder(), &["laptop"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        done.stdout,
        format!(
            "certs/{new}.pem is in use and was made today: nothing left to do (--again creates another)\n"
        )
    );
}

/// As in the installation in docs/operations.md, where the state, the cache and the server's key belong to
/// the server's user.
#[test]
fn root_renews_what_another_user_serves_with() {
    if !is_root() {
        return;
    }
    let setup = Setup::new().section("[state]\nengine = \"sqlite\"\npath = \"state/state.db\"");
    let setup = setup.client("desk", &Identity::new("desk"), &["echo"]).echo();
    setup.write();
    let folder = setup.folder();
    fs::create_dir(folder.join("state")).unwrap();
    fs::write(folder.join("state/state.db"), "").unwrap();
    fs::create_dir(folder.join("certs")).unwrap();
    finish(lictor(folder).args(["cert", "new", "laptop"]));
    let config = folder.join("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    let laptop = "[clients.laptop]\ncertificates = [\"certs/laptop.pem\"]\ncommands = [\"echo\"]\n";
    fs::write(&config, text + laptop).unwrap();
    const NOBODY: u32 = 65534;
    for file in ["state", "state/state.db", "server.key"] {
        chown(folder.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for arguments in [&["laptop"][..], &["server", "--dir", "."]] {
        let renewed = renew(folder, arguments);
        assert_eq!(renewed.code, Some(0), "{renewed:?}");
        assert!(
            renewed.stdout.contains("as the server's user, run `lictor check --config server.toml`"),
            "{renewed:?}"
        );
    }
    let made = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let key = made.filter(|file| file.file_name().to_string_lossy().starts_with("server.2"));
    let key = key.map(|file| file.path()).find(|file| file.extension().is_some_and(|ending| ending == "key"));
    assert_eq!(
        key.unwrap().metadata().unwrap().uid(),
        NOBODY,
        "the new key is its user's, as the old one is"
    );
    // A check by root has to be repeated as that user.
    let checked = finish(lictor(folder).arg("check"));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("`runuser -u \"$(id -nu 65534)\" -- lictor …`"), "{checked:?}");
    assert!(!checked.stderr.contains("`chown root state/state.db`, or"), "{checked:?}");
}

#[test]
fn a_servers_certificate_is_made_and_the_way_there_is_told() {
    let setup = Setup::new();
    setup.write();
    let folder = setup.folder();
    let renewed = renew(folder, &["server", "--dir", "."]);
    // Made by a test, for `localhost`, and for servers and clients alike.
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    let made = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let new = made.filter(|file| file.starts_with("server.2") && file.ends_with(".pem")).max().unwrap();
    let stem = new.strip_suffix(".pem").unwrap();
    for words in [
        format!("known_servers`,\n   ADDRESS sha256:{}\n", Identity::read(folder, stem).sha256()),
        format!("certificate = \"{new}\"\n   private_key = \"{stem}.key\"\n"),
    ] {
        assert!(renewed.stdout.contains(&words), "{words}: {renewed:?}");
    }
    let shown = finish(lictor(folder).args(["cert", "thumbprint", &new]));
    assert!(shown.stdout.contains("subject  CN=localhost"), "{shown:?}");
    let again = renew(folder, &["server", "--dir", "."]);
    assert!(renewed.stdout.ends_with(&again.stdout) && !again.stdout.contains("made "), "{again:?}");
    let text = fs::read_to_string(folder.join("server.toml")).unwrap();
    let text = text.replace("\"server.pem\"", &format!("{new:?}"));
    fs::write(folder.join("server.toml"), text.replace("\"server.key\"", &format!("\"{stem}.key\"")))
        .unwrap();
    assert_eq!(finish(lictor(folder).arg("check")).code, Some(0));
}

#[test]
fn what_cannot_be_renewed_is_told_why_and_where_no_config_is_the_pin_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, path) = (folder.path().join("certs"), folder.path());
    fs::create_dir(&certs).unwrap();
    let missing = renew(path, &["laptop"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("there is no laptop.pem in certs"), "{missing:?}");
    Authority::new("Root").issue("ci", "spiffe://example.org/ci").write(&certs, "ci");
    let signed = renew(path, &["ci"]);
    assert_eq!(signed.code, Some(2), "{signed:?}");
    assert!(signed.stderr.contains("certs/ci.pem is signed by an authority"), "{signed:?}");

    let old = Identity::new("laptop");
    old.write(&certs, "laptop");
    let renewed = renew(path, &["laptop"]);
    let new = Identity::read(&certs, &newest(path, "laptop"));
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    for words in [old.sha256(), new.sha256()] {
        assert!(renewed.stdout.contains(&format!("\"{words}\"")), "{renewed:?}");
    }
    let again = renew(path, &["laptop"]);
    assert!(renewed.stdout.ends_with(&again.stdout) && !again.stdout.contains("made "), "{again:?}");

    // A server's certificate must not become a client's.
    finish(lictor(path).args(["cert", "new", "--server", "web", "--san", "localhost"]));
    let web = renew(path, &["web"]);
    assert_eq!(web.code, Some(2), "{web:?}");
    assert!(
        web.stderr.contains("this is the certificate of a server: name its config by --config"),
        "{web:?}"
    );

    let setup = Setup::new();
    setup.write();
    fs::create_dir(setup.folder().join("certs")).unwrap();
    Identity::new("nobody").write(&setup.folder().join("certs"), "nobody");
    let nobodys = renew(setup.folder(), &["nobody"]);
    assert_eq!(nobodys.code, Some(2), "{nobodys:?}");
    assert!(nobodys.stderr.contains("no client of server.toml pins certs/nobody.pem"), "{nobodys:?}");
}

/// Returns today's date, as in the names of new files.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

#[test]
fn parts_of_files_stop_no_renewal() {
    let (server, _) = server();
    let at = |file: String| server.folder().join("certs").join(file);
    fs::write(at(format!("laptop.{}.key", today())), "").unwrap();
    fs::write(at(format!("laptop.{}-2.key", today())), "-----BEGIN PRIVATE KEY-----\nMIGH").unwrap();
    let renewed = renew(server.folder(), &["laptop"]);
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    let new = format!("laptop.{}-3", today());
    assert!(renewed.stdout.contains(&format!("made certs/{new}.pem and certs/{new}.key")), "{renewed:?}");
    let left = format!("certs/laptop.{}.key is left unchanged: a key without its certificate", today());
    assert!(renewed.stderr.contains(&left), "{renewed:?}");
    let again = renew(server.folder(), &["laptop"]);
    assert!(again.code == Some(0) && renewed.stdout.ends_with(&again.stdout), "{again:?}");
    assert_eq!(fs::read(at(format!("laptop.{}.key", today()))).unwrap(), b"");

    fs::write(at(format!("desk.{}.pem", today())), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let broken = renew(server.folder(), &["desk"]);
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.stderr.contains("if nothing uses it, delete it, and run this again"), "{broken:?}");
}

#[test]
fn another_is_made_on_the_same_day_where_that_is_asked_for() {
    let (server, tester) = server();
    renew(server.folder(), &["laptop"]);
    let first = newest(server.folder(), "laptop");
    server.edit(|text| text.replace("\"certs/laptop.pem\", ", ""));
    let done = renew(server.folder(), &["laptop"]);
    assert!(done.stdout.contains("nothing left to do (--again creates another)"), "{done:?}");

    let again = renew(server.folder(), &["laptop", "--again"]);
    let second = newest(server.folder(), "laptop");
    assert_eq!((again.code, &*second), (Some(0), &*format!("{first}-2")), "{again:?}");
    let takes = format!("delete \"certs/{first}.pem\" from `clients.laptop.certificates`");
    assert!(again.stdout.contains(&takes), "{again:?}");
    let repeated = renew(server.folder(), &["laptop"]);
    assert!(again.stdout.ends_with(&repeated.stdout) && !repeated.stdout.contains("made "), "{repeated:?}");
    server.connect(&tester).ask("@reload");
    assert_eq!((call(&server, &first).code, call(&server, &second).code), (Some(0), Some(0)));

    // Before the first is removed: all but the newest have to go.
    let third = renew(server.folder(), &["laptop", "--again"]);
    for old in [&first, &second] {
        assert!(third.stdout.contains(&format!("\"certs/{old}.pem\" from `clients.laptop")), "{third:?}");
    }
    assert_eq!(newest(server.folder(), "laptop"), format!("{first}-3"));
}

#[test]
fn no_certificate_is_pinned_whose_key_is_not_there() {
    let (server, _) = server();
    renew(server.folder(), &["laptop"]);
    let new = newest(server.folder(), "laptop");
    let key = server.folder().join(format!("certs/{new}.key"));
    // Moved to the client's machine.
    let held = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let moved = renew(server.folder(), &["laptop"]);
    assert!(moved.code == Some(0) && !moved.stdout.contains("move "), "{moved:?}");
    assert!(moved.stdout.contains(&format!("which is no longer in certs/{new}.key")), "{moved:?}");

    server.edit(|text| text.replace(&format!(", \"certs/{new}.pem\""), ""));
    let text = fs::read_to_string(server.config()).unwrap();
    let gone = renew(server.folder(), &["laptop"]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
    assert!(gone.stderr.contains(&format!("certs/{new}.key: there is no such file")), "{gone:?}");
    fs::copy(server.folder().join("certs/desk.key"), &key).unwrap();
    let others = renew(server.folder(), &["laptop"]);
    assert_eq!(others.code, Some(2), "{others:?}");
    assert!(others.stderr.contains("the private key is not the certificate's"), "{others:?}");
    assert_eq!(fs::read_to_string(server.config()).unwrap(), text);

    fs::write(&key, held).unwrap();
    let asked = renew(server.folder(), &["laptop", "--days", "90"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let words =
        format!("certs/{new}.pem already exists, and is valid for 825 days, not 90: --again creates another");
    assert!(asked.stderr.contains(&words), "{asked:?}");
    let as_asked = renew(server.folder(), &["laptop", "--days", "825"]);
    assert_eq!((as_asked.code, &*as_asked.stderr), (Some(0), ""), "{as_asked:?}");
}
