//! Paths in the config file that lead to secrets, by any detour. Paths that a plugin uses at run time are
//! covered by the end-to-end tests `directories` and `reach`.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::certs::Identity;
use testkit::components::Minimal;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};

/// Sets up a folder with a config file and, beside the server's key, links of all kinds to it.
fn setup() -> Setup {
    let setup = Setup::new().client("tester", &Identity::new("tester"), &["@ping"]);
    let folder = setup.folder();
    fs::create_dir_all(folder.join("data/below")).unwrap();
    symlink("../server.key", folder.join("data/link.txt")).unwrap();
    symlink("link.txt", folder.join("data/link-to-link.txt")).unwrap();
    symlink(folder, folder.join("data/below/all")).unwrap();
    setup
}

/// Returns true if `lictor check` refuses the plugin with these keys because they lead to a secret.
fn is_withheld(setup: Setup, keys: &str) -> bool {
    let component = Minimal::new(&["p"]).write(setup.folder(), "p");
    let setup = setup.plugin("p", &component, &["p"], keys);
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()));
    assert!(
        !checked.stderr.contains("PRIVATE KEY") && !checked.stdout.contains("PRIVATE KEY"),
        "{checked:?}"
    );
    checked.code == Some(2) && checked.stderr.contains("leads to a path that no plugin may read")
}

#[test]
fn no_detour_grants_the_servers_key_as_a_file() {
    let absolute = |setup: &Setup, before: &str| format!("{before}{}/server.key", setup.folder().display());
    for path in [
        "server.key",
        "./././server.key",
        "data/../server.key",
        "data/below/../../server.key",
        "data/link.txt",
        "data/link-to-link.txt",
        "data/below/all/server.key",
        "/",
        "/proc/self/root",
    ] {
        let setup = setup();
        let path =
            if path.starts_with('/') { absolute(&setup, path.trim_end_matches('/')) } else { path.into() };
        assert!(is_withheld(setup, &format!("[plugins.p.grants]\nfiles = [{path:?}]")), "{path}");
    }
}

#[test]
fn no_detour_grants_a_folder_that_holds_the_servers_key() {
    for path in [".", "data/..", "data/below/all", "data/below/all/data/../.", "/", "/proc", "/dev"] {
        let keys = format!("[plugins.p.grants.directories]\n\"/d\" = {path:?}");
        assert!(is_withheld(setup(), &keys), "{path}");
    }
}

#[test]
fn a_folder_without_a_secret_is_granted_and_its_links_lead_nowhere() {
    let keys = "[plugins.p.grants.directories]\n\"/d\" = \"data\"";
    assert!(!is_withheld(setup(), keys), "what its links lead to is refused at run time");
}

#[test]
fn no_name_in_the_config_is_taken_for_a_path() {
    let setup = setup();
    let component = Minimal::new(&["p"]).write(setup.folder(), "p");
    let section = |name: &str| format!("[plugins.{name:?}]\ncomponent = {component:?}\ncommands = [\"p\"]");
    let folder = setup.folder().to_owned();
    for name in ["../p", "/p", "a/b", ".", "..", ".p", "p\0", ""] {
        let setup = self::setup().section(&section(name).replace("\\0", "\\u0000"));
        let checked = finish(lictor(&folder).arg("check").arg("--config").arg(setup.write()));
        assert_eq!(checked.code, Some(2), "{name:?}: {checked:?}");
        assert!(checked.stderr.contains("name"), "{name:?}: {}", checked.stderr);
    }
}
