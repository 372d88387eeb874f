//! Signals, and a service manager, while a plugin is slow to load.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::eventually;
use testkit::server::Setup;

use crate::reload::{LOADING, ends_late, loading, slow};

#[test]
fn a_server_that_loads_a_plugin_stops_when_it_is_told() {
    for signals in [1, 2] {
        let tester = Identity::new("tester");
        let mut server =
            Setup::new().master("tester", &tester).echo().server("drain_timeout = \"2s\"").start();
        let (mut operator, mut waiting) = (server.connect(&tester), server.connect(&tester));
        let slow = loading(&server);
        server.edit(|text| text + &slow);
        waiting.send("@reload\r\nSequence: r\r\n\r\n");
        eventually("the plugin to be loaded", || {
            operator.ask("@status").contains("loading plugin slow").then_some(())
        });
        let begun = Instant::now();
        (0..signals).for_each(|_| server.signal("TERM"));
        if signals == 1 {
            let told = waiting.read_frame();
            assert!(told.message.contains("the server is stopping"), "{told:?}");
        }
        assert_eq!(server.wait(), Some(0), "{}", server.printed());
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_start_that_takes_long_is_ended_by_a_signal_and_keeps_another_in_mind() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let component = slow(setup.folder());
    let config = setup.plugin("slow", &component, &["slow"], LOADING);
    config.write();
    let log = config.folder().join("start.log");
    let file = std::fs::File::create(&log).unwrap();
    let mut child = testkit::tools::lictor(config.folder())
        .args(["serve", "--config", "server.toml"])
        .stderr(file)
        .spawn()
        .unwrap();
    let printed = || std::fs::read_to_string(&log).unwrap();
    eventually("the first plugin", || printed().contains("\"loaded\"").then_some(()));
    for signal in ["-HUP", "-TERM"] {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    assert_eq!(testkit::tools::wait(&mut child, "the server"), Some(0), "{}", printed());
}

#[test]
fn a_hangup_that_comes_while_the_server_starts_is_kept_in_mind() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let component = ends_late(setup.folder());
    let setup = setup.plugin("late", &component, &["late"], "timeout = \"1m\"");
    let log = setup.folder().join("server.log");
    let server = thread::scope(|scope| {
        scope.spawn(|| {
            let process = eventually("the start", || {
                let text = std::fs::read_to_string(&log).ok()?;
                text.contains("\"loaded\"").then(|| process_of(log.parent().unwrap()))?
            });
            assert!(Command::new("kill").args(["-HUP", &process.to_string()]).status().unwrap().success());
        });
        setup.start()
    });
    server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    assert_eq!(server.connect(&tester).ask("late"), "ok");
}

/// Returns the process whose config is in `folder`.
fn process_of(folder: &Path) -> Option<u32> {
    let config = folder.join("server.toml");
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let is_lictor = words.next()?.ends_with(b"lictor");
        (is_lictor && words.any(|word| word == config.as_os_str().as_encoded_bytes())).then_some(process)
    })
}

#[test]
fn a_service_manager_hears_that_a_server_lives_while_it_loads_a_plugin() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let path = setup.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let server = setup.start_by(|mut lictor| {
        lictor.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000");
        lictor
    });
    let slow = loading(&server);
    server.edit(|text| text + &slow);
    server.signal("HUP");
    let mut bytes = [0; 512];
    let mut heard = || {
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    while !heard().contains("RELOADING=1") {}
    assert!((0..5).all(|_| heard() == "WATCHDOG=1\n"));
    // A manager that accepts nothing delays neither clients nor a signal.
    drop(manager);
    let unread = UnixDatagram::bind(path.with_extension("2")).unwrap();
    std::fs::rename(path.with_extension("2"), &path).unwrap();
    eventually("a queue that is full", || {
        server.printed().contains("the service manager cannot be told").then_some(())
    });
    assert_eq!(server.connect(&tester).ask("echo served"), "served");
    let mut server = server;
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    drop(unread);
}
