//! `lictor status --nagios`: one line, and the exit code of a monitoring plugin.

use std::time::Duration;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

/// A server, in whose folder is the operator's key.
fn start(setup: impl FnOnce(Setup) -> Setup) -> Server {
    let operator = Identity::new("operator");
    let base = Setup::new();
    operator.write(base.folder(), "operator");
    setup(base.section("[clients.operator]\ncertificates = [\"operator.pem\"]\ncommands = [\"@*\"]")).start()
}

/// Checks it as the operator, unless `options` name another client.
fn check(server: &Server, options: &[&str]) -> Finished {
    let pin = format!("sha256:{}", Identity::read(server.folder(), "server").sha256());
    let address = server.address().to_string();
    let cert = if options.contains(&"--cert") { &[][..] } else { &["--cert", "operator.pem"] };
    let mut status = lictor(server.folder());
    status.args(["status", "--nagios", "--server", &address, "--pin", &pin]);
    finish(status.args(cert).args(options))
}

fn is(finished: &Finished, code: i32, told: &str) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stdout.starts_with(told), "{finished:?}");
    assert_eq!((finished.stdout.lines().count(), &*finished.stderr), (1, ""), "{finished:?}");
}

#[test]
fn the_state_of_a_server_is_one_line_and_an_exit_code() {
    let soon = Identity::valid_for("soon", Duration::from_secs(10 * 86_400));
    let mut server = start(|setup| setup.client("soon", &soon, &["@ping"]));
    is(&check(&server, &[]), 0, "LICTOR OK - version ");
    let line = check(&server, &[]).stdout;
    let (_, data) = line.split_once(" | ").unwrap();
    for datum in data.split(' ') {
        assert!(datum.contains('=') && datum.matches('=').count() == 1, "{datum}");
    }
    assert!(data.contains(" certificate=") && data.contains("s;1209600:;259200:"), "{data}");
    is(&check(&server, &["--warning", "1000000d"]), 1, "LICTOR WARNING - the certificate of ");
    is(
        &check(&server, &["--warning", "1000000d", "--critical", "1000000d"]),
        2,
        "LICTOR CRITICAL - the certificate of server ",
    );
    // A client's certificate counts once it has come.
    assert_eq!(server.connect(&soon).ask("@ping"), "pong");
    is(&check(&server, &[]), 1, "LICTOR WARNING - the certificate of client soon ends in 9 days |");
    is(&check(&server, &["--warning", "5d"]), 0, "LICTOR OK");
    server.edit(|text| text.replace("[\"@ping\"]", "[\"@pong\"]"));
    let mut operator = server.connect(&Identity::read(server.folder(), "operator"));
    assert_eq!(operator.ask_framed("@reload").failure().0, "conflict");
    server.edit(|text| text.replace("[\"@pong\"]", "[\"@ping\"]"));
    is(&check(&server, &["--warning", "5d"]), 1, "LICTOR WARNING - the last reload failed: ");
    // A client that may not ask learns nothing.
    soon.write(server.folder(), "soon");
    is(&check(&server, &["--cert", "soon.pem", "--warning", "5d"]), 3, "LICTOR UNKNOWN - ");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    is(&check(&server, &[]), 2, "LICTOR CRITICAL - ");
    // Which server is meant is not known.
    let unknown = finish(lictor(server.folder()).args(["status", "--nagios"]));
    is(&unknown, 3, "LICTOR UNKNOWN - server.toml lets the system choose the port");
}

#[test]
fn the_status_has_the_ends_of_certificates() {
    let server = start(|setup| setup);
    let mut operator = server.connect(&Identity::read(server.folder(), "operator"));
    let frame = operator.ask_all(&[("@status", "Format: json\r\n")]).remove(0);
    let status: Value = serde_json::from_str(frame.text()).unwrap();
    let ends = status["certificates"].as_array().unwrap();
    let kinds: Vec<_> = ends.iter().map(|end| end["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["server", "client"]);
    assert_eq!(ends[1]["name"], "operator");
    assert!(ends.iter().all(|end| end["seconds_left"].as_i64() > Some(0)), "{status}");
    assert!(ends[0]["ends"].as_str().unwrap().ends_with('Z'), "{status}");
}

#[test]
fn faults_of_the_config_and_of_the_command_line_are_states_too() {
    let server = start(|setup| setup);
    let status =
        |options: &[&str]| finish(lictor(server.folder()).args(["status", "--nagios"]).args(options));
    for options in [&["--warning", "14"][..], &["--json"], &["--ready"], &["--pin", "zz"]] {
        let told = status(options);
        assert_eq!(told.code, Some(3), "{told:?}");
        assert!(told.stdout.starts_with("LICTOR UNKNOWN - ") && told.stdout.lines().count() == 1, "{told:?}");
    }
    server.edit(|text| text.replace("[server]", "[server"));
    let told = status(&[]);
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.stdout.starts_with("LICTOR UNKNOWN - the config is faulty: `lictor check`"), "{told:?}");
    // Without --nagios, a faulty command line is that.
    assert_eq!(finish(lictor(server.folder()).args(["status", "--absent"])).code, Some(2));
}
