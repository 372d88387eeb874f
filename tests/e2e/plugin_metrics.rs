//! Metrics of what plugins' calls and instances take.

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::metrics::samples;

fn start(setup: impl FnOnce(Setup) -> Setup) -> (Server, Connection) {
    let operator = Identity::new("operator");
    let server = setup(Setup::new().master("operator", &operator)).start();
    let connection = server.connect(&operator);
    (server, connection)
}

/// Reads the sample of the hostile plugin; 0 if there is none.
fn of_hostile(connection: &mut Connection, name: &str, labels: &str) -> f64 {
    samples(connection).get(&format!("{name}{{plugin=\"hostile\"{labels}}}")).copied().unwrap_or_default()
}

#[test]
fn only_calls_that_wait_are_in_the_histogram_of_the_queue() {
    let (_server, mut connection) = start(|setup| setup.echo().hostile("concurrency = 1"));
    connection.ask_all(&[("echo a", ""); 8]);
    connection.ask("sleep 1");
    assert_eq!(of_hostile(&mut connection, "lictor_queue_duration_seconds_count", ""), 0.0);
    connection.ask_all(&[("sleep 60", ""); 3]);
    // Also one whose wait ends by its deadline.
    connection.ask_all(&[("sleep 500", ""), ("sleep 1", "Timeout-Ms: 100\r\n")]);
    assert_eq!(of_hostile(&mut connection, "lictor_queue_duration_seconds_count", ""), 3.0);
    let sum = of_hostile(&mut connection, "lictor_queue_duration_seconds_sum", "");
    assert!((0.2..2.0).contains(&sum), "{sum}");
    let samples = samples(&mut connection);
    assert_eq!(samples["lictor_queue_duration_seconds_count{plugin=\"echo\"}"], 0.0);
}

#[test]
fn what_calls_compute_is_added_up_and_what_they_wait_is_not() {
    const NAME: &str = "lictor_plugin_cpu_seconds_total";
    for keys in ["timeout = \"400ms\"", "timeout = \"2s\"\ncpu_time = \"400ms\""] {
        let (_server, mut connection) = start(|setup| setup.echo().hostile(keys));
        connection.ask("sleep 300");
        connection.ask_all(&[("args a", ""); 50]);
        // On a busy machine a small call may take a tick, which is counted; the 300 ms are not.
        let waited = of_hostile(&mut connection, NAME, "");
        assert!(waited < 0.1, "{keys}: {waited}");
        connection.ask("spin");
        let computed = of_hostile(&mut connection, NAME, "");
        assert!((0.01..1.0).contains(&computed), "{keys}: {computed}");
        assert_eq!(samples(&mut connection)[&format!("{NAME}{{plugin=\"echo\"}}")], 0.0);
    }
}

#[test]
fn instances_are_counted_while_they_live_and_by_the_reason_of_their_end() {
    let (instances, warm) = ("lictor_plugin_instances", "lictor_plugin_warm_instances");
    let retired = |connection: &mut Connection, reason: &str| {
        of_hostile(connection, "lictor_plugin_instances_retired_total", &format!(",reason=\"{reason}\""))
    };
    let (server, mut connection) =
        start(|setup| setup.hostile("instances = \"shared\"\nmax_calls = 3\nidle_timeout = \"1s\""));
    assert_eq!(of_hostile(&mut connection, instances, ""), 0.0);
    connection.ask("args a");
    assert_eq!([instances, warm].map(|name| of_hostile(&mut connection, name, "")), [1.0, 1.0]);
    connection.ask("args b");
    connection.ask("args c");
    assert_eq!(retired(&mut connection, "calls"), 1.0);
    assert_eq!([instances, warm].map(|name| of_hostile(&mut connection, name, "")), [0.0, 0.0]);
    connection.ask("trap");
    assert_eq!(retired(&mut connection, "failure"), 1.0);
    connection.ask("args d");
    eventually("it to be idle for too long", || (retired(&mut connection, "idle") == 1.0).then_some(()));
    connection.ask("args e");
    server.edit(|text| text.replace("max_calls = 3", "max_calls = 4"));
    connection.ask("@reload");
    eventually("the old plugin to be dropped", || {
        connection.ask("@ping");
        (retired(&mut connection, "replaced") == 1.0).then_some(())
    });
    assert_eq!(retired(&mut connection, "calls"), 1.0, "the counts stay");
}

#[test]
fn fresh_instances_are_no_warm_ones() {
    let (_server, mut connection) = start(|setup| setup.hostile(""));
    connection.send("sleep 700\r\nSequence: s\r\n\r\n");
    let of = |connection: &mut Connection, name: &str| of_hostile(connection, name, "");
    eventually("it to run", || (of(&mut connection, "lictor_plugin_instances") == 1.0).then_some(()));
    assert_eq!(of(&mut connection, "lictor_plugin_warm_instances"), 0.0);
}

#[test]
fn the_most_memory_that_an_instance_took_is_told() {
    const NAME: &str = "lictor_plugin_memory_peak_bytes";
    let (_server, mut connection) = start(|setup| setup.echo().hostile("memory = \"16MiB\""));
    connection.ask("args a");
    let small = of_hostile(&mut connection, NAME, "");
    connection.ask("alloc 6000000");
    let large = of_hostile(&mut connection, NAME, "");
    connection.ask("args a");
    assert!(small > 0.0 && large >= small + 5e6 && large <= 16.0 * 1024.0 * 1024.0, "{small} {large}");
    assert_eq!(of_hostile(&mut connection, NAME, ""), large);
    assert!(samples(&mut connection)[&format!("{NAME}{{plugin=\"echo\"}}")] < small.max(large));
}
