//! A server under a service manager: its notifications, and the sockets passed to it.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use testkit::certs::Identity;
use testkit::client::{Connection, tcp};
use testkit::server::{Entry, Setup};
use testkit::tools::finish;
use testkit::{eventually, let_pass};

/// Binds the manager's socket, in the folder of `setup`.
fn manager(setup: &Setup) -> UnixDatagram {
    let socket = UnixDatagram::bind(setup.folder().join("notify")).expect("a socket is made");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time is set");
    socket
}

/// Returns the next message, skipping those about being alive.
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

/// Prepares `lictor` with `socket` passed to it.
fn handed(lictor: &Command, socket: OwnedFd) -> Command {
    let mut shell = Command::new("sh");
    // The first passed socket is file 3; this one comes as the standard input.
    shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
    shell.arg(lictor.get_program()).args(lictor.get_args()).stdin(Stdio::from(socket));
    if let Some(folder) = lictor.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// As after a restart of a container whose manager is gone.
#[test]
fn a_manager_that_is_gone_is_told_once_and_again_when_it_is_back() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let path = setup.folder().join("notify");
    let mut server = setup.start_by(|mut lictor| {
        lictor.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
        lictor
    });
    let deaf = |entry: &Entry| entry.message() == "the service manager cannot be told";
    server.wait_for_log("that it is gone", deaf);
    // Several notifications fall due, one each half second.
    let_pass(Duration::from_secs(3));
    let manager = UnixDatagram::bind(&path).expect("a socket is made");
    manager.recv(&mut [0; 64]).expect("the server tells something");
    server
        .wait_for_log("that it is back", |entry| entry.message() == "the service manager can be told again");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(server.log().iter().filter(|entry| deaf(entry)).count(), 1, "{}", server.printed());
    assert!(server.happened("the service manager cannot be told") > 4, "{}", server.printed());
}

#[test]
fn a_socket_that_is_handed_over_takes_the_place_of_the_configs() {
    let tester = Identity::new("tester");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let setup = Setup::new().server("listen = [\"127.0.0.1:1\"]").master("tester", &tester).echo();
    let server = setup.start_by(|lictor| handed(&lictor, OwnedFd::from(listener)));
    let mut connection = eventually("an answer", || {
        let connection = Connection::admitted(address, &tester);
        Some(connection)
    });
    assert_eq!(connection.ask("echo handed"), "handed");
    assert_eq!(server.address(), address);
}

/// `ListenStream=4888` makes a socket of both families, on which IPv4 addresses appear as `::ffff:127.0.0.1`.
#[test]
fn a_client_by_ipv4_has_an_ipv4_address_whatever_socket_it_came_to() {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("there are sockets");
    let bound = socket.set_only_v6(false).and_then(|()| {
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        socket.listen(16)
    });
    if let Err(error) = bound {
        println!("SKIPPED: this machine has no sockets of both families: {error}");
        return;
    }
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let setup = setup.section("[limits]\nconnections_per_address = 1");
    let server = setup.start_by(|lictor| handed(&lictor, OwnedFd::from(socket)));
    let by_ipv4 = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    let mut connection = Connection::admitted(by_ipv4, &tester);
    let clients = connection.ask("@clients");
    assert!(clients.contains("  127.0.0.1:") && !clients.contains("ffff"), "{clients}");
    let of_ipv4 = |message: &str| {
        let entry = server.wait_for_log(message, |entry| entry.message() == message);
        assert!(entry.text("peer").is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{entry:?}");
    };
    of_ipv4("admitted");
    drop(tcp(by_ipv4));
    of_ipv4("refused: too many connections from this address");
}

/// Returns the unit in the documentation, adapted to the tests' program.
fn documented_unit() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let units: Vec<_> =
        page.split("```ini\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let unit = units.into_iter().find(|unit| unit.contains("[Service]")).expect("there is a unit");
    unit.replace("/usr/local/bin/lictor", env!("CARGO_BIN_EXE_lictor"))
}

/// Returns the values of all lines with this `key`.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_documented_unit_leaves_little_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lictor.service");
    fs::write(&path, documented_unit()).unwrap();
    let mut tool = Command::new("systemd-analyze");
    if tool.arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze");
        return;
    }
    let mut rated = Command::new("systemd-analyze");
    let rated = finish(rated.args(["security", "--no-pager", "--offline=true", "--threshold=20"]).arg(&path));
    assert_eq!(rated.code, Some(0), "it is rated at more than 2.0:\n{}{}", rated.stdout, rated.stderr);
    let verified = finish(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    let about_it: Vec<_> = verified.stderr.lines().filter(|line| line.contains("lictor.service")).collect();
    assert!(about_it.is_empty(), "{about_it:?}");
}

#[test]
fn the_documented_unit_lets_the_server_do_its_work() {
    let unit = documented_unit();
    for (key, harm) in [
        ("MemoryDenyWriteExecute", "plugins are compiled"),
        ("ProcSubset", "the machine's memory and load are read"),
        ("PrivateNetwork", "clients come over the network"),
        ("PrivateUsers", "the owners of files count"),
    ] {
        assert!(values(&unit, key).is_empty(), "{key}: {harm}");
    }
    let calls = values(&unit, "SystemCallFilter").join(" ");
    assert!(!calls.contains("~@resources"), "limits are set");
    assert!(
        calls.split(' ').any(|word| word == "seccomp"),
        "the process that compiles confines itself by it"
    );
    assert_eq!(values(&unit, "CapabilityBoundingSet"), [""], "no capability is left");
}

/// The user of a server without root's rights: nobody, if the tests run as root; else the tests' own user.
const NOBODY: u32 = 65534;

/// Wraps `command` to run as that user, with no capability and no way to one.
fn as_nobody(command: &Command) -> Command {
    let mut lowered = Command::new("setpriv");
    lowered.arg("--no-new-privs");
    // Only a process with capabilities can take them from the set.
    if is_root() {
        let user = NOBODY.to_string();
        lowered.args(["--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]);
        lowered.args(["--reuid", &user, "--regid", &user]);
    }
    lowered.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        lowered.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => lowered.env(name, value),
            None => lowered.env_remove(name),
        };
    }
    lowered
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Makes that user the owner of everything in `folder`.
fn give_to_nobody(folder: &Path) {
    if !is_root() {
        return;
    }
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { give_to_nobody(&path) } else { chown(&path, Some(NOBODY), Some(NOBODY)).unwrap() }
    }
}

#[test]
fn no_process_of_its_user_looks_into_the_server() {
    let mut probe = Command::new("test");
    let can_run = as_nobody(probe.args(["-x", env!("CARGO_BIN_EXE_lictor")])).status();
    if !can_run.is_ok_and(|status| status.success()) {
        println!("SKIPPED: there is no `setpriv`, or another user can't run the program of the tests");
        return;
    }
    let tester = Identity::new("tester");
    let setup = Setup::new()
        .server("cache = \"cache\"")
        .master("tester", &tester)
        .echo()
        .section("[state]\nengine = \"sqlite\"\npath = \"state/state.db\"");
    let folder = setup.folder().to_owned();
    let server = setup.start_by(|lictor| {
        give_to_nobody(&folder);
        as_nobody(&lictor)
    });
    // It has access to its own files: the plugin was compiled, the state made, and the config is read again.
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("echo hello"), "hello");
    assert_eq!(connection.ask("@reload"), "nothing has changed");
    let process = format!("/proc/{}", server.process());
    for secret in ["environ", "maps", "mem", "fd", "root", "exe"] {
        let mut look = Command::new("ls");
        look.args(["-lL", &format!("{process}/{secret}")]);
        if !["fd", "root", "exe"].contains(&secret) {
            look = Command::new("head");
            look.args(["-c", "1", &format!("{process}/{secret}")]);
        }
        let looked = finish(&mut as_nobody(&look));
        assert_ne!(looked.code, Some(0), "{secret}: {looked:?}");
        assert!(looked.stderr.contains("Permission denied"), "{secret}: {looked:?}");
    }
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
