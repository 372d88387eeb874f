//! `lictor bench` against the real server. The server's speed does not matter: loads are short, and results
//! are checked only for properties that hold on any machine.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::certs::Identity;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor, wait};

/// A server whose folder has the certificates of `tester`, with all rights, and of `guest`, which may only
/// ping.
fn server() -> Server {
    let (tester, guest) = (Identity::new("tester"), Identity::new("guest"));
    let setup = Setup::new().master("tester", &tester).client("guest", &guest, &["@ping"]).echo().hostile("");
    tester.write(setup.folder(), "tester");
    guest.write(setup.folder(), "guest");
    Identity::new("stranger").write(setup.folder(), "stranger");
    setup.start()
}

/// Prepares `lictor bench` of a short load, as the client with this certificate; the server is trusted
/// through its config.
fn bench_as(server: &Server, certificate: &str, more: &[&str]) -> Command {
    let mut command = lictor(server.folder());
    command.args(["bench", "--config", "server.toml", "--cert", certificate, "--server"]);
    command.arg(server.address().to_string()).args([
        "--connections",
        "3",
        "--time",
        "300ms",
        "--warm-up",
        "50ms",
    ]);
    command.args(more);
    command
}

fn bench(server: &Server, more: &[&str]) -> Finished {
    finish(&mut bench_as(server, "tester.pem", more))
}

/// Returns the report of a load that ended with this code.
fn report(server: &Server, code: i32, more: &[&str]) -> Value {
    let finished = bench(server, &[&["--json"], more].concat());
    assert_eq!(finished.code, Some(code), "{more:?}: {finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
    report
}

fn counted(report: &Value) -> u64 {
    report["histogram"].as_array().unwrap().iter().map(|range| range["count"].as_u64().unwrap()).sum()
}

#[test]
fn a_closed_loop_is_measured() {
    let server = server();
    let report = report(&server, 0, &["--in-flight", "4", "echo", "two words"]);
    assert_eq!(report["command"], serde_json::json!(["echo", "two words"]));
    assert_eq!(
        (&report["loop"], &report["connections"], &report["in_flight"]),
        (&"closed".into(), &3.into(), &4.into())
    );
    assert_eq!((&report["failures"], &report["unanswered"]), (&serde_json::json!({}), &0.into()));
    assert_eq!(report["requests_per_100ms"].as_array().unwrap().len(), 3);
    let (latency, corrected) = (&report["latency_us"], &report["corrected_us"]);
    for quantile in ["p50", "p90", "p99", "p99_9", "max"] {
        assert!(latency[quantile].as_f64().unwrap() >= latency["min"].as_f64().unwrap(), "{report}");
    }
    assert_eq!(corrected["max"], latency["max"]);
    let admitted = server.log().iter().filter(|entry| entry.message() == "admitted").count();
    assert_eq!(admitted, 1 + 3, "one to try the command, three for the load");
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let report = report(&server(), 0, &["--rate", "500", "echo", "hello"]);
    assert_eq!((&report["loop"], &report["rate"]), (&"open".into(), &500.0.into()));
    assert_eq!(counted(&report) + report["unanswered"].as_u64().unwrap(), 150);
    assert_eq!(report["corrected_us"], Value::Null);
}

#[test]
fn plain_requests_and_bodies_can_be_sent() {
    let server = server();
    let plain = report(&server, 0, &["--plain", "--in-flight", "4", "echo", "hello"]);
    assert_eq!((&plain["plain"], &plain["failures"]), (&true.into(), &serde_json::json!({})));
    fs::write(server.folder().join("body.bin"), vec![7; 100_000]).unwrap();
    let body = report(&server, 0, &["--in-flight", "4", "--body", "body.bin", "echo"]);
    assert_eq!(body["failures"], serde_json::json!({}));
}

#[test]
fn handshakes_are_counted_one_by_one() {
    let server = server();
    let report = report(&server, 0, &["--handshakes", "@ping"]);
    assert_eq!((&report["loop"], &report["failures"]), (&"handshakes".into(), &serde_json::json!({})));
    let made = report["requests"].as_u64().unwrap();
    eventually("an event of each connection, written or counted", || {
        (server.happened("admitted") > made).then_some(())
    });
}

#[test]
fn people_are_shown_a_table_and_a_chart() {
    let finished = bench(&server(), &["@ping"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    for words in
        ["requests  ", "failures    none", "p99.9", "latency  ", "corrected  ", "<= ", " % of a core"]
    {
        assert!(finished.stdout.contains(words), "{words:?}: {}", finished.stdout);
    }
    assert!(finished.stdout.lines().all(|line| line.chars().count() <= 80), "{}", finished.stdout);
}

#[test]
fn failures_are_counted_by_code_and_end_it_with_1() {
    let server = server();
    for (more, code) in
        [(&["fail", "not-found", "gone"][..], "not-found"), (&["--plain", "fail", "conflict", "x"], "ERR")]
    {
        let report = report(&server, 1, more);
        assert_eq!(report["failures"], serde_json::json!({ code: report["requests"] }), "{more:?}");
    }
    let finished = bench(&server, &["fail", "not-found", "gone"]);
    assert!(finished.stderr.contains("gone (not-found, failed)"), "{finished:?}");
    assert!(finished.stdout.contains(" not-found\n"), "{finished:?}");
}

#[test]
fn what_can_never_succeed_is_not_measured() {
    let server = server();
    for (certificate, command, words) in
        [("tester.pem", "nosuch", "Unknown command nosuch"), ("guest.pem", "echo", "forbidden")]
    {
        let finished = finish(&mut bench_as(&server, certificate, &[command]));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
        assert!(finished.stderr.contains("nothing to measure"), "{finished:?}");
    }
}

#[test]
fn who_is_not_admitted_ends_with_3() {
    let server = server();
    let finished = finish(&mut bench_as(&server, "stranger.pem", &["@ping"]));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
    assert!(finished.stderr.contains("is unknown"), "{finished:?}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = lictor(server.folder());
    command.args(["bench", "--config", "server.toml", "--cert", "tester.pem", "--server", &free, "@ping"]);
    let finished = finish(&mut command);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{finished:?}");
}

#[test]
fn a_load_that_makes_no_sense_ends_with_2_and_advice() {
    let folder = tempfile::TempDir::new().unwrap();
    for (arguments, advice) in [
        (&["--in-flight", "0", "@ping"][..], "take 1 or more"),
        (&["--rate", "0", "@ping"], "above zero"),
        (&["--time", "0s", "@ping"], "some time"),
        (&["--time", "5", "@ping"], "write \"5s\""),
        (&["--handshakes", "--rate", "5", "@ping"], "leave --rate out"),
        (&["--connetcions", "5", "@ping"], "there is no option --connetcions"),
        (&["--connections", "1000000000", "@ping"], "take fewer --connections"),
        (&[], "CMD"),
        (&["@ping"], "which server?"),
    ] {
        let mut command = lictor(folder.path());
        let finished = finish(command.arg("bench").args(arguments));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(advice), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn an_interrupt_ends_it_early_with_a_report() {
    let server = server();
    let more = ["--json", "--rate", "100", "echo", "hello"];
    let mut command = lictor(server.folder());
    command.args(["bench", "--config", "server.toml", "--cert", "tester.pem", "--server"]);
    command.arg(server.address().to_string()).args(["--time", "1h", "--warm-up", "0ms"]).args(more);
    let output = fs::File::create(server.folder().join("report.json")).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(output).spawn().unwrap();
    // Not the first request, which tries the command.
    server.wait_for_log("a request of the load", |entry| {
        entry.text("request").is_some_and(|request| request.ends_with("-3"))
    });
    let sent = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(wait(&mut child, "lictor bench"), Some(0));
    let report = fs::read_to_string(server.folder().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
    assert!(report["seconds"].as_f64().unwrap() < 600.0, "{report}");
}

#[test]
fn a_server_that_goes_away_is_told() {
    let server = server();
    let mut command = lictor(server.folder());
    command.args(["bench", "--config", "server.toml", "--cert", "tester.pem", "--server"]);
    command.arg(server.address().to_string()).args(["--time", "1h", "echo", "hello"]);
    let errors = fs::File::create(server.folder().join("errors")).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    server.wait_for_log("a request of the load", |entry| {
        entry.text("request").is_some_and(|request| request.ends_with("-3"))
    });
    server.signal("TERM");
    assert_eq!(wait(&mut child, "lictor bench"), Some(1));
    let errors = fs::read_to_string(server.folder().join("errors")).unwrap();
    assert!(errors.contains("closed a connection") && !errors.contains("panicked"), "{errors}");
}
