//! Counted bounds that need their own config, or a crowd.

use std::any::Any;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls, tcp};
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::{eventually, tcp_from};

use crate::metrics::metrics;

/// Actions of two clients that meet a bound; the returned resources are held until it was counted.
type Meet = fn(&Server, [&Identity; 2]) -> Box<dyn Any>;

/// The metric, the limits by which it is met, and the actions.
const CASES: [(&str, &str, Meet); 15] = [
    ("lictor_connections_delayed_total", "connections = 2\nconnections_per_address = 2", |server, _| {
        Box::new([tcp(server.address()), tcp(server.address())])
    }),
    (
        "lictor_client_connections_refused_total",
        "[clients.tester.limits]\nconnections = 1",
        |server, [tester, _]| {
            Box::new([(); 2].map(|()| Connection::open(server.address(), Tls::showing(tester))))
        },
    ),
    (
        "lictor_handshakes_delayed_total",
        "unauthenticated_connections = 1\nunauthenticated_per_address = 1",
        |server, _| Box::new([tcp(server.address()), tcp_from([127, 0, 0, 2], server.address())]),
    ),
    (
        "lictor_handshakes_of_address_delayed_total",
        "unauthenticated_connections = 4\nunauthenticated_per_address = 1",
        |server, _| Box::new([tcp(server.address()), tcp(server.address())]),
    ),
    ("lictor_handshakes_over_rate_total", "handshakes_per_second = 1", |server, _| {
        Box::new([tcp(server.address()), tcp(server.address())])
    }),
    ("lictor_handshakes_timed_out_total", "handshake_timeout = \"1s\"", |server, _| {
        Box::new(tcp(server.address()))
    }),
    ("lictor_idle_connections_closed_total", "idle_timeout = \"1s\"", |server, [tester, _]| {
        Box::new(server.connect(tester))
    }),
    ("lictor_unread_connections_cut_total", "write_timeout = \"1s\"", |server, [tester, _]| {
        Box::new(sending(server, tester, "big 1000000", 32))
    }),
    ("lictor_unwritten_full_total", "", |server, [tester, _]| {
        Box::new(sending(server, tester, "big 1000000", 32))
    }),
    (
        "lictor_in_flight_bytes_full_total",
        "in_flight_bytes = \"8KiB\"\nbody = \"8KiB\"",
        |server, [tester, _]| {
            let requests: String = (0..4)
                .map(|number| {
                    format!("sleep 50\r\nSequence: {number}\r\nSize: 4096\r\n\r\n{}", "b".repeat(4096))
                })
                .collect();
            let mut connection = server.connect(tester);
            connection.send(requests);
            Box::new(connection)
        },
    ),
    ("lictor_commands_delayed_total", "concurrent_commands = 1", |server, clients| {
        Box::new(clients.map(|client| sending(server, client, "sleep 300", 1)))
    }),
    ("lictor_streams_delayed_total", "concurrent_streams = 1", |server, clients| {
        Box::new(clients.map(|client| sending(server, client, "stall 1", 1)))
    }),
    ("lictor_streams_held_back_total", "", |server, [tester, _]| {
        Box::new(sending(server, tester, "flood", 1))
    }),
    ("lictor_idle_instances_given_up_total", "plugin_memory = \"64MiB\"", |server, [tester, _]| {
        let mut connection = server.connect(tester);
        assert_eq!(connection.ask("alloc 40000000"), "held 40000000");
        assert_eq!(connection.ask_framed("big 30000000").body.len(), 30_000_000);
        Box::new(connection)
    }),
    ("lictor_plugin_memory_used_up_total", "plugin_memory = \"64MiB\"", |server, [tester, _]| {
        let mut connection = server.connect(tester);
        assert_eq!(connection.ask("alloc 40000000"), "held 40000000");
        connection.send("sleep 9000\r\nSequence: s\r\n\r\nbig 30000000\r\nSequence: b\r\n\r\n");
        assert_eq!(connection.read_frame().field("Sequence"), Some("b"));
        Box::new(connection)
    }),
];

/// A client that sends this many of the same command and reads nothing.
fn sending(server: &Server, client: &Identity, command: &str, count: usize) -> Connection {
    let mut connection = server.connect(client);
    let requests = (0..count).map(|number| format!("{command}\r\nSequence: {number}\r\n\r\n"));
    connection.send(requests.collect::<String>());
    connection
}

#[test]
fn each_bound_that_is_met_is_counted_by_its_name() {
    let names = ["operator", "tester", "other"];
    let identities = names.map(Identity::new);
    for (name, limits, meet) in CASES {
        let clients = names.iter().zip(&identities);
        let setup = clients.fold(Setup::new(), |setup, (name, identity)| setup.master(name, identity));
        let large = "instances = \"shared\"\nreply = \"32MiB\"\ntimeout = \"10s\"";
        let server = setup
            .section(&format!("[limits]\n{limits}"))
            .plugin("hostile", components::hostile(), &["sleep", "alloc", "body-size"], large)
            .plugin("large", components::hostile(), &["big"], large)
            .plugin("streams", components::streams(), &["stall", "flood"], "timeout = \"10s\"")
            .start();
        let [operator, tester, other] = &identities;
        let mut operator = server.connect(operator);
        assert_eq!(metrics(&mut operator)[name], 0, "{name}");
        let held = meet(&server, [tester, other]);
        eventually(name, || (metrics(&mut operator)[name] > 0).then_some(()));
        drop(held);
    }
}
