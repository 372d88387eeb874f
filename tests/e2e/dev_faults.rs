//! `lictor plugin dev`: faults of a project, and how they are reported.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::components::Minimal;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};

use crate::dev::{Dev, project};

#[test]
fn a_command_that_is_printed_runs_nothing_else() {
    let project = project();
    let folder = &project.path();
    // A valid command name that a shell would take for two commands.
    let odd = "x;touch$IFS'pwned'";
    Minimal::new(&[odd]).write(folder, "odd");
    fs::rename(folder.join("odd.wasm"), folder.join("odd.component")).unwrap();
    fs::write(folder.join("source"), "odd\n").unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("to call it: ", 1);
    let screen = dev.screen();
    let printed = screen.rsplit("to call it: ").next().unwrap().lines().next().unwrap();
    assert!(printed.starts_with("lictor call --config "), "{printed}");
    let line = printed.replacen("lictor", env!("CARGO_BIN_EXE_lictor"), 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(folder).env("HOME", folder);
    let called = finish(&mut shell);
    assert_eq!((called.code, called.stdout.as_str()), (Some(0), "ok\n"), "{line}: {called:?}");
    assert!(!folder.join("pwned").exists());
}

#[test]
fn a_plugin_whose_commands_can_not_be_named_is_told_so() {
    let project = project();
    let folder = &project.path();
    Minimal::new(&["@ping"]).write(folder, "odd");
    fs::rename(folder.join("odd.wasm"), folder.join("odd.component")).unwrap();
    fs::write(folder.join("source"), "odd\n").unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("nothing is served yet", 1);
    assert!(dev.screen().contains("its `describe` has invalid command names"), "{}", dev.screen());
    assert!(!dev.screen().contains("server.toml"), "{}", dev.screen());
}

#[test]
fn a_folder_is_worked_on_by_one_at_a_time() {
    let project = project();
    let folder = &project.path();
    fs::write(folder.join("source"), "one\n").unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("to call it: ", 1);
    let config = fs::read_to_string(folder.join("build/dev/server.toml")).unwrap();
    let second = finish(lictor(folder).args(["plugin", "dev"]));
    assert_eq!(second.code, Some(2), "{second:?}");
    let words = format!("another `lictor plugin dev` is running in this folder, process {}", dev.child.id());
    assert!(second.stderr.contains(&words), "{second:?}");
    assert_eq!(fs::read_to_string(folder.join("build/dev/server.toml")).unwrap(), config);
    dev.end("-INT");
    Dev::start(folder, &[]).wait_for("to call it: ", 1);
}

#[test]
fn a_script_that_can_not_be_begun_is_told_with_what_to_do() {
    let project = project();
    let folder = &project.path();
    for (text, mode, words) in [
        ("#!/bin/sh\n", 0o644, "/build.sh` makes it executable"),
        ("#!/no/such\n", 0o755, "its first line names a program that does not exist here"),
        ("echo built\n", 0o755, "name the program that runs it in the first line"),
    ] {
        fs::remove_file(folder.join("build.sh")).unwrap();
        fs::write(folder.join("build.sh"), text).unwrap();
        fs::set_permissions(folder.join("build.sh"), fs::Permissions::from_mode(mode)).unwrap();
        let dev = Dev::start(folder, &[]);
        dev.wait_for("nothing is served yet", 1);
        assert!(dev.screen().contains(words), "{text}: no {words:?} in {}", dev.screen());
    }
}

#[test]
fn a_debug_file_that_is_not_used_is_told_of() {
    let project = project();
    let folder = &project.path();
    let debug = folder.join("only.wasm.debug");
    fs::write(folder.join("source"), "one\n").unwrap();
    symlink("nowhere", &debug).unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("to call it: ", 1);
    let told = "only.wasm.debug: the debug file is not used: it is a dangling symbolic link";
    assert_eq!(dev.count(told), 1, "{}", dev.screen());
    fs::remove_file(&debug).unwrap();
    assert!(Command::new("mkfifo").arg(&debug).status().unwrap().success());
    fs::write(folder.join("source"), "two\n").unwrap();
    dev.wait_for("to call it: ", 2);
    assert_eq!(dev.count("the debug file is not used: this is not a plain file"), 1, "{}", dev.screen());
}

#[test]
fn another_address_of_an_authors_config_waits_for_the_next_start() {
    let project = project();
    let folder = project.path().canonicalize().unwrap();
    fs::write(folder.join("source"), "one\n").unwrap();
    let tester = Identity::new("tester");
    let client = "[clients.tester]\ncertificates = [\"tester.pem\"]\ncommands = [\"*\"]";
    let setup = Setup::new().section(client).plugin("mine", &folder.join("only.wasm"), &["one"], "");
    tester.write(setup.folder(), "tester");
    let config = setup.write();
    let dev = Dev::start(&folder, &["--config", config.to_str().unwrap()]);
    dev.wait_for("to call it: ", 1);
    let text = fs::read_to_string(&config).unwrap();
    assert_eq!(text.matches("127.0.0.1:0").count(), 1, "{text}");
    fs::write(&config, text.replace("127.0.0.1:0", "127.0.0.1:1")).unwrap();
    dev.wait_for("to call it: ", 2);
    let told = "`listen` has changed, and this server goes on to listen where it did";
    assert_eq!(dev.count(told), 1, "{}", dev.screen());
    assert_eq!(dev.call(&folder), "ok\n");
    let connection = Connection::open(dev.address().unwrap(), Tls::showing(&tester));
    assert!(connection.unwrap().is_greeted());
}
