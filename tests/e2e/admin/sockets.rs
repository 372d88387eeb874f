//! Unix sockets: who can open them, and what becomes of their files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use testkit::certs::Identity;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use super::{ask, start, unix};

/// A setup with the default socket.
fn setup() -> Setup {
    Setup::new().echo().master("operator", &Identity::new("operator")).section("[admin]")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Serves, expecting a failure.
fn refused(setup: &Setup, words: &str) -> Finished {
    let config = setup.write();
    let said = finish(lictor(setup.folder()).arg("serve").arg("--config").arg(config));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains(words), "{said:?}");
    said
}

fn socket(server: &Server) -> std::path::PathBuf {
    server.folder().join("run/admin.sock")
}

#[test]
fn a_socket_is_its_users_alone_and_takes_any_host() {
    let server = setup().start_by(|lictor| {
        // With the most permissive umask.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(lictor.get_program()).args(lictor.get_args());
        shell.current_dir(lictor.get_current_dir().unwrap_or(Path::new(".")));
        shell.envs(lictor.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    });
    let path = socket(&server);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    for host in ["localhost", "example.org", "x"] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nOrigin: http://x\r\n\r\n");
        let response = ask(&mut unix(&path), &request);
        assert!(response.status == 200 && response.body.contains("\nlictor_tasks "), "{response:?}");
    }
}

#[test]
fn a_folder_that_is_there_keeps_its_mode() {
    let setup = setup();
    let folder = setup.folder().join("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let server = setup.start();
    assert_eq!((mode(&socket(&server)), mode(&folder)), (0o600, 0o755));
}

#[test]
fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not() {
    let mut server = setup().start();
    let path = socket(&server);
    let first = fs::symlink_metadata(&path).unwrap().ino();
    let second = finish(lictor(server.folder()).arg("serve").arg("--config").arg(server.config()));
    assert_eq!(second.code, Some(2), "{second:?}");
    let words = format!("cannot listen on unix:{}: another server listens there", path.display());
    assert!(second.stderr.contains(&words), "{second:?}");
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), first);
    assert_eq!(ask(&mut unix(&path), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    // Killed, so that its file stays.
    server.start_anew();
    assert_eq!(ask(&mut unix(&path), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(!path.exists(), "it was removed at the end");
}

#[test]
fn of_servers_that_start_at_once_on_a_dead_ones_socket_one_gets_it() {
    let setup = setup();
    fs::create_dir(setup.folder().join("run")).unwrap();
    let path = setup.folder().join("run/admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    let config = setup.write();
    let mut children: Vec<_> = (0..4)
        .map(|number| {
            let log = fs::File::create(setup.folder().join(format!("{number}.log"))).unwrap();
            let mut command = lictor(setup.folder());
            command.arg("serve").arg("--config").arg(&config).stderr(log).spawn().unwrap()
        })
        .collect();
    let ended = testkit::eventually("three to give up", || {
        let ended = children.iter_mut().filter_map(|child| child.try_wait().unwrap()).count();
        (ended == 3).then_some(ended)
    });
    assert_eq!(ended, 3);
    assert_eq!(ask(&mut unix(&path), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let setup = setup();
    fs::create_dir(setup.folder().join("run")).unwrap();
    let path = setup.folder().join("run/admin.sock");
    fs::write(&path, "precious").unwrap();
    refused(&setup, "a file that is no socket is there");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let target = setup.folder().join("target");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    refused(&setup, "a file that is no socket is there");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn a_folder_in_which_others_may_write_is_refused() {
    let setup = setup();
    let folder = setup.folder().join("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&setup, "users other than its owner can write to it: its mode is 777");
}

#[test]
fn a_socket_that_another_has_replaced_is_not_removed() {
    let (mut server, ..) = start();
    let path = socket(&server);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(path.exists(), "it is another's");
}
