//! Attacks, each a separate test: the attack fails, and a well-behaved client is served afterwards.
//!
//! | module         | attacker and means |
//! |----------------|--------------------|
//! | `slow`         | strangers and clients that are slow |
//! | `cut`          | clients that break off |
//! | `heads`        | clients whose heads are broken, or arrive in tiny pieces |
//! | `forged`       | text disguised as something else: a reply, an entry of the log |
//! | `log`          | clients, strangers and plugins' authors that hide or disguise themselves in the log |
//! | `lines`        | clients of a plugin whose instance serves others too, by its output for them |
//! | `terminal`     | authors of text that an operator or another user sees on a terminal |
//! | `answers`      | web servers with endless answers to plugins |
//! | `servers`      | servers that clients trust, and that send invalid replies |
//! | `certificates` | strangers with odd certificates |
//! | `strangers`    | strangers that make the server compute, and come again and again |
//! | `paths`        | paths in the config file that lead to secrets |
//! | `files`        | another user of the machine, who replaces or redirects granted files |
//! | `modes`        | another user of the machine, who may write, own or read the server's files |
//! | `replays`      | clients that repeat requests by `Idempotency-Key`, read nothing, or exceed quotas |
//! | `crowd`        | a client whose plugin commits all misdeeds at once |
//! | `clock`        | plugins that compute where a clock might not reach them |
//! | `handles`      | plugins that make the host hold resources |
//! | `reload`       | slow-loading plugins, and clients with all slots, while an operator removes something |
//! | `revocation`   | a client that delays a revocation by certificates that take long to verify |
//! | `taken`        | clients and plugins that keep a proof or a grant while a plugin loads |
//! | `signals`      | slow-loading plugins, while a signal comes or a service manager listens |
//! | `memory`       | clients, plugins and strangers that take all the memory they may |
//! | `compile`      | authors of components crafted against the compiler |
//! | `debug`        | authors of debug files crafted against their reader |
//! | `watermark`    | clients that together hold more memory than the process may |
//! | `tls`          | peers that break TLS |
//! | `scan`         | a scanner of TLS servers, which must find nothing |
//!
//! docs/security.md lists the properties shown by these and other tests. All attacks are bounded in count and
//! time.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

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
