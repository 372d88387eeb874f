//! Locks on the state: SQLite's locks end when the server closes any descriptor of one of its files, and the
//! next program that opens the state would then remove files that the server still writes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

/// Returns the names of the state files on which the server holds locks.
fn locked(server: &Server) -> Vec<&'static str> {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let process = server.process().to_string();
    let of_server: Vec<_> = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let of_server = of_server.iter().filter(|fields| fields.get(4) == Some(&process.as_str()));
    let inodes: Vec<_> = of_server.filter_map(|fields| fields.get(5)?.rsplit(':').next()).collect();
    ["state.db", "state.db-shm"]
        .into_iter()
        .filter(|file| {
            let inode = fs::metadata(server.folder().join(file)).unwrap().ino().to_string();
            inodes.contains(&inode.as_str())
        })
        .collect()
}

/// Returns true if the server's files are the existing ones, and none was removed.
fn has_lost_none(server: &Server) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", server.process())).unwrap();
    let open = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    open.filter(|path| path.to_string_lossy().contains("state.db")).all(|path| path.exists())
}

/// All files with locks while the server has the state open.
const ALL: [&str; 2] = ["state.db", "state.db-shm"];

/// Starts a server with state, and a plugin with the folder `granted` and the file `status.txt` in it.
fn server() -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let granted = setup.folder().join("granted");
    fs::create_dir(&granted).unwrap();
    fs::write(granted.join("status.txt"), "fine").unwrap();
    let state = "[state]\nengine = \"sqlite\"\npath = \"state.db\"\n[plugins.stateful.grants]\nkeyvalue = [\"default\"]";
    let server = setup
        .plugin("stateful", components::stateful(), &["kv-set", "kv-get"], "")
        .section(state)
        .plugin("folders", components::folders(), &["list", "read"], "")
        .section("[plugins.folders.grants.directories]\n\"/data\" = \"granted\"")
        .plugin("reaching", components::reaching(), &["run"], "")
        .section("[plugins.reaching.grants]\nfiles = [\"granted/status.txt\"]\ncommands = []")
        .start();
    server.connect(&tester).ask("kv-set default a 1");
    assert_eq!(locked(&server), ALL, "at the start");
    (server, tester)
}

#[test]
fn no_reload_takes_the_locks_of_the_state_away() {
    let (server, tester) = server();
    let config = fs::read_to_string(server.config()).unwrap();
    let reload = |what: &str| {
        let told = server.connect(&tester).ask_framed("@reload");
        assert_eq!(locked(&server), ALL, "{what}: {told:?}");
        told.status
    };
    assert_eq!(reload("a reload"), "OK");
    for (what, text) in [
        ("one that fails", config.clone() + "[plugins.echo]\ntimeout = 5\n"),
        ("the state as a certificate", config.clone() + "[clients.b]\ncertificates = [\"state.db\"]\n"),
        ("its log as an authority", config.clone() + "[identity]\nauthorities = [\"state.db-wal\"]\n"),
        ("the state as a component", config.clone() + "[plugins.echo]\ncomponent = \"state.db\"\n"),
        ("the state as a key", config.replace("\"server.key\"", "\"state.db\"")),
        ("the state as a granted file", config.replace("granted/status.txt", "state.db")),
        ("the state as a folder", config.replace("\"granted\"", "\"state.db-shm\"")),
    ] {
        assert_ne!(text, config, "{what}");
        fs::write(server.config(), &text).unwrap();
        assert_ne!(reload(what), "OK", "{what}");
    }
    fs::write(server.config(), &config).unwrap();
    assert_eq!(reload("the old config"), "OK");
}

#[test]
fn nothing_that_a_plugin_opens_takes_the_locks_of_the_state_away() {
    let (server, tester) = server();
    let granted = server.folder().join("granted");
    let mut client = server.connect(&tester);
    assert_eq!(client.ask("read /data/status.txt"), "fine");
    for file in ALL {
        fs::hard_link(server.folder().join(file), granted.join(file)).unwrap();
        fs::remove_file(granted.join("status.txt")).unwrap();
        fs::hard_link(server.folder().join(file), granted.join("status.txt")).unwrap();
        for command in [format!("read /data/{file}"), "list /data".to_owned(), format!("list /data/{file}")] {
            client.ask_framed(&command);
            assert_eq!(locked(&server), ALL, "{command}");
        }
        assert_eq!(client.ask_framed(&format!("read /data/{file}")).status, "ERR");
        // A reload looks at the granted file.
        server.connect(&tester).ask_framed("@reload");
        assert_eq!(locked(&server), ALL, "a reload with {file} under the name of a granted file");
    }
}

#[test]
fn other_programs_leave_a_server_its_state_after_a_reload() {
    let (mut server, tester) = server();
    let mut client = server.connect(&tester);
    assert_eq!(client.ask("@reload"), "nothing has changed");
    let run = |server: &Server, arguments: &[&str]| {
        let ran = finish(lictor(server.folder()).args(arguments));
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        assert!(has_lost_none(server), "{arguments:?}");
        assert_eq!(locked(server), ALL, "{arguments:?}");
        ran.stdout
    };
    run(&server, &["check"]);
    client.ask("kv-set default b 2");
    assert!(run(&server, &["state", "list", "stateful"]).contains('b'));
    run(&server, &["state", "delete", "stateful", "a"]);
    run(&server, &["state", "backup", "copy.db"]);
    assert_eq!(client.ask("kv-get default b"), "2");
    assert_eq!(client.ask_framed("kv-get default a").status, "ERR", "what is deleted is gone for the server");
    server.start_anew();
    assert_eq!(server.connect(&tester).ask("kv-get default b"), "2", "what was acknowledged is there");
}
