//! Attacks, each a test of its own: it fails, and a well-behaved client is served afterwards.
//!
//! | module         | who attacks, and by what |
//! |----------------|--------------------------|
//! | `slow`         | strangers and clients that take their time |
//! | `cut`          | clients that break off |
//! | `heads`        | clients whose heads are broken, or come in crumbs |
//! | `forged`       | words that look like somebody else's: a reply, an entry of the log |
//! | `log`          | clients, strangers and plugins' authors who would rather not be seen in the log, or as others |
//! | `lines`        | clients of a plugin whose instance serves others too, by what it prints for them |
//! | `terminal`     | whoever writes what an operator or another user looks at on a terminal |
//! | `answers`      | web servers whose answers to plugins do not end |
//! | `servers`      | servers that clients trust, and that send them what is no reply |
//! | `certificates` | strangers whose certificates are odd |
//! | `strangers`    | strangers that have the server compute, and come again and again |
//! | `paths`        | paths in the config file that lead to secrets |
//! | `files`        | another user of the machine, who replaces granted files or leads them elsewhere |
//! | `modes`        | another user of the machine, who may write, own or read what the server works by |
//! | `replays`      | clients that send requests again by their `Idempotency-Key`, and read nothing, or beyond their quota |
//! | `crowd`        | a client that has a plugin do all that it should not, at once |
//! | `clock`        | plugins that compute where no clock would reach them |
//! | `handles`      | plugins that have the host hold things for them |
//! | `reload`       | plugins that take their time to load, and clients that hold all slots, while an operator takes something away |
//! | `revocation`   | a client that puts off a revocation by what its certificates take to verify |
//! | `taken`        | clients and plugins that keep a proof or a grant while a plugin loads |
//! | `signals`      | plugins that take their time to load, while a signal comes or a service manager listens |
//! | `memory`       | clients, plugins and strangers that take all the memory that they may |
//! | `compile`      | authors whose components are made against the compiler |
//! | `debug`        | authors whose debug files are made against their reader |
//! | `watermark`    | clients that together hold more memory than the process may |
//! | `tls`          | peers that break TLS |
//! | `scan`         | a scanner of TLS servers, which is to find nothing |
//!
//! docs/security.md says what is shown by these and by other tests. All attacks are bounded in count and time.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod support;

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
#[allow(dead_code, reason = "the soak uses the rest")]
mod peer;
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

use support::certs::Identity;
use support::server::{Server, Setup};

/// A server with `echo` and the hostile plugin for one client that may do anything, and these sections.
fn server_with(sections: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile("").section(sections).start();
    (server, tester)
}

/// That a client which does nothing wrong is served.
#[track_caller]
fn assert_serves(server: &Server, client: &Identity) {
    let mut connection = server.connect(client);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask_framed("@ping").text(), "pong");
}

/// Prints what an attack made of the server's memory, in a row of a table: `cargo test --test adversary -- --nocapture` shows it.
#[expect(clippy::print_stdout, reason = "it is a figure, and no fault")]
fn tell_memory(server: &Server, before_kib: u64) {
    let mib = |kib: u64| (kib as f64 / 1024.0).round();
    let (most, now) = (server.memory_kib("VmHWM:"), server.resident_kib());
    let attack = std::thread::current().name().unwrap_or_default().replace('_', " ");
    println!("\n| {attack} | {} | {} | {} |", mib(before_kib), mib(most), mib(now));
}
