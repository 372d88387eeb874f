//! Messages of `lictor` that tell a newcomer what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use testkit::tools::{finish, lictor, openssl};

use crate::initialized::{Serving, initialized};

#[test]
fn who_may_not_do_what_operators_do_is_told_how_to_allow_it() {
    let (folder, port) = initialized();
    let _serving = Serving::begin(folder.path(), port);
    for (verb, command) in
        [(&["reload"][..], "@reload"), (&["status"], "@status"), (&["call", "@kick", "c1"], "@kick")]
    {
        let (verb, arguments) = verb.split_first().unwrap();
        let told = finish(lictor(folder.path()).args([verb, "--cert", "certs/dev.pem"]).args(arguments));
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{told:?}");
        let advice = format!("(forbidden, not-run); on the server, `lictor check --as CLIENT {command}`");
        assert!(told.stderr.contains(&advice), "{told:?}");
    }
}

#[test]
fn init_that_has_nothing_to_make_says_so() {
    let (folder, _) = initialized();
    let again = finish(lictor(folder.path()).args(["init", "--missing-only"]));
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.starts_with("nothing is missing\n"), "{again:?}");
}

#[test]
fn faults_of_the_old_config_are_told_for_what_they_are() {
    let (folder, _) = initialized();
    fs::write(folder.path().join("old.toml"), "[server]\nlisten = 5\n").unwrap();
    let check = |old: &str| finish(lictor(folder.path()).args(["check", "--diff", old]));
    let faulty = check("old.toml");
    assert_eq!(faulty.code, Some(2), "{faulty:?}");
    let words = "lictor: the old config, old.toml, which --diff names, has faults:\n";
    assert!(faulty.stderr.contains(words) && faulty.stderr.contains("old.toml:2"), "{faulty:?}");
    let missing = check("nowhere.toml");
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("there is no nowhere.toml, which --diff names"), "{missing:?}");
    assert!(!missing.stderr.contains("--config"), "{missing:?}");
}

#[test]
fn a_config_that_all_may_write_to_is_refused_and_not_unreadable() {
    let (folder, _) = initialized();
    let config = folder.path().join("server.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let checked = finish(lictor(folder.path()).arg("check"));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("the config file is refused: users other than"), "{checked:?}");
}

#[test]
fn a_certificate_that_lets_nobody_in_is_told_beside_its_thumbprint() {
    let folder = TempDir::new().unwrap();
    let request =
        ["req", "-x509", "-newkey", "rsa:1024", "-noenc", "-subj", "/CN=weak", "-keyout", "weak.key"];
    let made = finish(openssl(&request).args(["-out", "weak.pem"]).current_dir(folder.path()));
    assert_eq!(made.code, Some(0), "{made:?}");
    let shown = finish(lictor(folder.path()).args(["cert", "thumbprint", "weak.pem"]));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let words = "weak.pem: the server will never accept this certificate: its RSA key has 1024 bits";
    assert!(shown.stdout.contains("  sha256   ") && shown.stderr.contains(words), "{shown:?}");
}

#[test]
fn a_config_that_lets_nobody_in_is_told_so() {
    let (folder, _) = initialized();
    let config = folder.path().join("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (before, after) = text.split_once("[clients.dev]").unwrap();
    let plugins = &after[after.find("[plugins.echo]").unwrap()..];
    fs::write(&config, format!("{before}{plugins}")).unwrap();
    let checked = finish(lictor(folder.path()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.stderr.contains("no client is named, so nobody can connect: `lictor client add NAME`"),
        "{checked:?}"
    );
}
