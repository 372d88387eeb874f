//! A server under a service manager: what it tells, and the sockets that it is given.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::certs::Identity;
use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::server::Setup;

/// Where a manager listens, in the folder of `setup`.
fn manager(setup: &Setup) -> UnixDatagram {
    let socket = UnixDatagram::bind(setup.folder().join("notify")).expect("a socket is made");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time is set");
    socket
}

/// The next message that is not about being alive.
fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    loop {
        let length = manager.recv(&mut bytes).expect("the server tells something");
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if !text.contains("WATCHDOG=1") {
            return text;
        }
    }
}

#[test]
fn readiness_reloads_and_the_end_are_told() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let manager = manager(&setup);
    let path = setup.folder().join("notify");
    let mut server = setup.start_by(|mut lictor| {
        lictor.env("NOTIFY_SOCKET", &path);
        lictor
    });
    assert_eq!(heard(&manager), "READY=1\n");
    server.signal("HUP");
    let reloading = heard(&manager);
    assert!(reloading.contains("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard(&manager), "READY=1\n");
    server.edit(|text| text + "nonsense");
    server.signal("HUP");
    assert!(heard(&manager).contains("RELOADING=1"));
    assert_eq!(heard(&manager), "READY=1\n", "a reload that failed has ended as well");
    server.signal("TERM");
    assert_eq!(heard(&manager), "STOPPING=1\n");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_watchdog_hears_that_the_server_lives() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let manager = manager(&setup);
    let path = setup.folder().join("notify");
    let _server = setup.start_by(|mut lictor| {
        lictor.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "5000000");
        lictor
    });
    let mut bytes = [0; 512];
    let lives = (0..5).filter(|_| {
        let length = manager.recv(&mut bytes).expect("the server tells something");
        &bytes[..length] == b"WATCHDOG=1\n"
    });
    assert!(lives.count() >= 3);
}

#[test]
fn a_socket_that_is_handed_over_takes_the_place_of_the_configs() {
    let tester = Identity::new("tester");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let setup = Setup::new().server("listen = [\"127.0.0.1:1\"]").master("tester", &tester).echo();
    let socket = OwnedFd::from(listener);
    let server = setup.start_by(|lictor| {
        let mut shell = Command::new("sh");
        // The first socket that is handed over is file 3; this one comes as the standard input.
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
        shell.arg(lictor.get_program()).args(lictor.get_args()).stdin(Stdio::from(socket));
        if let Some(folder) = lictor.get_current_dir() {
            shell.current_dir(folder);
        }
        shell
    });
    let mut connection = eventually("an answer", || {
        let connection = Connection::admitted(address, &tester);
        Some(connection)
    });
    assert_eq!(connection.ask("echo handed"), "handed");
    assert_eq!(server.address(), address);
}
