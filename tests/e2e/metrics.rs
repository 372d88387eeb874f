//! Each bound is counted when it is met, and only then.

use std::collections::BTreeMap;

use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};

/// Reads `@status metrics`, by name and labels.
pub fn samples(operator: &mut Connection) -> BTreeMap<String, f64> {
    let text = operator.ask("@status metrics");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line:?}")))
        })
        .collect()
}

/// Reads those of `@status metrics` that have no labels, in whole numbers.
pub fn metrics(operator: &mut Connection) -> BTreeMap<String, u64> {
    let samples = samples(operator).into_iter().filter(|(name, _)| !name.contains('{'));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    samples.map(|(name, value)| (name, value as u64)).collect()
}

const LIMITS: &str = "[limits]
body = \"1KiB\"
head_timeout = \"100ms\"
body_timeout = \"100ms\"
idle_timeout = \"10s\"
in_flight = 4
concurrent_commands = 4
concurrent_commands_per_client = 2
queue = 4
queue_timeout = \"100ms\"
requests_per_second = 1000
connections_per_address = 8
[log]
commands_per_second = 0";

fn start() -> (Server, Identity, Identity) {
    let (operator, tester) = (Identity::new("operator"), Identity::new("tester"));
    let setup = Setup::new().master("operator", &operator).client("tester", &tester, &["*"]).echo();
    let small = "timeout = \"2s\"\ncpu_time = \"20ms\"\nmemory = \"4MiB\"\nreply = \"2KiB\"";
    let few = "host_calls = 1\nstore_keys = 1\n[plugins.kv.grants]\nkeyvalue = [\"default\"]";
    let setup = setup.plugin("hostile", components::hostile(), &["sleep", "alloc", "big", "fail"], small);
    let setup =
        setup.plugin("spinner", components::hostile(), &["spin"], &format!("{small}\nconcurrency = 1"));
    let setup = setup.plugin("kv", components::kv(), &["kv-set", "kv-delete"], few);
    (setup.section(LIMITS).start(), operator, tester)
}

/// Counters that are not of bounds, and that of events that were counted instead of logged.
const HAPPENS: [&str; 4] = [
    "lictor_log_events_counted_total",
    "lictor_received_bytes_total",
    "lictor_sent_bytes_total",
    "lictor_state_commits_total",
];

#[test]
fn nothing_is_counted_while_all_goes_well() {
    let (server, operator, tester) = start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask_framed("fail conflict no").failure().0, "conflict");
    let mut operator = server.connect(&operator);
    let metrics = metrics(&mut operator);
    // Both were counted instead of logged, or will be within a second.
    let counted = |(name, value): (&String, &u64)| {
        let is_bound = name.starts_with("lictor_") && name.ends_with("_total");
        (is_bound && !HAPPENS.contains(&&**name) && *value > 0).then(|| name.clone())
    };
    assert_eq!(metrics.iter().filter_map(counted).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(metrics["lictor_connections"], 2);
    assert!(metrics["lictor_tasks"] > 2, "{metrics:?}");
    assert!(!operator.ask("@status").contains("_delayed_total"));
    assert_eq!(operator.ask_framed("@status everything").failure(), ("bad-arguments", "failed"));
}

/// A metric, and the actions that meet its bound.
type Case = (&'static str, fn(&Server, &Identity));

const CASES: [Case; 16] = [
    ("lictor_heads_too_large_total", |server, tester| {
        server.connect(tester).send("echo ".to_owned() + &"x".repeat(9000));
    }),
    ("lictor_bodies_too_large_total", |server, tester| {
        server.connect(tester).send("echo\r\nSize: 1025\r\n\r\n")
    }),
    ("lictor_heads_timed_out_total", |server, tester| end(&mut server.connect(tester), "echo")),
    ("lictor_bodies_timed_out_total", |server, tester| {
        end(&mut server.connect(tester), "echo\r\nSize: 9\r\n\r\n");
    }),
    ("lictor_in_flight_full_total", |server, tester| {
        server.connect(tester).ask_all(&[("sleep 50", ""); 6]);
    }),
    ("lictor_client_calls_delayed_total", |server, tester| {
        server.connect(tester).ask_all(&[("sleep 50", ""); 3]);
    }),
    ("lictor_queue_full_total", |server, tester| {
        // Two run, and two of this client may wait.
        [(); 2].map(|()| server.connect(tester)).iter_mut().for_each(|connection| {
            (0..4).for_each(|number| connection.send(format!("sleep 500\r\nSequence: {number}\r\n\r\n")));
            assert_eq!(connection.read_frame().failure(), ("busy", "not-run"));
        });
    }),
    ("lictor_queue_timed_out_total", |server, tester| {
        server.connect(tester).ask_all(&[("sleep 300", ""); 3]);
    }),
    ("lictor_requests_rate_limited_total", |server, tester| {
        server.connect(tester).ask_all(&[("echo a", ""); 2000]);
    }),
    ("lictor_plugin_calls_delayed_total", |server, tester| {
        server.connect(tester).ask_all(&[("spin", ""); 2]);
    }),
    ("lictor_calls_timed_out_total", |server, tester| {
        server.connect(tester).ask_all(&[("sleep 5000", "Timeout-Ms: 20\r\n")]);
    }),
    ("lictor_cpu_time_used_up_total", |server, tester| drop(server.connect(tester).ask("spin"))),
    ("lictor_instance_memory_used_up_total", |server, tester| {
        drop(server.connect(tester).ask("alloc 60000000"));
    }),
    ("lictor_replies_too_large_total", |server, tester| drop(server.connect(tester).ask("big 3000"))),
    ("lictor_host_calls_used_up_total", |server, tester| drop(server.connect(tester).ask("kv-delete a b c"))),
    ("lictor_store_quotas_used_up_total", |server, tester| {
        let mut connection = server.connect(tester);
        connection.ask("kv-set a 1");
        connection.ask("kv-set b 1");
    }),
];

fn end(connection: &mut Connection, part: &str) {
    connection.send(part);
    connection.read_to_end();
}

#[test]
fn each_bound_that_is_met_is_counted_by_its_name() {
    for (name, meet) in CASES {
        let (server, operator, tester) = start();
        let mut operator = server.connect(&operator);
        assert_eq!(metrics(&mut operator)[name], 0, "{name}");
        meet(&server, &tester);
        eventually(name, || (metrics(&mut operator)[name] > 0).then_some(()));
        assert!(operator.ask("@status").contains(&format!("\n{name} ")), "{name}");
    }
}

#[test]
fn each_request_over_the_rate_is_counted_once_also_behind_a_batch() {
    for instances in ["shared", "per-client"] {
        let (operator, tester) = (Identity::new("operator"), Identity::new("tester"));
        let setup = Setup::new().master("operator", &operator).master("tester", &tester);
        let setup = setup.hostile(&format!("instances = \"{instances}\""));
        let server = setup.section("[limits]\nrequests_per_second = 20").start();
        let mut connection = server.connect(&tester);
        // The first request in excess comes after a batch of allowed ones.
        let frames = connection.ask_all(&[("args a", ""); 200]);
        let refused: Vec<&Frame> = frames.iter().filter(|frame| frame.status == "ERR").collect();
        assert!(refused.iter().all(|frame| frame.failure() == ("rate-limited", "not-run")), "{refused:?}");
        let refused = refused.len() as u64;
        assert!((100..200).contains(&refused), "{instances}: {refused}");
        let mut operator = server.connect(&operator);
        assert_eq!(metrics(&mut operator)["lictor_requests_rate_limited_total"], refused, "{instances}");
    }
}

#[test]
fn what_connections_meet_is_counted_too() {
    let (server, operator, tester) = start();
    let mut operator = server.connect(&operator);
    let crowd: Vec<_> = (0..8).map(|_| testkit::client::tcp(server.address())).collect();
    eventually("one to be refused", || {
        (metrics(&mut operator)["lictor_connections_refused_total"] > 0).then_some(())
    });
    drop(crowd);
    let mut tester = eventually("a place", || {
        let tls = testkit::client::Tls::showing(&tester);
        let mut connection = Connection::open(server.address(), tls).ok()?;
        connection.is_greeted().then_some(connection)
    });
    tester.ask("echo hello");
    eventually("it to be counted", || {
        (metrics(&mut operator)["lictor_log_events_counted_total"] > 0).then_some(())
    });
}
