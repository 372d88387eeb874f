//! Files that another user of the machine writes, replaces, or redirects: those granted to plugins, and those
//! the server works with.
//!
//! Attacks that need another user run only if the tests run as root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::certs::Identity;
use testkit::components::{self, Minimal};
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::assert_serves;
use crate::modes::with_authority;

/// A user who is neither root nor the tests' own.
pub const STRANGER: u32 = 65_534;

/// Returns true if files of another user are possible here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
pub fn is_root() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    let is_root = chown(probe.path(), Some(STRANGER), None).is_ok();
    if !is_root {
        println!("SKIPPED: what takes a file of another user, which root alone can make");
    }
    is_root
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes a folder `shared` beside the config that belongs to another user, if possible, with files in it.
fn share(setup: &Setup) -> PathBuf {
    let shared = setup.folder().join("shared");
    fs::create_dir_all(shared.join("data")).unwrap();
    fs::write(shared.join("status.txt"), "fine").unwrap();
    fs::write(shared.join("data/a.txt"), "the text of a").unwrap();
    set_mode(setup.folder(), 0o755);
    for path in ["", "status.txt", "data", "data/a.txt"] {
        // Without root it stays with the tests' user.
        let _ = chown(shared.join(path), Some(STRANGER), None);
    }
    shared
}

/// Runs `script` in a shell as the other user.
fn as_stranger(folder: &Path, script: &str) {
    let user = STRANGER.to_string();
    let mut shell = Command::new("setpriv");
    shell.args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh", "-ec", script]);
    let done = finish(shell.current_dir(folder));
    assert_eq!(done.code, Some(0), "{script}: {done:?}");
}

#[test]
fn no_verb_writes_through_a_strangers_link() {
    if !is_root() {
        return;
    }
    let setup = Setup::new();
    let shared = share(&setup);
    let precious = setup.folder().join("precious");
    fs::write(&precious, "precious").unwrap();
    as_stranger(
        &shared,
        "for name in core sealed.wasm x.key; do ln -s ../precious $name; done; ln -s ../home linked",
    );
    let hostile = components::hostile().to_str().unwrap();
    let at = |name: &str| shared.join(name).to_str().unwrap().to_owned();
    let (core, sealed, linked) = (at("core"), at("sealed.wasm"), at("linked/x"));
    for arguments in [
        vec!["plugin", "run", "--core-dump", &core, hostile, "trap"],
        vec!["plugin", "run", "--core-dump", &linked, hostile, "trap"],
        vec!["plugin", "seal", hostile, "--without", "wasi:cli", "-o", &sealed],
        vec!["cert", "new", "x", "--dir", shared.to_str().unwrap()],
    ] {
        let said = finish(lictor(setup.folder()).args(&arguments));
        assert!(matches!(said.code, Some(1 | 2)), "{arguments:?}: {said:?}");
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{arguments:?}");
    }
    let made: Vec<_> =
        fs::read_dir(setup.folder().join("home")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["lictor"], "the cache alone");
}

/// Starts a server with a plugin that reads files, and one that reads folders.
fn server_of(setup: Setup, files: &str, folder: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = setup.master("tester", &tester).echo().hostile("");
    let setup = setup.plugin("reaching", components::reaching(), &["read", "run"], "");
    let setup = setup.section(&format!("[plugins.reaching.grants]\nfiles = {files}\ncommands = []"));
    let setup = setup.plugin("folders", components::folders(), &["list"], "");
    let setup = setup.section(&format!("[plugins.folders.grants.directories]\n\"/data\" = {folder:?}"));
    (setup.start(), tester)
}

/// Waits until the log reports a host function that failed for this reason.
fn wait_for_reason(server: &Server, reason: &str) {
    server.wait_for_log(reason, |entry| {
        entry.message() == "a host function failed"
            && entry.text("error").is_some_and(|error| error.contains(reason))
    });
}

#[test]
fn a_strangers_link_in_place_of_a_granted_file_is_not_followed() {
    if !is_root() {
        return;
    }
    let setup = Setup::new();
    let shared = share(&setup);
    let (server, tester) = server_of(setup, "[\"shared/status.txt\"]", "shared/data");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("read shared/status.txt"), "fine");
    // A stranger's change there does not keep the operator from reloading.
    let can_reload = |what: &str| {
        let told = server.connect(&tester).ask_framed("@reload");
        assert!(told.text().contains("nothing has changed"), "{what}: {told:?}");
    };
    for target in ["../server.key", "../server.toml", "/proc/self/mem", "/dev/kmsg", "/etc/passwd", "nothing"]
    {
        as_stranger(&shared, &format!("ln -sfn {target} status.txt"));
        can_reload(target);
        let frame = connection.ask_framed("read shared/status.txt");
        assert_eq!(frame.failure(), ("denied", "failed"), "{target}: {frame:?}");
        assert!(!format!("{frame:?}").contains("PRIVATE KEY"), "{frame:?}");
    }
    wait_for_reason(&server, "shared/status.txt on the way belongs to user 65534");
    // The stranger's folder also holds others' files, which may be given any name there.
    as_stranger(&shared, "rm status.txt");
    fs::hard_link(server.folder().join("server.key"), shared.join("status.txt")).unwrap();
    can_reload("the key under one more name");
    assert_eq!(connection.ask_framed("read shared/status.txt").failure(), ("denied", "failed"));
    as_stranger(&shared, "rm -f status.txt; mv data status.txt");
    can_reload("a folder of root's");
    as_stranger(&shared, "mv status.txt data; mkdir status.txt");
    can_reload("a folder of his");
    assert_eq!(connection.ask_framed("read shared/status.txt").failure().0, "unavailable");
    as_stranger(&shared, "rmdir status.txt; echo -n well > status.txt");
    assert_eq!(connection.ask("read shared/status.txt"), "well");
    // Links of root and of the server's user are followed, such as those of Kubernetes' secrets.
    fs::remove_file(shared.join("status.txt")).unwrap();
    symlink("data/a.txt", shared.join("status.txt")).unwrap();
    assert_eq!(connection.ask("read shared/status.txt"), "the text of a");
    assert_serves(&server, &tester);
}

#[test]
fn no_link_and_no_hard_link_gives_a_plugin_the_servers_own_files() {
    let setup = Setup::new().section("[state]\nengine = \"sqlite\"\npath = \"state.db\"");
    let shared = share(&setup);
    let (server, tester) = server_of(setup, "[\"shared/status.txt\"]", "shared/data");
    let status = shared.join("status.txt");
    let mut connection = server.connect(&tester);
    let mut refused = |way: &str| {
        let frame = connection.ask_framed("read shared/status.txt");
        assert_eq!(frame.failure(), ("denied", "failed"), "{way}: {frame:?}");
        assert!(!format!("{frame:?}").contains("PRIVATE KEY"), "{way}: {frame:?}");
    };
    for (file, what) in [
        ("server.key", "the server's private key"),
        ("server.toml", "the server's config file"),
        ("state.db", "all plugins' state"),
        ("state.db-wal", "all plugins' state"),
    ] {
        fs::remove_file(&status).unwrap();
        symlink(server.folder().join(file), &status).unwrap();
        refused(&format!("a link to {file}"));
        fs::remove_file(&status).unwrap();
        fs::hard_link(server.folder().join(file), &status).unwrap();
        refused(&format!("a hard link to {file}"));
        wait_for_reason(&server, what);
    }
    // The key is replaced while the server runs.
    let key = server.folder().join("server.key");
    fs::copy(&key, server.folder().join("new.key")).unwrap();
    fs::rename(server.folder().join("new.key"), &key).unwrap();
    fs::remove_file(&status).unwrap();
    fs::hard_link(&key, &status).unwrap();
    refused("a hard link to the new key");
    assert_serves(&server, &tester);
}

#[test]
fn a_folder_that_was_swapped_for_the_servers_is_not_read() {
    let setup = Setup::new();
    let shared = share(&setup);
    let (server, tester) = server_of(setup, "[]", "shared/data");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("list /data"), "a.txt");
    if is_root() {
        as_stranger(&shared, "mv data old; ln -s old data");
        assert_eq!(connection.ask_framed("list /data").failure().0, "plugin-failed");
        wait_for_reason(&server, "shared/data on the way belongs to user 65534");
        // A stranger's change there does not keep the operator from reloading.
        for away in ["true", "rm data", "touch data"] {
            as_stranger(&shared, away);
            // The plugin is reloaded.
            server.edit(|text| text.replace("[plugins.folders]\n", "[plugins.folders]\nmax_calls = 7\n"));
            assert_eq!(connection.ask_framed("@reload").status, "OK", "{away}");
            server.edit(|text| text.replace("max_calls = 7\n", ""));
            assert_eq!(connection.ask_framed("@reload").status, "OK", "{away}");
        }
        as_stranger(&shared, "rm data; mv old data");
        assert_eq!(connection.ask("list /data"), "a.txt");
    }
    fs::rename(shared.join("data"), shared.join("old")).unwrap();
    symlink(server.folder(), shared.join("data")).unwrap();
    assert_eq!(connection.ask_framed("list /data").failure().0, "plugin-failed");
    wait_for_reason(&server, "leads to a path that no plugin may read");
    assert_serves(&server, &tester);
}

#[test]
fn a_hard_link_within_a_granted_folder_gives_no_plugin_the_servers_key() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    let shared = share(&setup);
    let setup = setup.plugin("folders", components::folders(), &["read", "list"], "");
    let server = setup.section("[plugins.folders.grants.directories]\n\"/data\" = \"shared/data\"").start();
    fs::hard_link(server.folder().join("server.key"), shared.join("data/hard")).unwrap();
    fs::hard_link(shared.join("data/a.txt"), shared.join("data/b.txt")).unwrap();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("list /data"), "a.txt b.txt hard");
    assert_eq!(connection.ask("read /data/b.txt"), "the text of a");
    let frame = connection.ask_framed("read /data/hard");
    assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{frame:?}");
    assert!(!format!("{frame:?}").contains("PRIVATE KEY"), "{frame:?}");
    wait_for_reason(&server, "the server's private key");
    // The server's own files may end up in the folder.
    fs::rename(server.folder().join("cache"), shared.join("data/cache")).unwrap();
    symlink(shared.join("data/cache"), server.folder().join("cache")).unwrap();
    assert_eq!(connection.ask_framed("list /data/cache").failure().0, "plugin-failed");
    assert_serves(&server, &tester);
}

/// Runs `lictor check` on the config of `setup`.
pub fn check(setup: &Setup) -> Finished {
    finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()))
}

/// Sets up a minimal plugin with these keys, and state in a file.
pub fn setup_with(keys: &str) -> Setup {
    let setup = Setup::new().client("tester", &Identity::new("tester"), &["@ping"]);
    let component = Minimal::new(&["p"]).write(setup.folder(), "p");
    let setup = setup.plugin("p", &component, &["p"], keys);
    fs::create_dir(setup.folder().join("state")).unwrap();
    with_authority(setup.section("[state]\nengine = \"sqlite\"\npath = \"state/a.db\""))
}

#[test]
fn what_lies_beside_the_state_and_the_certificates_is_granted_to_nobody() {
    for (file, is_there) in [
        ("state/a.db", false),
        ("state/a.db-wal", false),
        ("state/a.db-wal", true),
        ("state/a.db-shm", false),
        ("state/a.db-journal", true),
        ("tester.key", true),
        ("ca.key", true),
    ] {
        let setup = setup_with(&format!("[plugins.p.grants]\nfiles = [{file:?}]"));
        Identity::new("tester").write(setup.folder(), "tester");
        let setup = setup.section("[clients.other]\ncertificates = [\"tester.pem\"]\ncommands = [\"@ping\"]");
        if is_there && !file.ends_with("tester.key") {
            fs::write(setup.folder().join(file), "").unwrap();
        }
        let checked = check(&setup);
        let told = &checked.stderr;
        assert_eq!(checked.code, Some(2), "{file}: {checked:?}");
        assert!(told.contains("leads to a path that no plugin may read"), "{file}: {told}");
    }
}

#[test]
fn a_reload_grants_no_state_that_is_in_use() {
    let (tester, setup) = (Identity::new("tester"), Setup::new());
    let setup = setup.master("tester", &tester).echo().hostile("");
    let setup = setup.plugin("reaching", components::reaching(), &["read", "run"], "");
    let setup = setup.section("[plugins.reaching.grants]\nfiles = [\"none.txt\"]\ncommands = []");
    let server = setup.section("[state]\nengine = \"sqlite\"\npath = \"a.db\"").start();
    let mut connection = server.connect(&tester);
    for granted in ["a.db", "a.db-wal", "b.db", "b.db-wal", "cache"] {
        let before = fs::read_to_string(server.config()).unwrap();
        server.edit(|text| text.replace("path = \"a.db\"", "path = \"b.db\"").replace("none.txt", granted));
        let frame = connection.ask_framed("@reload");
        assert_eq!(frame.failure().0, "conflict", "{granted}: {frame:?}");
        server.edit(|_| before);
    }
    server.edit(|text| text.replace("path = \"a.db\"", "path = \"b.db\""));
    assert!(connection.ask_framed("@reload").text().contains("state.path"));
    assert_eq!(connection.ask_framed("read a.db").failure().0, "denied");
    assert_serves(&server, &tester);
}

#[test]
fn a_strangers_config_here_does_not_choose_the_server_that_is_called() {
    let tester = Identity::new("tester");
    let setup = Setup::new().server("listen = [\"127.0.0.1:0\"]");
    tester.write(setup.folder(), "tester");
    let setup =
        setup.section("[clients.t]\ncertificates = [\"tester.pem\"]\ncommands = [\"*\", \"@*\"]").echo();
    let server = setup.hostile("").start();
    let port = server.address().to_string();
    server.edit(|text| text.replace("127.0.0.1:0", &port));
    let call =
        |config: &[&str]| finish(lictor(server.folder()).arg("call").args(config).args(["echo", "hello"]));
    assert_eq!(call(&[]).stdout, "hello\n", "it is one's own");
    let refused = |why: &str| {
        let done = call(&[]);
        assert_eq!(done.code, Some(2), "{why}: {done:?}");
        assert!(done.stderr.contains("--config ./server.toml"), "{why}: {}", done.stderr);
    };
    set_mode(&server.config(), 0o666);
    refused("all may write to it");
    assert_eq!(call(&["--config", "server.toml"]).stdout, "hello\n", "it is named");
    set_mode(&server.config(), 0o644);
    set_mode(server.folder(), 0o777);
    refused("all may write to the folder");
    set_mode(server.folder(), 0o755);
    assert_eq!(call(&[]).stdout, "hello\n");
    if is_root() {
        lchown(server.config(), Some(STRANGER), None).unwrap();
        refused("it is a stranger's");
        lchown(server.config(), Some(0), None).unwrap();
        lchown(server.folder(), Some(STRANGER), None).unwrap();
        refused("the folder is a stranger's");
    }
}
