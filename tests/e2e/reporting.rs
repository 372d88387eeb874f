//! Clients whose denials are only reported, until a time: what would be forbidden runs, is told and counted.

use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::eventually;
use testkit::server::{Entry, Server, Setup};
use testkit::tools::{finish, lictor};

use crate::expires::from_now;
use crate::metrics::metrics;

const HOUR: Duration = Duration::from_secs(3600);
const COUNTER: &str = "lictor_commands_would_be_forbidden_total";

/// A server with an operator and the client `laptop` with these `commands`, whose denials are reported.
struct Reporting {
    server: Server,
    laptop: Identity,
    operator: Connection,
    /// The line of the config.
    line: String,
}

fn reporting(commands: &[&str], sections: &str) -> Reporting {
    let (operator, laptop) = (Identity::new("operator"), Identity::new("laptop"));
    let setup = Setup::new().master("operator", &operator).client("laptop", &laptop, commands);
    let line = format!("report_until = {}", from_now(HOUR));
    let setup = setup.section(&line).echo().hostile("timeout = \"10m\"");
    let reach = "timeout = \"10m\"\n[plugins.reaching.grants]\nfiles = []\ncommands = [\"echo\", \"sleep\"]";
    let setup = setup.plugin("reaching", components::reaching(), &["run"], reach);
    let server = setup.section(sections).start();
    let operator = server.connect(&operator);
    Reporting { server, laptop, operator, line }
}

/// Counts the log's `would-be-forbidden` lines of the command.
fn told(server: &Server, command: &str) -> usize {
    let log = server.log();
    let is_told =
        |entry: &&Entry| entry.message() == "would-be-forbidden" && entry.text("command") == Some(command);
    log.iter().filter(is_told).count()
}

#[test]
fn what_a_batch_gives_back_is_reported_once() {
    let (operator, laptop) = (Identity::new("operator"), Identity::new("laptop"));
    let setup = Setup::new().master("operator", &operator).client("laptop", &laptop, &["@ping"]);
    let setup = setup.section(&format!("report_until = {}", from_now(HOUR)));
    let server = setup.hostile("timeout = \"10m\"\ninstances = \"shared\"").start();
    let mut connection = server.connect(&laptop);
    // The third goes on by itself, and those behind it are dispatched again.
    let burst = ["args a", "args b", "sleep 100", "args c", "args d", "args e"].map(|request| (request, ""));
    let frames = connection.ask_all(&burst);
    assert!(frames.iter().all(|frame| frame.status == "OK"), "{frames:?}");
    assert_eq!(metrics(&mut server.connect(&operator))[COUNTER], 6);
    assert_eq!(told(&server, "args") + told(&server, "sleep"), 6);
}

#[test]
fn what_would_be_forbidden_runs_and_is_told_and_counted_and_built_ins_are_forbidden_all_the_same() {
    let mut reporting = reporting(&["echo public *", "@ping", "@commands"], "");
    let mut connection = reporting.server.connect(&reporting.laptop);
    assert_eq!(connection.ask("echo public a"), "public a");
    assert_eq!(metrics(&mut reporting.operator)[COUNTER], 0);
    assert_eq!(connection.ask("echo private secret"), "private secret");
    assert_eq!(connection.ask("body-size"), "0");
    assert_eq!(connection.ask("@whoami"), "ERR Command @whoami is not allowed to this client");
    assert_eq!(connection.ask_framed("nosuch").failure(), ("unknown-command", "not-run"));
    assert_eq!(metrics(&mut reporting.operator)[COUNTER], 2);
    let line = reporting.server.wait_for_log("the command", |entry| entry.message() == "would-be-forbidden");
    assert_eq!(
        (line.text("level"), line.text("client"), line.text("command")),
        (Some("WARN"), Some("laptop"), Some("echo"))
    );
    assert!(line.text("connection").is_some() && line.value("arguments").is_none(), "{line:?}");
    assert!(line.text("closest").is_some_and(|closest| closest.contains("echo public *")), "{line:?}");
    assert!(!reporting.server.printed().contains("secret"));
    wait_until_told(&reporting.server, "echo", 1);
    wait_until_told(&reporting.server, "body-size", 1);
    let usages = connection.ask("@commands");
    let names: Vec<_> = usages.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(names, ["echo public *", "@ping", "@commands"], "only what the patterns allow");
    let until = reporting.line.strip_prefix("report_until = ").unwrap().split('.').next().unwrap();
    let status = reporting.operator.ask("@status");
    assert!(
        status.contains(&format!("\nwould-be-forbidden commands of laptop are run until {until}Z\n")),
        "{status}"
    );
    let asked = ["check", "--as", "laptop", "echo", "private"];
    let asked = finish(lictor(reporting.server.folder()).args(asked));
    assert_eq!(asked.code, Some(1), "{asked:?}");
    let words = format!("until {until}Z it is run all the same, and reported");
    assert!(asked.stdout.contains(&words), "{asked:?}");
    let checked = finish(lictor(reporting.server.folder()).arg("check"));
    let words = format!("until {until}Z the client laptop may run every plugin's command");
    assert!(checked.stderr.contains(&words), "{checked:?}");
    assert!(
        checked.stdout.contains(&format!("    and until {until}Z all commands of plugins, reported\n")),
        "{checked:?}"
    );
}

#[test]
fn arguments_are_told_where_commands_are_logged_with_theirs() {
    let reporting = reporting(&["@ping"], "[log]\narguments = true");
    assert_eq!(reporting.server.connect(&reporting.laptop).ask("echo a \"b c\""), "a b c");
    let line = reporting.server.wait_for_log("the command", |entry| entry.message() == "would-be-forbidden");
    assert_eq!(line.text("arguments"), Some("a b c"));
}

#[test]
fn limits_hold_for_what_is_reported_and_what_they_refuse_is_not() {
    let limits = "[clients.laptop.limits]\nrequests_per_second = 10\nconcurrent_commands = 1\n[limits]\nqueue_timeout = \"100ms\"";
    let mut reporting = reporting(&["@ping"], limits);
    let mut connection = reporting.server.connect(&reporting.laptop);
    let frames = connection.ask_all(&[("echo a", ""); 50]);
    let ran = frames.iter().filter(|frame| frame.status == "OK").count();
    assert!((10..30).contains(&ran), "{ran}");
    assert_eq!(metrics(&mut reporting.operator)[COUNTER], ran as u64);
}

#[test]
fn a_flood_of_one_command_hides_no_other() {
    let mut reporting = reporting(&["@ping"], "");
    let mut connection = reporting.server.connect(&reporting.laptop);
    for _ in 0..20 {
        connection.ask_all(&[("echo a", ""); 100]);
    }
    connection.ask("body-size");
    assert_eq!(metrics(&mut reporting.operator)[COUNTER], 2001);
    eventually("the rest to be counted", || {
        let counted: u64 = reporting
            .server
            .log()
            .iter()
            .filter(|entry| entry.message() == "commands not logged one by one")
            .filter(|entry| entry.text("code") == Some("would-be-forbidden"))
            .map(|entry| entry.value("count").unwrap().as_u64().unwrap())
            .sum();
        (told(&reporting.server, "echo") as u64 + counted == 2000).then_some(())
    });
    assert!(told(&reporting.server, "echo") < 200);
    wait_until_told(&reporting.server, "body-size", 1);
}

/// The log has a line for a plugin's command, and the plugin's grant holds.
#[test]
fn what_a_plugin_runs_for_the_client_is_reported_and_its_grants_hold() {
    let reporting = reporting(&["run ..."], "");
    let mut connection = reporting.server.connect(&reporting.laptop);
    assert_eq!(connection.ask("run echo a"), "a");
    let line = reporting.server.wait_for_log("the command", |entry| entry.message() == "would-be-forbidden");
    assert_eq!((line.text("command"), line.text("via")), (Some("echo"), Some("reaching")));
    assert_eq!(connection.ask("run body-size"), "forbidden: The plugin reaching may not run body-size");
    assert_eq!(told(&reporting.server, "body-size"), 0);
}

/// The log is written a moment after the reply.
fn wait_until_told(server: &Server, command: &str, times: usize) {
    eventually(&format!("{times} of {command}"), || (told(server, command) == times).then_some(()));
}

fn assert_withdrawn(connection: &mut Connection, sequence: &str) {
    let frame = connection.read_frame();
    assert_eq!(frame.field("Sequence"), Some(sequence), "{frame:?}");
    assert_eq!((frame.failure().0, frame.message.as_str()), ("cancelled", "The permission was withdrawn"));
}

#[test]
fn what_ran_by_it_alone_ends_with_it_and_what_is_allowed_goes_on() {
    const LEFT: Duration = Duration::from_secs(3);
    let Reporting { server, laptop, mut operator, line } = reporting(&["sleep 9*", "run ..."], "");
    let mut connections = [(); 2].map(|()| server.connect(&laptop));
    let [connection, nesting] = &mut connections;
    connection.send("sleep 90000\r\nSequence: allowed\r\n\r\nsleep 80000\r\nSequence: reported\r\n\r\n");
    nesting.send("run sleep 80000\r\nSequence: nesting\r\n\r\n");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    wait_until_told(&server, "sleep", 2);
    wait_until_told(&server, "echo", 1);
    let end = Instant::now() + LEFT;
    server.edit(|text| text.replace(&line, &format!("report_until = {}", from_now(LEFT))));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.laptop.report_until");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    assert_withdrawn(connection, "reported");
    assert!(end <= Instant::now() && end.elapsed() < Duration::from_secs(2), "{:?}", end.elapsed());
    assert_eq!(nesting.read_frame().text(), "cancelled: The permission was withdrawn");
    assert_eq!(connection.ask_framed("echo a").failure(), ("forbidden", "not-run"));
    connection.send("@cancel allowed\r\nSequence: c\r\n\r\n");
    assert_eq!(connection.read_frame().failure().0, "forbidden", "the other goes on");
}

#[test]
fn a_reload_that_takes_it_away_ends_what_ran_by_it_even_if_it_then_fails() {
    let Reporting { server, laptop, mut operator, line } = reporting(&["echo"], "");
    let mut connection = server.connect(&laptop);
    connection.send("sleep 90000\r\nSequence: first\r\n\r\n");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    server.edit(|text| text.replace(&line, ""));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.laptop.report_until");
    assert_withdrawn(&mut connection, "first");
    assert_eq!(connection.ask_framed("sleep 1").failure(), ("forbidden", "not-run"));
    server.edit(|text| text.replace("[clients.laptop]\n", &format!("[clients.laptop]\n{line}\n")));
    operator.ask("@reload");
    connection.send("sleep 90000\r\nSequence: second\r\n\r\n");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    std::fs::write(server.folder().join("broken.wasm"), "no component").unwrap();
    server.edit(|text| text.replace(&line, "") + "[plugins.broken]\ncomponent = \"broken.wasm\"\n");
    let failure = operator.ask_framed("@reload");
    assert!(failure.message.contains("clients.laptop.report_until changed"), "{}", failure.message);
    assert_withdrawn(&mut connection, "second");
    assert_eq!(connection.ask_framed("sleep 1").failure(), ("forbidden", "not-run"));
}

/// Patterns are narrowed and reporting begins in one reload: nothing is interrupted, even if it fails.
#[test]
fn a_narrower_config_is_tried_without_an_interruption() {
    let (operator, laptop) = (Identity::new("operator"), Identity::new("laptop"));
    let setup =
        Setup::new().master("operator", &operator).client("laptop", &laptop, &["*", "@ping", "@whoami"]);
    let server = setup.echo().hostile("timeout = \"10m\"").start();
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&laptop));
    connection.send("sleep 90000\r\nSequence: long\r\n\r\n");
    assert_eq!(connection.ask_framed("echo a").text(), "a");
    std::fs::write(server.folder().join("broken.wasm"), "no component").unwrap();
    let broken = "[plugins.broken]\ncomponent = \"broken.wasm\"\n";
    let narrower = format!("commands = [\"echo\", \"@ping\"]\nreport_until = {}", from_now(HOUR));
    server.edit(|text| text.replace("commands = [\"*\", \"@ping\", \"@whoami\"]", &narrower) + broken);
    assert_eq!(operator.ask_framed("@reload").failure().0, "conflict");
    assert_eq!(connection.ask_framed("@whoami").failure(), ("forbidden", "not-run"), "taken away");
    assert_eq!(connection.ask_framed("body-size").text(), "0");
    wait_until_told(&server, "body-size", 1);
    server.edit(|text| text.replace(broken, ""));
    operator.ask("@reload");
    assert_eq!(connection.ask_framed("sleep 1").text(), "slept");
    assert_eq!(connection.ask_framed("echo on").text(), "on");
    wait_until_told(&server, "sleep", 1);
    connection.send("sleep 90001\r\nSequence: other\r\n\r\n");
    assert_eq!(connection.ask_framed("echo on").text(), "on", "neither was cancelled");
}
