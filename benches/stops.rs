//! Time until an endless call is stopped, in each of the ways to stop one, and its resources are free for the
//! next call; and time until a client removed from the config is disconnected.
//!
//! Each plugin runs one call at a time, so a second call waits for the first to be stopped. Measured is the
//! time from the event that stops the first to the answer of the second, on another connection. This includes
//! the second call's own run and its way back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::endless::{Kind, start};
use testkit::server::{Server, Setup};

/// Deadline that stops a call.
const DEADLINE: Duration = Duration::from_millis(50);

/// A timeout that is never reached.
const NEVER: &str = "10m";

/// A way to stop a call.
#[derive(Clone, Copy)]
enum Way {
    ClientsDeadline,
    PluginsLimit,
    Cancel,
    ClientGone,
}

const WAYS: [(Way, &str); 4] = [
    (Way::ClientsDeadline, "`Timeout-Ms`"),
    (Way::PluginsLimit, "the plugin's `timeout`"),
    (Way::Cancel, "`@cancel`"),
    (Way::ClientGone, "the client goes away"),
];

fn main() {
    // `cargo test --benches` only checks that the benchmark runs.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let times = if is_measured { 200 } else { 1 };
    let (unlimited, limited) = (start(NEVER), start(&format!("{}ms", DEADLINE.as_millis())));
    println!("| stopped by | {} |", unlimited.2.iter().map(|kind| kind.0).collect::<Vec<_>>().join(" | "));
    println!("|---{}|", "|---".repeat(unlimited.2.len()));
    for (way, name) in WAYS {
        let (server, tester, kinds) = if matches!(way, Way::PluginsLimit) { &limited } else { &unlimited };
        let cells = kinds.iter().map(|kind| {
            shown(std::iter::repeat_with(|| stop(server, tester, kind, way)).flatten().take(times).collect())
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    let reloads = if is_measured { 20 } else { 1 };
    println!("\n| a client is taken out of the config, and | its connection ends after |\n|---|---|");
    println!("| nothing else changed | {} |", shown(revoke(|_| String::new(), reloads)));
    let bomb = |folder: &Path| format!("[plugins.bomb]\ncomponent = {:?}\n", components::bomb(folder));
    println!("| a plugin is named whose compilation does not end | {} |", shown(revoke(bomb, reloads)));
}

/// Removes a client from the config this many times, and adds the text of `loaded` with it; measures from the
/// reload signal until its disconnect.
fn revoke(loaded: impl Fn(&Path) -> String, times: usize) -> Vec<Duration> {
    let [tester, bob] = ["tester", "bob"].map(Identity::new);
    let setup = Setup::new().master("tester", &tester).echo();
    let server = setup.section("[limits]\ncompile_time = \"1s\"").start();
    let loaded = loaded(server.folder());
    let client = format!("[clients.bob]\nthumbprints = [\"{}\"]\ncommands = [\"*\"]\n", bob.sha256());
    let mut operator = server.connect(&tester);
    let revoke = || {
        server.edit(|text| text.replace(&loaded, "") + &client);
        assert!(operator.ask("@reload").contains("clients.bob"));
        let mut of_bob = server.connect(&bob);
        assert_eq!(of_bob.ask("echo in"), "in");
        server.edit(|text| text.replace(&client, &loaded));
        let now = Instant::now();
        server.signal("HUP");
        of_bob.read_to_end();
        now.elapsed()
    };
    std::iter::repeat_with(revoke).take(times).collect()
}

/// Starts a call of this kind, stops it, and returns the time until the plugin answers another; `None` if the
/// call stopped too soon to be measured.
fn stop(server: &Server, tester: &Identity, (_, command, probe): &Kind, way: Way) -> Option<Duration> {
    let (mut connection, mut other) = (server.connect(tester), server.connect(tester));
    let limit = match way {
        Way::ClientsDeadline => format!("Timeout-Ms: {}\r\n", DEADLINE.as_millis()),
        _ => String::new(),
    };
    let deadline = Instant::now() + DEADLINE;
    connection.send(format!("{command}\r\nSequence: s\r\n{limit}\r\n"));
    is_read(&mut connection);
    other.send(format!("{probe}\r\nSequence: p\r\n\r\n"));
    if !is_read(&mut other) {
        // The machine was busy until the deadline had passed.
        return None;
    }
    let stopped = match way {
        Way::ClientsDeadline | Way::PluginsLimit => deadline,
        Way::Cancel => {
            let now = Instant::now();
            connection.send("@cancel s\r\n\r\n");
            now
        }
        Way::ClientGone => {
            let now = Instant::now();
            drop(connection);
            now
        }
    };
    while other.read_frame().status == "PART" {}
    Some(Instant::now().saturating_duration_since(stopped))
}

/// Requests are read in order, so the previous one runs or waits. Returns true if it has not ended.
fn is_read(connection: &mut Connection) -> bool {
    connection.send("@ping\r\nSequence: read\r\n\r\n");
    let mut waits = true;
    loop {
        let frame = connection.read_frame();
        match frame.field("Sequence") {
            Some("read") => return waits,
            // A stream may already have sent its first part.
            _ => waits &= frame.status == "PART",
        }
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let last = times.len() - 1;
    let at = |part: usize| times[last * part / 100].as_secs_f64() * 1e3;
    format!("{:.1} / {:.1} / {:.1} ms", at(50), at(99), at(100))
}
