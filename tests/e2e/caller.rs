//! `lictor call` as a client: the servers it trusts, and its files, deadlines and environment variables.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::SanType;
use testkit::certs::{Authority, Identity, unix_time};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, finish_reading, lictor};

/// A server that shows `own`, and admits the client in the files `tester.pem` and `tester.key` of its folder.
fn server_showing(own: &Identity) -> Server {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    tester.write(setup.folder(), "tester");
    own.write(setup.folder(), "server");
    setup.start()
}

/// Calls `echo hello` under the name `localhost`.
fn call(server: &Server, more: &[&str]) -> Finished {
    let address = format!("localhost:{}", server.address().port());
    let mut command = lictor(server.folder());
    finish(
        command
            .args(["call", "--server", &address, "--cert", "tester.pem"])
            .args(more)
            .args(["echo", "hello"]),
    )
}

fn of_localhost(authority: &Authority) -> Identity {
    authority.issue_with("server", &[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    })
}

#[test]
fn an_authority_out_of_its_dates_vouches_for_no_server() {
    for (authority, words) in [
        (Authority::new("Good"), ""),
        (
            Authority::valid_until("Old", Some(unix_time(1_700_000_000))),
            "(Old) does so no more or not yet: it expired at 2023",
        ),
        (
            Authority::beginning_in_2200("Early"),
            "(Early) does so no more or not yet: it is not valid before 2200",
        ),
    ] {
        let server = server_showing(&of_localhost(&authority));
        fs::write(server.folder().join("ca.pem"), authority.pem()).unwrap();
        let called = call(&server, &["--ca", "ca.pem"]);
        let code = if words.is_empty() { 0 } else { 3 };
        assert!(called.code == Some(code) && called.stderr.contains(words), "{called:?}");
        let admitted = || server.printed().contains("admitted").then_some(());
        match words {
            "" => eventually("the client in the log", admitted),
            _ => assert_eq!(admitted(), None),
        }
    }
}

#[test]
fn what_is_wrong_with_a_servers_certificate_is_told_in_words() {
    let server = server_showing(&Identity::marked_as_ca("localhost"));
    let called = call(&server, &["--ca", "server.pem"]);
    let words = "the server's certificate is refused: it is marked as an authority (CA:TRUE), which no server's is; it can \
                 still be pinned (--pin)";
    assert!(called.code == Some(3) && called.stderr.contains(words), "{called:?}");
}

#[test]
fn a_server_that_stays_silent_is_waited_for_as_long_as_the_command_may_take() {
    let folder = tempfile::tempdir().unwrap();
    Identity::new("tester").write(folder.path(), "tester");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for trust in [&["--pin", "1111111111111111111111111111111111111111"][..], &[]] {
        let mut command = lictor(folder.path());
        command.args(["call", "--server", &address, "--cert", "tester.pem", "--timeout", "1s"]).args(trust);
        let called = finish(command.arg("@ping"));
        let words = "did not answer within 2 seconds (TLS handshake and greeting)";
        assert!(called.code == Some(3) && called.stderr.contains(words), "{called:?}");
    }
}

#[test]
fn a_certificate_and_its_key_may_be_one_file() {
    let own = Identity::of_server();
    let server = server_showing(&own);
    let at = |name: &str| server.folder().join(name);
    let both = fs::read_to_string(at("tester.pem")).unwrap() + &fs::read_to_string(at("tester.key")).unwrap();
    fs::write(at("tester.pem"), both).unwrap();
    fs::remove_file(at("tester.key")).unwrap();
    let called = call(&server, &["--pin", &own.sha256()]);
    assert_eq!((called.code, &*called.stdout), (Some(0), "hello\n"), "{called:?}");
}

#[test]
fn a_mark_before_a_text_hides_nothing_and_files_of_others_are_told() {
    let own = Identity::of_server();
    let server = server_showing(&own);
    let folder = server.folder().join("home/lictor");
    fs::create_dir_all(&folder).unwrap();
    let known = folder.join("known_servers");
    let address = format!("localhost:{}", server.address().port());
    fs::write(&known, format!("\u{feff}{address} sha256:{}\n", own.sha256())).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&known, 0o600);
    let called = call(&server, &[]);
    assert_eq!((called.code, &*called.stdout, &*called.stderr), (Some(0), "hello\n", ""), "{called:?}");

    let key = server.folder().join("tester.key");
    for (path, bits, words) in [
        (&known, 0o620, "its group may write to it: its mode is 620"),
        (&key, 0o602, "users other than its owner can write to it: its mode is 602"),
    ] {
        mode(path, bits);
        let called = call(&server, &[]);
        assert_eq!((called.code, &*called.stdout), (Some(0), "hello\n"), "{called:?}");
        assert!(called.stderr.contains("warning: ") && called.stderr.contains(words), "{called:?}");
        mode(path, 0o600);
    }

    let mut command = lictor(server.folder());
    command.args(["call", "--server", &address, "--cert", "tester.pem"]);
    let called = finish_reading(&mut command, "\u{feff}echo one\necho two\n");
    assert_eq!((called.code, &*called.stdout), (Some(0), "one\ntwo\n"), "{called:?}");
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let server = server_showing(&Identity::of_server());
    let config = server.config();
    let text = fs::read_to_string(&config).unwrap();
    let port = server.address().port();
    fs::write(&config, text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    let mut command = lictor(server.folder());
    command.args(["call", "--cert", "tester.pem", "echo", "hello"]);
    for name in ["LICTOR_SERVER", "LICTOR_CERT", "LICTOR_KEY", "LICTOR_CA", "LICTOR_PIN"] {
        command.env(name, "");
    }
    let called = finish(&mut command);
    assert_eq!((called.code, &*called.stdout), (Some(0), "hello\n"), "{called:?}");
    let mut command = lictor(server.folder());
    let called = finish(command.args(["call", "--cert", "tester.pem", "--pin", "", "echo"]));
    assert_eq!(called.code, Some(2), "an option is no variable: {called:?}");

    let quiet = Setup::new().start_by(|mut command| {
        command.env("NOTIFY_SOCKET", "");
        command
    });
    assert!(!quiet.printed().contains("the service manager cannot be told"), "{}", quiet.printed());
}

#[test]
fn of_several_clients_with_keys_the_first_by_name_calls() {
    let (one, two) = (Identity::new("one"), Identity::new("two"));
    let client =
        |name: &str| format!("[clients.{name}]\ncertificates = [\"{name}.pem\"]\ncommands = [\"@whoami\"]");
    // Not in alphabetical order.
    let setup = Setup::new().section(&client("two")).section(&client("one"));
    one.write(setup.folder(), "one");
    two.write(setup.folder(), "two");
    let server = setup.start();
    let whoami = |more: &[&str]| {
        let address = server.address().to_string();
        let mut command = lictor(server.folder());
        finish(
            command.args(["call", "--server", &address, "--config", "server.toml"]).args(more).arg("@whoami"),
        )
    };
    let first = whoami(&[]);
    assert!(first.code == Some(0) && first.stdout.contains("one"), "{first:?}");
    // A script need not see the notice each time.
    assert_eq!(first.stderr, "");
    let second = whoami(&["--cert", "two.pem"]);
    assert!(second.code == Some(0) && second.stdout.contains("two"), "{second:?}");
}
