//! Clients that share a plugin's only instance: output of one is meant to appear under another's request.

use testkit::certs::Identity;
use testkit::components::{self, PRINTING_COMMANDS};
use testkit::eventually;
use testkit::server::{Entry, Setup};

use crate::assert_serves;

/// Unfinished lines, meant to continue in the next client's, and any other output.
#[test]
fn no_line_of_one_client_runs_on_into_anothers() {
    const ROUNDS: usize = 20;
    let (evil, victim) = (Identity::new("evil"), Identity::new("victim"));
    let server = Setup::new()
        .master("evil", &evil)
        .client("victim", &victim, &["*"])
        .echo()
        .hostile("instances = \"shared\"")
        .plugin(
            "printing",
            components::printing(),
            &PRINTING_COMMANDS,
            "instances = \"shared\"\nreply = \"1KiB\"",
        )
        .start();
    let (mut attacking, mut other) = (server.connect(&evil), server.connect(&victim));
    for number in 0..ROUNDS {
        for attack in [
            "half \"paid by \"",
            "half-err \"paid by \\xe2\\x98\\x83\"",
            "half-panic \"paid by \"",
            "flood-line 3000000",
            "logged L 3000000",
            "forge-log",
        ] {
            attacking.ask(attack);
        }
        assert_eq!(other.ask(&format!("half \"payment {number}\"")), "printed");
        assert_eq!(other.ask("leak"), (number + 1).to_string(), "an attack ended the instance");
    }
    let of = |log: &[Entry], client: &str| -> Vec<Entry> {
        let lines = log.iter().filter(|entry| entry.message() == "plugin output");
        lines.filter(|entry| entry.text("client") == Some(client)).cloned().collect()
    };
    eventually("all payments", || (of(&server.log(), "victim").len() == ROUNDS).then_some(()));
    let log = server.log();
    for (number, line) in of(&log, "victim").iter().enumerate() {
        assert_eq!(line.text("line"), Some(format!("payment {number}").as_str()));
    }
    for line in of(&log, "evil") {
        assert!(
            !line.text("line").is_some_and(|text| text.contains("payment") || text.len() > 3 * 2048),
            "{line:?}"
        );
    }
    assert_serves(&server, &evil);
}
