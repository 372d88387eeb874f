//! Commands are counted by plugin, command and result, each once, whatever its way was.

use std::collections::BTreeMap;
use std::thread;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::metrics::samples;

const COMMANDS: &str = "lictor_commands_total";
const SECONDS: &str = "lictor_command_duration_seconds";

/// Reads how many commands there were, by plugin, command and code, without those of the operator.
fn counted(operator: &mut Connection) -> BTreeMap<[String; 3], u64> {
    let of = |(name, value): (String, f64)| {
        let labels = name.strip_prefix(COMMANDS)?.trim_matches(['{', '}']).split(',');
        let values: Vec<_> = labels.filter_map(|label| label.split('"').nth(1)).map(str::to_owned).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Some((<[String; 3]>::try_from(values).unwrap(), value as u64))
    };
    let all = samples(operator).into_iter().filter_map(of);
    let is_asked = |command: &str| ["@status", "@clients"].contains(&command);
    all.filter(|([_, command, _], count)| *count > 0 && !is_asked(command)).collect()
}

fn expected<const N: usize>(counts: [(&str, &str, &str, u64); N]) -> BTreeMap<[String; 3], u64> {
    let named =
        counts.map(|(plugin, command, code, count)| ([plugin, command, code].map(str::to_owned), count));
    named.into_iter().collect()
}

fn start() -> (Server, Identity, Identity) {
    let (operator, tester) = (Identity::new("operator"), Identity::new("tester"));
    let commands = ["echo", "sleep", "fail", "run", "spin", "ticks", "nosuch*", "@ping"];
    let setup = Setup::new().master("operator", &operator).client("tester", &tester, &commands).echo();
    let setup =
        setup.plugin("hostile", components::hostile(), &["sleep", "fail", "spin", "big"], "timeout = \"1s\"");
    let setup = setup.plugin("reaching", components::reaching(), &["run"], "");
    let setup = setup.section("[plugins.reaching.grants]\ncommands = [\"*\"]\nfiles = []");
    (setup.start(), operator, tester)
}

#[test]
fn each_command_is_counted_once_by_its_result() {
    let (server, operator, tester) = start();
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&tester));
    connection.ask_all(&[("echo a", ""); 20]);
    assert_eq!(connection.ask("echo b"), "b");
    connection.ask_all(&[("@ping", ""); 3]);
    connection.ask("fail conflict no");
    connection.ask("fail not-found no");
    connection.ask_framed("sleep 5000\r\nTimeout-Ms: 20");
    // Not allowed, and not there.
    connection.ask("big 1");
    for number in 0..200 {
        connection.ask(&format!("nosuch{number}"));
    }
    let counts = [
        ("", "", "unknown-command", 200),
        ("", "@ping", "ok", 3),
        ("echo", "echo", "ok", 21),
        ("hostile", "big", "forbidden", 1),
        ("hostile", "fail", "conflict", 1),
        ("hostile", "fail", "not-found", 1),
        ("hostile", "sleep", "timeout", 1),
    ];
    assert_eq!(counted(&mut operator), expected(counts));
    let samples = samples(&mut operator);
    let of = |suffix: &str, labels: &str| samples[&format!("{SECONDS}_{suffix}{{{labels}}}")];
    let echo = "plugin=\"echo\",command=\"echo\"";
    assert_eq!(of("count", echo), 21.0);
    assert_eq!(of("bucket", &format!("{echo},le=\"+Inf\"")), 21.0);
    assert_eq!(of("bucket", &format!("{echo},le=\"60\"")), 21.0);
    let sleep = "plugin=\"hostile\",command=\"sleep\"";
    assert!((0.02..1.0).contains(&of("sum", sleep)), "{}", of("sum", sleep));
    assert_eq!((of("bucket", &format!("{sleep},le=\"0.01\"")), of("count", sleep)), (0.0, 1.0));
}

/// Commands that a plugin runs, keyed ones, and those whose client goes away.
#[test]
fn the_way_of_a_command_does_not_matter() {
    let (server, operator, tester) = start();
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&tester));
    assert_eq!(connection.ask("run echo x"), "x");
    for _ in 0..2 {
        assert_eq!(connection.ask("echo k\r\nIdempotency-Key: k"), "k");
    }
    let mut gone = server.connect(&tester);
    gone.send("sleep 900\r\n\r\n");
    gone.send("echo waits\r\n\r\n");
    eventually("it to run", || operator.ask("@clients").contains("requests 2").then_some(()));
    drop(gone);
    eventually("the ends to be counted", || {
        let counts = [
            ("echo", "echo", "cancelled", 1),
            ("echo", "echo", "ok", 3),
            ("hostile", "sleep", "cancelled", 1),
            ("reaching", "run", "ok", 1),
        ];
        (counted(&mut operator) == expected(counts)).then_some(())
    });
}

#[test]
fn clients_of_many_threads_are_counted_together() {
    let (server, operator, tester) = start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = server.connect(&tester);
                (0..50).for_each(|_| drop(connection.ask_all(&[("echo a", ""); 16])));
            });
        }
    });
    let mut operator = server.connect(&operator);
    assert_eq!(counted(&mut operator), expected([("echo", "echo", "ok", 6400)]));
}

#[test]
fn counts_stay_over_a_reload_as_long_as_their_command() {
    let (server, operator, tester) = start();
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&tester));
    connection.ask("echo a");
    connection.ask("fail conflict no");
    let before = server.config();
    let before = std::fs::read_to_string(before).unwrap();
    let (without, _) = before.split_once("[plugins.hostile]").unwrap();
    let without = without.to_owned();
    server.edit(|_| without);
    operator.ask("@reload");
    connection.ask("echo b");
    // It is told as long as a connection may be under the old config.
    let told = || expected([("echo", "echo", "ok", 2), ("", "@reload", "ok", 1)]);
    eventually("the old config to be given up", || (counted(&mut operator) == told()).then_some(()));
    server.edit(|_| before);
    operator.ask("@reload");
    connection.ask("fail conflict no");
    let again = [("echo", "echo", "ok", 2), ("", "@reload", "ok", 2), ("hostile", "fail", "conflict", 2)];
    assert_eq!(counted(&mut operator), expected(again));
}

#[test]
fn as_many_clients_as_the_config_says_are_counted_by_name() {
    let identities = ["alice", "bob", "carol", "dave"].map(Identity::new);
    let names = ["alice", "bob", "carol", "dave"].iter().zip(&identities);
    let setup = names.fold(Setup::new().echo(), |setup, (name, identity)| setup.master(name, identity));
    let server = setup.section("[admin]\nclient_labels = 2").start();
    let mut connections = identities.each_ref().map(|identity| server.connect(identity));
    for (asked, connection) in (1..).zip(&mut connections) {
        (0..asked).for_each(|_| drop(connection.ask("echo a")));
        connection.ask("nosuch");
    }
    let [alice, ..] = &mut connections;
    let counted = |connection: &mut Connection| -> BTreeMap<String, f64> {
        let all = samples(connection).into_iter();
        all.filter_map(|(name, count)| {
            Some((name.strip_prefix("lictor_client_commands_total")?.to_owned(), count))
        })
        .collect()
    };
    let expected = |counts: &[(&str, &str, f64)]| -> BTreeMap<String, f64> {
        let named = counts
            .iter()
            .map(|(client, code, count)| (format!("{{client=\"{client}\",code=\"{code}\"}}"), *count));
        named.collect()
    };
    let unknown = "unknown-command";
    let counts = [
        ("alice", "ok", 1.0),
        ("alice", unknown, 1.0),
        ("bob", "ok", 2.0),
        ("bob", unknown, 1.0),
        ("other", "ok", 7.0),
        ("other", unknown, 2.0),
    ];
    assert_eq!(counted(alice), expected(&counts));
    // Without the key they are no longer told.
    server.edit(|text| text.replace("client_labels = 2", "client_labels = 0"));
    alice.ask("@reload");
    eventually("the old config to be given up", || {
        let counts = counted(alice);
        counts.keys().all(|labels| labels.contains("other")).then_some(())
    });
}
