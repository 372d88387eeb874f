//! The commands of `lictor`, run as a person does.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::Command;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::eventually;
use testkit::server::{Server, Setup, shared};
use testkit::tools::{Finished, finish, finish_reading, lictor, openssl};

use crate::initialized::{Serving, initialized};

/// Runs `lictor call` as the client in the files `tester.pem` and `tester.key` of the server's folder.
fn call(server: &Server, more: &[&str]) -> Finished {
    let mut command = lictor(server.folder());
    command.arg("call").arg("--server").arg(server.address().to_string()).arg("--cert").arg("tester.pem");
    finish(command.args(more))
}

/// Returns a server, and its certificate's SHA-256; its client's certificate is `tester.pem` in its folder.
fn server_and_pin() -> (Server, String) {
    let (tester, own) = (Identity::new("tester"), Identity::of_server());
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    tester.write(setup.folder(), "tester");
    own.write(setup.folder(), "server");
    (setup.start(), own.sha256())
}

/// Adds one server to the file of known servers.
fn know(server: &Server, thumbprint: &str) {
    let folder = server.folder().join("home/lictor");
    fs::create_dir_all(&folder).unwrap();
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join("known_servers"))
        .unwrap();
    writeln!(file, "{} sha256:{thumbprint}", server.address()).unwrap();
}

#[test]
fn a_first_server_takes_three_commands() {
    let (folder, port) = initialized();
    let _serving = Serving::begin(folder.path(), port);
    let called = finish(lictor(folder.path()).args(["call", "echo", "hello"]));
    assert_eq!((called.code, called.stdout.as_str()), (Some(0), "hello\n"), "{called:?}");
    let listed = finish(lictor(folder.path()).args(["call", "@commands"]));
    assert!(listed.stdout.starts_with("echo "), "{listed:?}");
}

#[test]
fn init_says_what_comes_next_and_keeps_keys_private() {
    let outer = TempDir::new().unwrap();
    let made = finish(lictor(outer.path()).args(["init", "my-server"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout.contains("lictor serve") && made.stdout.contains("lictor call echo hello"),
        "{made:?}"
    );
    let folder = outer.path().join("my-server");
    for key in ["certs/server.key", "certs/dev.key"] {
        let mode = fs::metadata(folder.join(key)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{key}");
    }
    let checked = finish(lictor(&folder).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn init_overwrites_nothing() {
    let (folder, _) = initialized();
    let before = fs::read(folder.path().join("certs/server.key")).unwrap();
    fs::write(folder.path().join("server.toml"), "mine").unwrap();
    let again = finish(lictor(folder.path()).arg("init"));
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("server.toml"), "{again:?}");
    assert_eq!(fs::read_to_string(folder.path().join("server.toml")).unwrap(), "mine");
    assert_eq!(fs::read(folder.path().join("certs/server.key")).unwrap(), before);
}

#[test]
fn a_call_prints_the_reply_and_ends_with_0() {
    let (server, pin) = server_and_pin();
    let call = |more: &[&str]| call(&server, &[&["--pin", &pin], more].concat());
    let finished = call(&["echo", "hello there", "", "x\ny"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hello there  x\ny\n"), "{finished:?}");
    let finished = call(&["--raw", "echo", "hello"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hello"), "{finished:?}");
    let finished = call(&["blank-line"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "a\r\n\r\nb\n"), "{finished:?}");
    let finished = call(&["--header", "X-A: b", "header", "x-a"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "Some(\"b\")\n"), "{finished:?}");

    fs::write(server.folder().join("body.txt"), "from a file").unwrap();
    let finished = call(&["--body", "body.txt", "body"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "from a file\n"), "{finished:?}");

    let [first, again, other] = ["k", "k", "l"].map(|key| call(&["--idempotency-key", key, "id"]));
    assert_eq!((first.code, &first.stdout), (Some(0), &again.stdout), "{again:?}");
    assert_ne!(first.stdout, other.stdout, "each run has another id");
}

#[test]
fn a_command_that_fails_ends_a_call_with_1() {
    let (server, pin) = server_and_pin();
    for (request, words) in [
        (&["nosuch"][..], "Unknown command nosuch"),
        (&["fail", "not-found", "no such key"], "no such key"),
        (&["trap"], "trapped"),
        (&["--timeout", "100ms", "spin"], ""),
    ] {
        let finished = call(&server, &[&["--pin", &pin], request].concat());
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{request:?}: {finished:?}");
        assert!(finished.stderr.contains(words) && !finished.stderr.is_empty(), "{request:?}: {finished:?}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let folder = TempDir::new().unwrap();
    for arguments in [
        &["call", "echo", "hello"][..],
        &["call", "--server", "127.0.0.1:1", "echo", "hello"],
        &["call", "--server", "127.0.0.1:1", "--cert", "nowhere.pem", "echo", "hello"],
        &["call", "--pin", "nonsense", "echo", "hello"],
        &["serve"],
        &["serve", "--config", "nowhere.toml"],
        &["check"],
        &["nonsense"],
        &[],
    ] {
        let finished = finish(lictor(folder.path()).args(arguments));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{arguments:?}: {finished:?}");
        assert!(
            !finished.stderr.is_empty() && !finished.stderr.contains("panicked"),
            "{arguments:?}: {finished:?}"
        );
    }
}

#[test]
fn a_server_that_is_not_there_or_does_not_admit_ends_a_call_with_3() {
    let (server, pin) = server_and_pin();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = lictor(server.folder());
    command.args(["call", "--cert", "tester.pem", "--pin", &pin, "--server"]).arg(free.to_string());
    let finished = finish(command.args(["echo", "hello"]));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");

    let stranger = Identity::new("stranger");
    stranger.write(server.folder(), "stranger");
    let mut command = lictor(server.folder());
    command
        .args(["call", "--cert", "stranger.pem", "--pin", &pin, "--server"])
        .arg(server.address().to_string());
    let finished = finish(command.args(["echo", "hello"]));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
    let said = format!("certificate (stranger) thumbprint '{}' is unknown", stranger.sha1());
    assert!(finished.stderr.contains(&said), "{finished:?}");
}

#[test]
fn an_unknown_server_is_not_trusted_where_nobody_can_be_asked() {
    let (server, pin) = server_and_pin();
    let finished = call(&server, &["echo", "hello"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
    assert!(finished.stderr.contains(&pin), "its thumbprint is shown: {finished:?}");
    assert!(!server.printed().contains("admitted"), "the client showed its certificate to an unknown server");

    know(&server, &pin);
    let finished = call(&server, &["echo", "hello"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hello\n"), "{finished:?}");
}

#[test]
fn a_server_whose_certificate_has_changed_is_refused() {
    let (server, pin) = server_and_pin();
    know(&server, &"a".repeat(64));
    let finished = call(&server, &["echo", "hello"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
    assert!(
        finished.stderr.to_lowercase().contains("changed") && finished.stderr.contains(&pin),
        "{finished:?}"
    );
    assert!(!server.printed().contains("admitted"), "the client showed its certificate all the same");

    let finished = call(&server, &["--pin", &"b".repeat(64), "echo", "hello"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
}

#[test]
fn commands_may_come_from_a_file() {
    let (server, pin) = server_and_pin();
    let mut command = lictor(server.folder());
    command
        .args(["call", "--cert", "tester.pem", "--pin", &pin, "--server"])
        .arg(server.address().to_string());
    let finished = finish_reading(&mut command, "echo one\n\necho \"two  words\"\n");
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "one\ntwo  words\n"), "{finished:?}");
    let finished = finish_reading(&mut command, "echo one\nnosuch\necho three\n");
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("one\n"), "{finished:?}");
}

#[test]
fn thumbprints_agree_with_openssls() {
    let folder = TempDir::new().unwrap();
    let made = finish(lictor(folder.path()).args(["cert", "new", "laptop"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let file = folder.path().join("certs/laptop.pem");
    let shown = finish(lictor(folder.path()).args(["cert", "thumbprint", "certs/laptop.pem"]));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for hash in ["-sha1", "-sha256"] {
        let openssls =
            finish(&mut openssl(&["x509", "-noout", "-fingerprint", hash, "-in", file.to_str().unwrap()]));
        let (_, fingerprint) = openssls.stdout.trim().split_once('=').unwrap();
        let plain = fingerprint.replace(':', "").to_lowercase();
        assert!(shown.stdout.contains(&plain), "{hash} {plain}: {}", shown.stdout);
    }
    let verified = finish(&mut openssl(&[
        "pkey",
        "-noout",
        "-in",
        folder.path().join("certs/laptop.key").to_str().unwrap(),
    ]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let again = finish(lictor(folder.path()).args(["cert", "new", "laptop"]));
    assert_eq!(again.code, Some(2), "nothing is overwritten: {again:?}");
}

#[test]
fn the_lines_that_cert_new_prints_let_the_client_in() {
    let (folder, port) = initialized();
    let made = finish(lictor(folder.path()).args(["cert", "new", "laptop"]));
    let lines = made.stdout.split_once("[clients.laptop]").expect("lines for the config").1;
    let config = folder.path().join("server.toml");
    fs::write(&config, format!("{}\n[clients.laptop]{lines}", fs::read_to_string(&config).unwrap())).unwrap();
    let _serving = Serving::begin(folder.path(), port);
    let called = finish(lictor(folder.path()).args(["call", "--cert", "certs/laptop.pem", "@whoami"]));
    assert_eq!(called.code, Some(0), "{called:?}");
    assert!(called.stdout.starts_with("laptop"), "{called:?}");
}

#[test]
fn a_good_config_is_checked_without_serving() {
    let (folder, port) = initialized();
    // Occupied, so that a check that opens a socket would fail.
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let checked = finish(lictor(folder.path()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("ok") && checked.stdout.contains("echo"), "{checked:?}");
    assert!(!checked.stderr.contains("compile_memory"), "{checked:?}");
    let config = folder.path().join("server.toml");
    let text = fs::read_to_string(&config).unwrap() + "\n[limits]\ncompile_memory = \"1024GiB\"\n";
    fs::write(&config, text).unwrap();
    let checked = finish(lictor(folder.path()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains("warning: compile_memory is 1024GiB, "), "{checked:?}");
}

#[test]
fn a_bad_config_is_shown_with_its_line_and_what_to_write_instead() {
    let (folder, _) = initialized();
    let config = folder.path().join("server.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("listen =", "lisen =")).unwrap();
    for verb in ["check", "serve"] {
        let finished = finish(lictor(folder.path()).arg(verb));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{verb}: {finished:?}");
        let line = 1 + good.lines().position(|line| line.starts_with("listen =")).unwrap();
        for words in [&format!("server.toml:{line}:1"), "lisen", "listen", "^^^^^"] {
            assert!(finished.stderr.contains(words), "{verb} does not tell {words:?}: {}", finished.stderr);
        }
    }
}

#[test]
fn a_busy_port_is_told() {
    let (folder, port) = initialized();
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let served = finish(lictor(folder.path()).arg("serve"));
    assert_eq!(served.code, Some(2), "{served:?}");
    assert!(served.stderr.contains(&format!("127.0.0.1:{port}")), "{served:?}");
    assert!(!served.stderr.contains("panicked"), "{served:?}");
}

#[test]
fn a_certificate_without_its_key_is_told() {
    let (folder, _) = initialized();
    fs::copy(folder.path().join("certs/dev.key"), folder.path().join("certs/server.key")).unwrap();
    for verb in ["check", "serve"] {
        let finished = finish(lictor(folder.path()).arg(verb));
        assert_eq!(finished.code, Some(2), "{verb}: {finished:?}");
        assert!(finished.stderr.contains("server.key"), "{verb}: {finished:?}");
    }
}

#[test]
fn a_signal_ends_the_server_in_order() {
    for signal in ["TERM", "INT"] {
        let tester = Identity::new("tester");
        let mut server = Setup::new().master("tester", &tester).start();
        let mut connection = server.connect(&tester);
        assert_eq!(connection.ask("@ping"), "pong");
        server.signal(signal);
        connection.assert_closed();
        assert_eq!(server.wait(), Some(0), "{signal}: {}", server.printed());
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let tester = Identity::new("tester");
    let mut server = Setup::new().master("tester", &tester).hostile("timeout = \"1h\"").start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 3600000\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.ask("@ping"), "pong");
    server.signal("TERM");
    server.wait_for_log("that it stops", |entry| entry.message() == "stopping");
    server.signal("TERM");
    server.wait();
    assert!(!server.is_running());
}

#[test]
fn a_stopping_server_accepts_nobody() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).hostile("timeout = \"1h\"").start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 3600000\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.ask("@ping"), "pong");
    server.signal("TERM");
    server.wait_for_log("that it stops", |entry| entry.message() == "stopping");
    eventually("the socket to be closed", || std::net::TcpStream::connect(server.address()).err());
}

#[test]
fn help_and_version_are_there() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["--help"][..], &["call", "--help"], &["serve", "--help"], &["--version"]] {
        let finished =
            finish(Command::new(env!("CARGO_BIN_EXE_lictor")).current_dir(folder.path()).args(arguments));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(finished.stdout.contains("lictor"), "{finished:?}");
    }
}

#[test]
fn the_server_outlives_a_connection_that_is_cut() {
    let mut cut = shared().connect();
    cut.send("echo hello\r\n\r\n");
    drop(cut);
    drop(tcp(shared().server.address()));
    assert_eq!(shared().connect().ask("echo hello"), "hello");
}
