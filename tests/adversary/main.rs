//! Attacks, each a separate test: the attack fails, and a well-behaved client is served afterwards. Each file
//! begins with its attackers and their means.
//!
//! docs/security.md lists the properties shown by these and other tests. All attacks are bounded in count and
//! time.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

mod admin;
mod answers;
mod certificates;
mod clock;
mod compile;
mod crowd;
mod cut;
mod debug;
mod files;
mod forged;
mod handles;
mod heads;
mod lines;
mod locks;
mod log;
mod memory;
mod modes;
mod paths;
mod reload;
mod replays;
mod revocation;
mod scan;
mod servers;
mod signals;
mod slow;
mod strangers;
mod taken;
mod terminal;
mod tls;
mod tools;
mod watermark;

use testkit::certs::Identity;
use testkit::server::{Server, Setup};

/// Starts a server with `echo`, the hostile plugin and these sections, for one client that may do anything.
fn server_with(sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile("").section(sections).start();
    (server, tester)
}

/// Asserts that a well-behaved client is served.
#[track_caller]
fn assert_serves(server: &Server, client: &Identity) {
    let mut connection = server.connect(client);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask_framed("@ping").text(), "pong");
}

/// Prints the server's memory after an attack as a table row; `--nocapture` shows it.
#[expect(clippy::print_stdout, reason = "it is a figure, and no fault")]
fn tell_memory(server: &Server, before_kib: u64) {
    let mib = |kib: u64| (kib as f64 / 1024.0).round();
    let (most, now) = (server.memory_kib("VmHWM:"), server.resident_kib());
    let attack = std::thread::current().name().unwrap_or_default().replace('_', " ");
    println!("\n| {attack} | {} | {} | {} |", mib(before_kib), mib(most), mib(now));
}
