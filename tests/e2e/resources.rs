//! Resources that strangers and greedy clients can't exhaust.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::{Connection, Tls, tcp};
use testkit::server::{Entry, Server, Setup};
use testkit::{eventually, tcp_from};

fn limited(limits: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    (setup.section(&format!("[limits]\n{limits}")).start(), tester)
}

/// Returns true if the server has silently closed this connection, as far as can be seen at once.
fn is_ended(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let ended = match socket.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    socket.set_nonblocking(false).unwrap();
    ended
}

fn try_greeting(server: &Server, tester: &Identity) -> Option<Connection> {
    let mut connection = Connection::open(server.address(), Tls::showing(tester)).ok()?;
    connection.is_greeted().then_some(connection)
}

#[test]
fn a_server_without_file_descriptors_serves_again_when_it_has_some() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let mut server = setup.start_by(|lictor| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(lictor.get_program())
            .args(lictor.get_args());
        shell.current_dir(lictor.get_current_dir().unwrap());
        for (name, value) in lictor.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    });
    let mut admitted = server.connect(&tester);
    let crowd: Vec<TcpStream> = (0..100).map(|_| tcp(server.address())).collect();
    let cannot = |entry: &Entry| entry.message() == "cannot accept; trying again";
    server.wait_for_log("that it cannot accept", cannot);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(server.is_running());
        assert_eq!(admitted.ask("echo hello"), "hello", "a client that is in is served on");
    }
    drop(crowd);
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello");
    server.wait_for_log("that it accepts", |entry| entry.message() == "accepts again");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    // The server tried ten times a second.
    assert_eq!(server.log().iter().filter(|entry| cannot(entry)).count(), 1, "{}", server.printed());
    assert!(server.happened("cannot accept; trying again") > 5, "{}", server.printed());
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let (server, tester) = limited("");
    let silent: Vec<TcpStream> = (0..100).map(|_| tcp(server.address())).collect();
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello");
    drop(silent);
}

#[test]
fn strangers_beyond_the_bound_wait_and_are_put_out_in_time() {
    let (server, tester) = limited("unauthenticated_connections = 4\nhandshake_timeout = \"500ms\"");
    let mut silent: Vec<TcpStream> = (0..20).map(|_| tcp(server.address())).collect();
    let begun = Instant::now();
    // Every stranger has the same time from its arrival, even if it never got a slot.
    eventually("the strangers to be put out", || silent.iter_mut().all(is_ended).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.connect(&tester).ask("echo hello"), "hello");
}

#[test]
fn strangers_at_one_address_do_not_use_up_what_is_there_for_all() {
    let limits =
        "unauthenticated_connections = 8\nunauthenticated_per_address = 2\nhandshake_timeout = \"20s\"";
    let tester = Identity::new("tester");
    let setup = Setup::new().server("listen = [\"0.0.0.0:0\"]").master("tester", &tester).echo();
    let server = setup.section(&format!("[limits]\n{limits}")).start();
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    let silent: Vec<_> = (0..20).map(|_| tcp_from([127, 0, 0, 3], address)).collect();
    assert_eq!(Connection::admitted(address, &tester).ask("echo hello"), "hello");
    drop(silent);
}

#[test]
fn one_address_has_no_more_connections_than_it_may() {
    let (server, tester) = limited("connections_per_address = 2");
    let first = server.connect(&tester);
    let mut second = server.connect(&tester);
    assert!(try_greeting(&server, &tester).is_none(), "a third connection is refused");
    assert_eq!(second.ask("echo hello"), "hello");
    drop(first);
    let mut third = eventually("a place to be free again", || try_greeting(&server, &tester));
    assert_eq!(third.ask("echo hello"), "hello");
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let (server, tester) = limited("connections = 2\nconnections_per_address = 2");
    let first = server.connect(&tester);
    let _second = server.connect(&tester);
    let waiting = {
        let (address, tester) = (server.address(), Tls::showing(&tester));
        std::thread::spawn(move || {
            let mut connection = Connection::open(address, tester).unwrap();
            (connection.read_reply(), connection.ask("echo hello"))
        })
    };
    drop(first);
    assert_eq!(waiting.join().unwrap(), ("OK".into(), "hello".into()));
}

#[test]
fn hundreds_of_connections_are_served_at_once() {
    let (server, tester) = limited("");
    let config = Tls::showing(&tester).config();
    let mut connections: Vec<_> =
        (0..300).map(|_| Connection::open_with(server.address(), config.clone()).unwrap()).collect();
    for connection in &mut connections {
        assert_eq!(connection.read_reply(), "OK");
        connection.send("echo hello\r\n\r\n");
    }
    for connection in &mut connections {
        assert_eq!(connection.read_reply(), "hello");
    }
}

#[test]
fn requests_held_for_one_connection_are_bounded_in_bytes_and_answered_all() {
    let tester = Identity::new("tester");
    let limits = "[limits]\nin_flight = 1000\nin_flight_bytes = \"128KiB\"\nbody = \"64KiB\"";
    let server = Setup::new().master("tester", &tester).hostile("").section(limits).start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 500\r\n\r\n");
    // More than the connection may buffer, behind a slow request.
    let request = format!("body-size\r\nSize: 65536\r\n\r\n{}", "b".repeat(65_536));
    (0..8).for_each(|_| connection.send(&request));
    assert_eq!(connection.read_reply(), "slept");
    for _ in 0..8 {
        assert_eq!(connection.read_reply(), "65536");
    }
}
