//! Plugins that compute where a clock might not reach them: within another plugin's stream, and beside a
//! write that they took back.

use std::collections::HashMap;

use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::assert_serves;

/// Concurrent calls: more than a machine with two processors has serving threads.
const MANY: usize = 3;

/// Starts a server with `run-streamed`, which runs `spin` in a stream, with `keys` for the plugin of `spin`;
/// with a client that may do anything, and a well-behaved one.
fn server_with(keys: &str) -> (Server, Identity, Identity) {
    let (greedy, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let keys = format!("concurrency = {MANY}\n{keys}");
    let relaying = "timeout = \"10m\"\n[plugins.relaying.grants]\ncommands = [\"spin\"]";
    let setup = Setup::new().master("greedy", &greedy).client("quiet", &quiet, &["echo", "@ping"]).echo();
    let setup = setup.plugin("hostile", components::hostile(), &["spin", "leak"], &keys);
    let setup = setup.plugin("relaying", components::relaying(), &["run-streamed"], relaying);
    (setup.server("drain_timeout = \"1s\"").start(), greedy, quiet)
}

/// Sends the request this many times, as `s0`, `s1` and so on.
fn begin(connection: &mut Connection, times: usize, line: &str) {
    (0..times).for_each(|number| connection.send(format!("{line}\r\nSequence: s{number}\r\n\r\n")));
}

/// Returns the output of the streams and their ends, by sequence.
fn read_streams(connection: &mut Connection, times: usize) -> HashMap<String, (String, Frame)> {
    let (mut parts, mut ends) = (HashMap::<String, String>::new(), HashMap::new());
    while ends.len() < times {
        let frame = connection.read_frame();
        let sequence = frame.field("Sequence").expect("a framed reply").to_owned();
        if frame.status == "PART" {
            parts.entry(sequence).or_default().push_str(&String::from_utf8_lossy(&frame.body));
        } else {
            let whole = parts.remove(&sequence).unwrap_or_default();
            ends.insert(sequence, (whole, frame));
        }
    }
    ends
}

/// Starts as many loops as the plugin runs at once, each within a stream, and waits until they run.
fn spin_in_streams(server: &Server, greedy: &Identity) -> Connection {
    let mut connection = server.connect(greedy);
    begin(&mut connection, MANY, "run-streamed spin");
    let mut probe = server.connect(greedy);
    eventually("the loops to run", || {
        probe.send("leak\r\nSequence: p\r\nTimeout-Ms: 50\r\n\r\n");
        // While a loop has not started there is a free slot, and the probe is answered.
        let end = probe.read_frame();
        (end.status == "ERR" && end.failure() == ("timeout", "not-run")).then_some(())
    });
    connection
}

#[test]
fn a_command_that_loops_within_a_stream_is_stopped_by_its_own_bounds() {
    for (keys, told) in [("timeout = \"1s\"", "timeout: "), ("cpu_time = \"300ms\"", "plugin-limit: ")] {
        let (server, greedy, quiet) = server_with(keys);
        for times in [1, MANY] {
            let mut connection = server.connect(&greedy);
            begin(&mut connection, times, "run-streamed spin");
            assert_serves(&server, &quiet);
            for (whole, end) in read_streams(&mut connection, times).into_values() {
                assert!(whole.starts_with(told) && end.status == "OK", "{keys}: {whole}, {end:?}");
            }
        }
        assert_serves(&server, &quiet);
        assert!(!server.printed().contains("not counted"), "{}", server.printed());
    }
}

#[test]
fn a_command_that_loops_within_a_stream_ends_with_the_stream() {
    let (mut server, greedy, quiet) = server_with("timeout = \"10m\"");
    let ways: [(&str, &dyn Fn(Connection)); 3] = [
        ("@cancel", &|mut connection| {
            (0..MANY).for_each(|number| {
                connection.send(format!("@cancel s{number}\r\nSequence: c{number}\r\n\r\n"))
            });
            let ends = read_streams(&mut connection, 2 * MANY);
            assert_eq!(ends["s0"].1.failure(), ("cancelled", "unknown"));
        }),
        ("@kick", &|mut connection| {
            let mut operator = server.connect(&greedy);
            let clients = operator.ask("@clients");
            let ids = clients.lines().filter_map(|line| line.strip_prefix("  c")?.split_whitespace().next());
            // The operator's own connection is the last.
            ids.for_each(|id| operator.send(format!("@kick c{id}\r\n\r\n")));
            connection.read_to_end();
        }),
        ("the client leaves", &|connection| drop(connection)),
    ];
    for (way, end) in ways {
        end(spin_in_streams(&server, &greedy));
        let mut probe = server.connect(&greedy);
        eventually(&format!("{way} to free what the loops held"), || {
            (probe.ask_framed("leak").status == "OK").then_some(())
        });
        assert_serves(&server, &quiet);
    }
    let _loops = spin_in_streams(&server, &greedy);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.printed());
}

#[test]
fn a_stream_that_takes_back_what_it_wrote_and_computes_is_stopped() {
    let bounds = [
        ("timeout = \"1s\"", "timeout"),
        // Long, since on a busy machine that much computing takes a while.
        ("timeout = \"10m\"\ncpu_time = \"300ms\"", "plugin-limit"),
    ];
    for (keys, told) in bounds {
        let (greedy, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
        let setup = Setup::new().master("greedy", &greedy).client("quiet", &quiet, &["echo", "@ping"]).echo();
        let server = setup.plugin("streams", components::streams(), &["take-back"], keys).start();
        let mut connection = server.connect(&greedy);
        begin(&mut connection, 1, "take-back");
        assert_serves(&server, &quiet);
        let ends = read_streams(&mut connection, 1);
        assert_eq!(ends["s0"].1.failure(), (told, "unknown"), "{keys}");
        assert_serves(&server, &quiet);
    }
}

#[test]
fn a_stream_that_goes_on_by_its_own_events_and_computes_is_stopped() {
    let (greedy, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let setup = Setup::new().master("greedy", &greedy).client("quiet", &quiet, &["echo", "@ping"]).echo();
    let grants = "events = [\"feed\", \"publish feed\"]";
    let keys = format!(
        "timeout = \"10m\"\ncpu_time = \"300ms\"\n[plugins.feeding.grants]\n{grants}\ncommands = [\"announce\"]"
    );
    let setup = setup.plugin("feeding", components::feeding(), &["feed"], &keys);
    let announcing = format!("[plugins.announcing.grants]\n{grants}");
    let server = setup.plugin("announcing", components::announcing(), &["announce"], &announcing).start();
    let mut connection = server.connect(&greedy);
    for line in ["feed", "feed announce"] {
        begin(&mut connection, 1, line);
        assert_serves(&server, &quiet);
        let ends = read_streams(&mut connection, 1);
        assert_eq!(ends["s0"].1.failure(), ("plugin-limit", "unknown"), "{line}");
    }
    // Each is driven by the events of the other.
    begin(&mut connection, 2, "feed");
    let ends = read_streams(&mut connection, 2);
    assert!(ends.values().all(|(_, end)| end.failure() == ("plugin-limit", "unknown")), "{ends:?}");
}
