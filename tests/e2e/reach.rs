//! Files and other commands within a plugin's reach: granted, withheld, exceeded.

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};

const COMMANDS: [&str; 4] = ["read", "run", "print", "print-flood"];

/// Starts a server with the plugin `reaching` with these grants, and a client that may run `commands`.
fn server(grants: &str, commands: &[&str]) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().client("tester", &tester, commands).echo().hostile("");
    std::fs::write(setup.folder().join("granted.txt"), "what stands in the file").unwrap();
    std::fs::write(setup.folder().join("large.txt"), vec![b'x'; (1 << 20) + 1]).unwrap();
    std::fs::write(setup.folder().join("secret.txt"), "secret").unwrap();
    let setup = setup.plugin("reaching", components::reaching(), &COMMANDS, "");
    let grants = format!("[plugins.reaching.grants]\n{grants}");
    (setup.section(&grants).start(), tester)
}

const FILES: &str = "files = [\"granted.txt\", \"large.txt\", \"/proc/loadavg\", \"later.txt\"]";

#[test]
fn granted_files_are_read_and_no_others() {
    let (server, tester) = server(&format!("{FILES}\ncommands = [\"echo\"]"), &["*"]);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("read granted.txt"), "what stands in the file");
    assert_eq!(connection.ask("read /proc/loadavg").split(' ').count(), 5);
    for (path, code) in [
        ("secret.txt", "denied"),
        ("./granted.txt", "denied"),
        ("/etc/passwd", "denied"),
        ("\"\"", "denied"),
        ("large.txt", "plugin-failed"),
        ("later.txt", "not-found"),
    ] {
        assert_eq!(connection.ask_framed(&format!("read {path}")).failure(), (code, "failed"), "{path}");
    }
    std::fs::write(server.folder().join("later.txt"), "it is there now").unwrap();
    assert_eq!(connection.ask("read later.txt"), "it is there now");
    // Opening a pipe that nobody writes to would block the reader.
    std::fs::remove_file(server.folder().join("later.txt")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(server.folder().join("later.txt")).status();
    assert!(made.unwrap().success());
    let frame = connection.ask_framed("read later.txt");
    assert_eq!(frame.failure(), ("unavailable", "failed"));
    assert!(!frame.message.contains("pipe") && !frame.message.contains("plain file"), "{frame:?}");
    server.wait_for_log("the reason", |entry| {
        entry.text("error").is_some_and(|error| error.contains("plain file"))
    });
}

#[test]
fn a_command_runs_with_the_clients_permissions_and_the_grant() {
    let (server, tester) = server(
        &format!("{FILES}\ncommands = [\"echo\", \"fail\", \"body-size\", \"missing\"]"),
        &["run", "echo", "fail"],
    );
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("run echo \"a b\" ☃"), "a b ☃");
    assert_eq!(connection.ask("run fail conflict \"no and no\""), "conflict: no and no");
    // The plugin may, but the client may not.
    assert_eq!(connection.ask("run body-size"), "forbidden: Command body-size is not allowed to this client");
    // The client may, but the plugin may not.
    assert_eq!(connection.ask("run run echo"), "forbidden: The plugin reaching may not run run");
    assert!(connection.ask("run @whoami").starts_with("forbidden: The plugin reaching may not run @whoami"));
    assert!(connection.ask("run missing").starts_with("unknown-command: "));
    assert!(connection.ask("run \"\"").starts_with("forbidden: "));
    assert!(connection.ask("run").starts_with("forbidden: "));
    let entry = server.wait_for_log("the inner command", |entry| entry.text("via") == Some("reaching"));
    assert_eq!((entry.text("client"), entry.text("command")), (Some("tester"), Some("echo")));
}

#[test]
fn the_body_goes_along_and_replies_come_back_whole() {
    let (server, tester) = server(&format!("{FILES}\ncommands = [\"*\"]"), &["*"]);
    let mut connection = server.connect(&tester);
    connection.send("run body-size\r\nSequence: a\r\nSize: 5\r\n\r\n12345");
    assert_eq!(connection.read_frame().text(), "5");
    let frame = connection.ask_framed("run big 100000");
    assert_eq!(frame.text().len(), 100_000);
    let trapped = connection.ask("run trap");
    assert!(trapped.starts_with("plugin-trapped: "), "{trapped}");
    let missing = connection.ask("run \"a long name\"");
    assert!(missing.starts_with("unknown-command: "), "{missing}");
}

#[test]
fn commands_that_run_commands_end_at_a_depth() {
    let (server, tester) = server(&format!("{FILES}\ncommands = [\"*\"]"), &["*"]);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("run run run run echo deep"), "deep");
    assert_eq!(
        connection.ask("run run run run run echo deeper"),
        "denied: Commands may call commands to a depth of 4"
    );
}

#[test]
fn the_deadline_of_the_request_holds_for_what_it_runs() {
    let (server, tester) = server(&format!("{FILES}\ncommands = [\"*\"]"), &["*"]);
    let mut connection = server.connect(&tester);
    connection.send("run spin\r\nSequence: a\r\nTimeout-Ms: 300\r\n\r\n");
    assert_eq!(connection.read_frame().failure().0, "timeout");
    assert_eq!(connection.ask("echo still here"), "still here");
}

/// A call that waits for another one holds one slot, not two: otherwise waiting calls could hold all slots.
#[test]
fn waiting_calls_hold_no_second_place() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().section("[limits]\nconcurrent_commands = 1");
    let setup = setup.plugin("reaching", components::reaching(), &COMMANDS, "");
    let grants = "[plugins.reaching.grants]\nfiles = [\"server.pem\"]\ncommands = [\"*\"]";
    let server = setup.section(grants).start();
    let mut connection = server.connect(&tester);
    for _ in 0..3 {
        assert_eq!(connection.ask("run run echo one place"), "one place");
    }
}

#[test]
fn printed_lines_are_logged_marked_and_bounded() {
    let (server, tester) = server(&format!("{FILES}\ncommands = [\"echo\"]"), &["*"]);
    let mut connection = server.connect(&tester);
    connection.ask("print \"one\\ntwo\\x1b[2J\"");
    let entry = server.wait_for_log("the line", |entry| entry.text("line") == Some("one"));
    assert_eq!((entry.text("plugin"), entry.text("stream")), (Some("reaching"), Some("stderr")));
    assert!(entry.text("request").is_some_and(|request| request.starts_with('c')), "{entry:?}");
    server.wait_for_log("the escaped line", |entry| {
        entry.text("line").is_some_and(|line| line.starts_with("two") && !line.contains('\x1b'))
    });
    connection.ask("print-flood");
    let begins =
        server.wait_for_log("where it begins", |entry| entry.message() == "further output is left out");
    let dropped = server.wait_for_log("what was left out", |entry| entry.message() == "output was left out");
    for told in [begins, dropped.clone()] {
        assert_eq!((told.text("plugin"), told.text("stream")), (Some("reaching"), Some("stderr")));
    }
    assert_eq!(dropped.value("lines").and_then(|lines| lines.as_u64()), Some(1000 - 64));
    assert_eq!(dropped.value("bytes").and_then(|bytes| bytes.as_u64()), Some((1000 - 64) * 1024));
    let lines =
        server.log().iter().filter(|entry| entry.text("line").is_some_and(|l| l.starts_with("xxx"))).count();
    assert_eq!(lines, 64, "64 KiB of a call are logged");
}
