//! Folders that a plugin may read: granted, withheld, exceeded.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

const COMMANDS: [&str; 15] = [
    "read",
    "list",
    "size",
    "hold",
    "write",
    "append",
    "truncate",
    "create",
    "make-folder",
    "remove",
    "remove-folder",
    "rename",
    "link",
    "touch",
    "shorten",
];

/// Sets up the folder `granted` with its contents beside the config.
fn setup(grants: &str) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let folder = setup.folder().join("granted");
    fs::create_dir_all(folder.join("inner/empty")).unwrap();
    fs::write(folder.join("a.txt"), "the text of a").unwrap();
    fs::write(folder.join("inner/b.txt"), "the text of b").unwrap();
    fs::write(setup.folder().join("secret.txt"), "secret").unwrap();
    (setup.plugin("folders", components::folders(), &COMMANDS, "").section(grants), tester)
}

const DATA: &str = "[plugins.folders.grants.directories]\n\"/data\" = \"granted\"";

fn server(grants: &str) -> (Server, Identity) {
    let (setup, tester) = setup(grants);
    (setup.start(), tester)
}

#[test]
fn a_granted_folder_is_read_with_all_that_is_in_it() {
    let (server, tester) = server(DATA);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("read /data/a.txt"), "the text of a");
    assert_eq!(connection.ask("read /data/inner/b.txt"), "the text of b");
    assert_eq!(connection.ask("read /data/inner/../a.txt"), "the text of a");
    assert_eq!(connection.ask("list /data"), "a.txt inner");
    assert_eq!(connection.ask("list /data/inner/empty"), "");
    assert_eq!(connection.ask("size /data/a.txt"), "13");
    fs::write(server.folder().join("granted/later.txt"), "there since").unwrap();
    assert_eq!(connection.ask("read /data/later.txt"), "there since");
}

#[test]
fn a_plugin_without_the_grant_sees_no_folder() {
    let (server, tester) = server("");
    let mut connection = server.connect(&tester);
    for command in ["list /", "list .", "list /data", "read /data/a.txt", "read /etc/passwd", "create /x"] {
        let frame = connection.ask_framed(command);
        assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{command}: {frame:?}");
    }
}

#[test]
fn nothing_in_a_granted_folder_can_be_changed() {
    let (server, tester) = server(DATA);
    let before = tree(&server.folder().join("granted"));
    let mut connection = server.connect(&tester);
    for command in [
        "write /data/a.txt",
        "append /data/a.txt",
        "truncate /data/a.txt",
        "shorten /data/a.txt",
        "touch /data/a.txt",
        "create /data/new.txt",
        "create /data/inner/new.txt",
        "make-folder /data/new",
        "remove /data/a.txt",
        "remove-folder /data/inner/empty",
        "rename /data/a.txt /data/c.txt",
        "rename /data/inner /data/outer",
        "link /data/a.txt /data/c.txt",
    ] {
        let frame = connection.ask_framed(command);
        assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{command}: {frame:?}");
        assert!(frame.message.contains("PermissionDenied"), "{command}: {frame:?}");
    }
    assert_eq!(tree(&server.folder().join("granted")), before);
}

/// Lists the names, contents and times of everything in `folder`.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        let text = if metadata.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        found.push(format!("{} {text} {:?}", path.display(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn no_path_leads_out_of_a_granted_folder() {
    let (setup, tester) = setup(DATA);
    let folder = setup.folder().join("granted");
    symlink("../secret.txt", folder.join("up.txt")).unwrap();
    symlink(setup.folder().join("secret.txt"), folder.join("absolute.txt")).unwrap();
    symlink("..", folder.join("parent")).unwrap();
    symlink("/", folder.join("top")).unwrap();
    symlink("inner/b.txt", folder.join("within.txt")).unwrap();
    let server = setup.start();
    let secret = server.folder().join("secret.txt");
    let mut connection = server.connect(&tester);
    for path in [
        "/data/../secret.txt",
        "/data/inner/../../secret.txt",
        "/data/up.txt",
        "/data/absolute.txt",
        "/data/parent/secret.txt",
        "/data/top/etc/passwd",
        "../secret.txt",
        "secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        secret.to_str().unwrap(),
    ] {
        let frame = connection.ask_framed(&format!("read {path}"));
        assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{path}: {frame:?}");
    }
    assert_eq!(connection.ask("read /data/within.txt"), "the text of b");
}

#[test]
fn a_plugin_holds_few_files_open_and_none_that_waits() {
    let (server, tester) = server(DATA);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("hold 16 /data/a.txt"), "16");
    let held = connection.ask("hold 1000 /data/a.txt");
    let (count, error) = held.split_once(' ').unwrap();
    assert!((16..32).contains(&count.parse::<u32>().unwrap()), "{held}");
    assert!(error.contains("uota"), "{held}");
    // Opening a pipe that nobody writes to would block the reader.
    let made = Command::new("mkfifo").arg(server.folder().join("granted/pipe")).status();
    assert!(made.unwrap().success());
    let frame = connection.ask_framed("read /data/pipe");
    assert!(frame.message.contains("PermissionDenied"), "{frame:?}");
}

#[test]
fn a_folder_is_opened_at_the_load_and_anew_by_each_instance() {
    let (setup, tester) = setup(DATA);
    let folder = setup.folder().join("granted");
    fs::rename(&folder, setup.folder().join("away")).unwrap();
    let config = setup.write();
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains("granted"), "{checked:?}");
    fs::rename(setup.folder().join("away"), &folder).unwrap();
    let server = setup.start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("list /data"), "a.txt inner");
    fs::remove_dir_all(server.folder().join("granted")).unwrap();
    assert_eq!(connection.ask_framed("list /data").failure(), ("plugin-failed", "failed"));
    server.wait_for_log("the reason", |entry| {
        entry.text("error").is_some_and(|error| error.contains("granted") && error.contains("the folder"))
    });
    fs::create_dir(server.folder().join("granted")).unwrap();
    fs::write(server.folder().join("granted/new.txt"), "").unwrap();
    assert_eq!(connection.ask("list /data"), "new.txt");
}
