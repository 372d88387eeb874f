//! The server's files, if others may write, own or read them.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use testkit::certs::{Authority, Identity};
use testkit::components::Minimal;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};

use crate::assert_serves;
use crate::files::{STRANGER, check, is_root, set_mode, setup_with};

/// Files of [`setup_with`] that the server works with, besides its state.
const WORKED_BY: [&str; 5] = ["server.toml", "p.wasm", "server.pem", "ca.pem", "ca.crl"];

/// Sets up an authority and its revocation list.
pub fn with_authority(setup: Setup) -> Setup {
    let authority = Authority::new("ca");
    fs::write(setup.folder().join("ca.pem"), authority.pem()).unwrap();
    fs::write(setup.folder().join("ca.crl"), authority.revoking(&[])).unwrap();
    setup.section("[identity]\nauthorities = [\"ca.pem\"]\nrevocation_lists = [\"ca.crl\"]")
}

#[test]
fn what_others_may_write_is_not_served() {
    let made = |setup: &Setup| {
        fs::write(setup.folder().join("state/a.db"), "").unwrap();
        setup.write()
    };
    for file in WORKED_BY.into_iter().chain(["state/a.db"]) {
        let setup = setup_with("[plugins.p.grants]\nkeyvalue = [\"default\"]");
        let config = made(&setup);
        let path = setup.folder().join(file);
        set_mode(&path, 0o666);
        for verb in ["check", "serve"] {
            let done = finish(lictor(setup.folder()).arg(verb).arg("--config").arg(&config));
            assert_eq!(done.code, Some(2), "{verb} with {file}: {done:?}");
            for word in ["its mode is 666", "chmod go-w", file] {
                assert!(done.stderr.contains(word), "{verb} with {file}: {}", done.stderr);
            }
        }
        set_mode(&path, 0o664);
        let done = finish(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
        assert!(done.stderr.contains("its group may write to it: its mode is 664"), "{file}: {done:?}");
        if is_root() {
            set_mode(&path, 0o644);
            chown(&path, Some(STRANGER), None).unwrap();
            let done = finish(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
            assert_eq!(done.code, Some(2), "{file}: {done:?}");
            assert!(done.stderr.contains("it belongs to user 65534"), "{file}: {}", done.stderr);
        }
    }
}

#[test]
fn what_others_may_write_is_not_reloaded() {
    let tester = Identity::new("tester");
    let setup = with_authority(Setup::new().master("tester", &tester).echo().hostile(""));
    let component = Minimal::new(&["p"]).write(setup.folder(), "p");
    let server = setup.plugin("p", &component, &["p"], "").start();
    let mut connection = server.connect(&tester);
    for file in WORKED_BY {
        let path = server.folder().join(file);
        let mut refused = |why: &str| {
            let frame = connection.ask_framed("@reload");
            assert_eq!(frame.failure().0, "conflict", "{file}: {frame:?}");
            server.wait_for_log(&format!("{why} of {file}"), |entry| {
                entry.text("fault").is_some_and(|fault| fault.contains(why) && fault.contains(file))
            });
        };
        set_mode(&path, 0o666);
        refused("its mode is 666");
        set_mode(&path, 0o644);
        if is_root() {
            chown(&path, Some(STRANGER), None).unwrap();
            refused("it belongs to user 65534");
            chown(&path, Some(0), None).unwrap();
        }
        assert_eq!(connection.ask_framed("@reload").status, "OK", "{file}");
    }
    assert_serves(&server, &tester);
}

#[test]
fn a_key_that_another_user_owns_is_told() {
    if !is_root() {
        return;
    }
    let setup = setup_with("");
    setup.write();
    chown(setup.folder().join("server.key"), Some(STRANGER), None).unwrap();
    let told = check(&setup).stderr;
    assert!(told.contains("another user can use the server's private key"), "{told}");
}

#[test]
fn secrets_in_a_config_that_all_may_read_are_told() {
    let setup = setup_with("[plugins.p.config]\ntoken = \"hunter2\"");
    let config = setup.write();
    for (mode, is_told) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        set_mode(&config, mode);
        let done = finish(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
        assert!(!done.stderr.contains("hunter2"), "{done:?}");
        let told = done.stderr.contains("can read `plugins.p.config`");
        assert_eq!(told, is_told, "{mode:o}: {}", done.stderr);
    }
}

/// Kubernetes mounts secrets and config maps as folders of mode 777, in which each name is a link through
/// another link. Cargo gives a component two names.
#[test]
fn the_folders_of_kubernetes_and_the_outputs_of_cargo_are_taken() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    let component = setup.folder().join("linked.wasm");
    Minimal::new(&["p"]).write(setup.folder(), "p");
    fs::hard_link(setup.folder().join("p.wasm"), &component).unwrap();
    let setup = setup.plugin("p", &component, &["p"], "");
    let mounted = setup.folder().join("mounted");
    fs::create_dir_all(mounted.join("..2026_01")).unwrap();
    symlink("..2026_01", mounted.join("..data")).unwrap();
    for file in ["server.pem", "server.key"] {
        fs::rename(setup.folder().join(file), mounted.join("..2026_01").join(file)).unwrap();
        symlink(format!("..data/{file}"), mounted.join(file)).unwrap();
        symlink(format!("mounted/{file}"), setup.folder().join(file)).unwrap();
    }
    for folder in ["..2026_01", ""] {
        set_mode(&mounted.join(folder), 0o777);
    }
    let server = setup.start();
    assert_eq!(server.connect(&tester).ask_framed("p").status, "OK");
    assert_serves(&server, &tester);
}
