//! Plugins that make the host hold resources behind handles: each learns the bound it met, and the server
//! shrinks back to its former size.

use std::fs::File;
use std::thread;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::assert_serves;
use crate::memory::crowd;
use crate::tell_memory;

/// Most that the server may have grown after an attack, in KiB. Each could make it grow by a multiple of it.
const MOST_GROWN_KIB: u64 = 40 << 10;

/// Starts a server with a plugin with these commands and keys for one client, and restarts it: memory used
/// for compiling would distort the figures.
fn serving(component: &str, commands: &[&str], keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let component = match component {
        "web" => components::web(),
        "folders" => components::folders(),
        "streams" => components::streams(),
        _ => components::hostile(),
    };
    let setup = Setup::new().master("tester", &tester).echo();
    let mut server = setup.plugin("attacker", component, commands, keys).start();
    server.start_anew();
    (server, tester)
}

/// Sends `command` repeatedly; returns the code of each failure.
fn ask(connection: &mut Connection, command: &str, times: usize) -> Vec<(String, String)> {
    let answers = (0..times).map(|_| connection.ask_framed(command));
    let failed = answers.filter(|frame| frame.status == "ERR");
    failed.map(|frame| (frame.failure().0.to_owned(), frame.message.clone())).collect()
}

/// Asserts that the server serves, and is about as large as `before`, after returning freed memory.
#[track_caller]
fn assert_at_rest(server: &Server, tester: &Identity, before: u64) {
    assert_eq!(server.connect(tester).ask("echo hello"), "hello");
    eventually(&format!("the server to be back at {before} KiB and a little"), || {
        (server.resident_kib().saturating_sub(before) < MOST_GROWN_KIB).then_some(())
    });
    tell_memory(server, before);
}

const HTTP: &str = "instances = \"per-client\"\nmemory = \"4MiB\"\ntimeout = \"1m\"";

#[test]
fn methods_of_requests_are_short_whatever_a_plugin_sets() {
    let keys = format!("{HTTP}\nhost_bytes = \"10GiB\"\n[plugins.attacker.grants]\nhttp = []");
    let (server, tester) = serving("web", &["hoard-methods"], &keys);
    let before = server.resident_kib();
    let mut connection = server.connect(&tester);
    // Each of them is refused separately, so the calls succeed.
    assert_eq!(ask(&mut connection, "hoard-methods 300 1000000", 6), []);
    assert_at_rest(&server, &tester, before);
}

#[test]
fn what_a_plugin_sets_of_a_request_is_counted_as_what_it_moves() {
    let keys = format!("{HTTP}\nhost_calls = 1000\n[plugins.attacker.grants]\nhttp = []");
    let (server, tester) = serving("web", &["hoard-methods", "hoard-paths"], &keys);
    let mut connection = server.connect(&tester);
    for (command, words) in [
        ("hoard-methods 300 1000000", "67108864 bytes through the host"),
        ("hoard-paths 600 1", "1000 operations of the host"),
    ] {
        let failures = ask(&mut connection, command, 1);
        let [(code, message)] = &failures[..] else { panic!("{command}: {failures:?}") };
        assert_eq!(code, "plugin-limit", "{command}");
        assert!(message.contains(words), "{command}: {message}");
    }
}

#[test]
fn heads_that_the_host_keeps_are_a_part_of_the_instances_memory() {
    let keys = format!("{HTTP}\nhost_bytes = \"10GiB\"\n[plugins.attacker.grants]\nhttp = []");
    let (server, tester) = serving("web", &["hoard-paths", "hoard-fields", "hoard-bodies"], &keys);
    let before = server.resident_kib();
    let mut connection = server.connect(&tester);
    for command in ["hoard-paths 300 16000", "hoard-fields 300", "hoard-bodies 100"] {
        let failures = ask(&mut connection, command, 6);
        assert_eq!(failures.len(), 6, "{command}: {failures:?}");
        for (code, message) in failures {
            assert_eq!(code, "plugin-limit", "{command}: {message}");
            assert!(
                message.contains("4194304 bytes of memory, with what the host holds"),
                "{command}: {message}"
            );
        }
    }
    assert_at_rest(&server, &tester, before);
    assert!(
        server.connect(&tester).ask("@status metrics").contains("lictor_instance_memory_used_up_total 18")
    );
}

#[test]
fn an_instance_that_leaves_much_behind_its_handles_is_given_up() {
    let keys = format!("{HTTP}\nmax_calls = 1000000\n[plugins.attacker.grants]\nhttp = []");
    let (server, tester) = serving("web", &["hoard-paths"], &keys);
    let mut connection = server.connect(&tester);
    let kept: Vec<usize> =
        (0..40).map(|_| connection.ask("hoard-paths 5 16000").parse().expect("a number")).collect();
    assert_eq!(kept[..2], [5, 10], "the instance is warm");
    assert!(
        kept.iter().all(|kept| *kept <= 40),
        "no instance has more than half a mebibyte of them: {kept:?}"
    );

    let (server, tester) = serving("hostile", &["hoard", "leak"], "instances = \"per-client\"");
    let mut connection = server.connect(&tester);
    let answers = ["leak", "hoard 100", "leak", "hoard 1500", "leak"].map(|command| connection.ask(command));
    assert_eq!(answers, ["1", "100", "2", "1500", "1"], "nor one that stays entered");
}

#[test]
fn handles_that_cost_little_are_bounded_by_number() {
    let (server, tester) = serving("hostile", &["hoard"], "memory = \"16MiB\"\ntimeout = \"1m\"");
    let before = server.resident_kib();
    let mut connection = server.connect(&tester);
    assert_eq!(ask(&mut connection, "hoard 2000", 1), []);
    for (code, message) in ask(&mut connection, "hoard 1000000", 6) {
        assert_eq!(code, "plugin-limit");
        assert!(message.contains("4096 handles"), "{message}");
    }
    assert_at_rest(&server, &tester, before);
}

#[test]
fn streams_of_a_component_are_few_and_charged_from_the_start() {
    let (server, tester) = serving("streams", &["hoard"], "memory = \"4MiB\"\ntimeout = \"1m\"");
    let before = server.resident_kib();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask_framed("hoard 100").status, "PART");
    assert_eq!(connection.read_frame().status, "OK");
    let failures = ask(&mut connection, "hoard 49000", 6);
    assert_eq!(failures.len(), 6);
    for (code, message) in failures {
        assert_eq!(code, "plugin-limit");
        assert!(message.contains("handles"), "{message}");
    }
    assert_at_rest(&server, &tester, before);
}

/// One entry more than a listed folder may have.
const TOO_MANY: usize = 65_537;

#[test]
fn a_folder_of_too_many_entries_is_not_listed() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let folder = setup.folder().join("crowded");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..TOO_MANY {
        File::create(folder.join(format!("{number}"))).unwrap();
    }
    let keys = format!("timeout = \"1m\"\n{FOLDER}");
    let setup = setup.plugin("attacker", components::folders(), &["hold-lists", "list"], &keys);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    let frame = connection.ask_framed("list /data");
    assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{frame:?}");
    assert!(frame.message.contains("Quota"), "{frame:?}");
    assert!(connection.ask("@status metrics").contains("lictor_folders_too_large_total 1"));
    std::fs::remove_file(folder.join("0")).unwrap();
    assert_eq!(connection.ask("hold-lists 1 /data"), "1");
}

const FOLDER: &str = "[plugins.attacker.grants.directories]\n\"/data\" = \"crowded\"";

/// Entries of a folder, a few listings of which fit into an instance's memory.
const ENTRIES: usize = 20_000;

#[test]
fn listings_of_folders_are_counted_and_charged() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let folder = setup.folder().join("crowded");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..ENTRIES {
        File::create(folder.join(format!("an-entry-with-a-name-of-some-length-{number}"))).unwrap();
    }
    let few = format!("host_calls = 10\ntimeout = \"1m\"\n{FOLDER}");
    let small = few.replace("attacker", "small").replace("host_calls = 10", "memory = \"4MiB\"");
    let mut server = setup
        .plugin("attacker", components::folders(), &["hold-lists"], &few)
        .plugin("small", components::folders(), &["list"], &small)
        .start();
    server.start_anew();
    let before = server.resident_kib();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("hold-lists 2 /data"), "2");
    for (command, words) in
        [("hold-lists 30 /data", "10 operations of the host"), ("list /data", "4194304 bytes of memory")]
    {
        for (code, message) in ask(&mut connection, command, 3) {
            assert_eq!(code, "plugin-limit", "{command}: {message}");
            assert!(message.contains(words), "{command}: {message}");
        }
    }
    assert_at_rest(&server, &tester, before);
}

/// Concurrent calls that list a folder, which takes some 20 MB each.
const LISTING: usize = 16;
const NAME_BYTES: usize = 200;

#[test]
fn listings_are_charged_to_the_memory_of_all_plugins_before_they_are_read() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    crowd(&setup.folder().join("crowded"), TOO_MANY - 1, NAME_BYTES);
    let keys = format!("timeout = \"10m\"\nmemory = \"64MiB\"\n{FOLDER}");
    let setup = setup.plugin("attacker", components::folders(), &["hold-lists", "sit"], &keys);
    // Enough for one of them.
    let mut server = setup.section("[limits]\nplugin_memory = \"36MiB\"").start();
    server.start_anew();
    let mut sitting = server.connect(&tester);
    sitting.send("sit 1 /data\r\n\r\n");
    let list = || server.connect(&tester).ask("hold-lists 1 /data");
    server.wait_for_log("a call that holds a listing", |entry| entry.text("line") == Some("sits"));
    let before = server.memory_kib("VmHWM:");
    let answers: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..LISTING).map(|_| scope.spawn(list)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.contains("memory")), "{answers:?}");
    let grown = server.memory_kib("VmHWM:") - before;
    assert!(grown < 100 << 10, "{grown} KiB");
    assert_serves(&server, &tester);
}

#[test]
fn streams_of_one_file_are_as_few_as_open_files() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let folder = setup.folder().join("crowded");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "the text of a").unwrap();
    let server = setup.plugin("attacker", components::folders(), &["hold-streams"], FOLDER).start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("hold-streams 20"), "20");
    // Together with the folders and the file, each of which takes a place.
    let held = connection.ask("hold-streams 100");
    let (count, words) = held.split_once(' ').expect("it is refused");
    assert!((20..32).contains(&count.parse().unwrap()) && words.contains("quota"), "{held}");
}
