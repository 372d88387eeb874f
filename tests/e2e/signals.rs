//! Signals before the server serves, at any time after its handlers are set, and as a container's first
//! process.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::certs::Identity;
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::{lictor, text_of, wait};

/// Plugins, each of which is compiled at the start.
const PLUGINS: usize = 60;

/// Process of the server in its namespace.
#[derive(Clone, Copy)]
enum Process {
    /// The first one, whose signals without a handler are ignored.
    First,
    Any,
}

/// A starting server, and the process that receives signals.
struct Starting {
    _setup: Setup,
    log: PathBuf,
    child: Child,
    process: u32,
}

impl Starting {
    /// Waits until the server handles signals, and no longer.
    fn of(setup: Setup, process: Process) -> Self {
        setup.write();
        let plain = lictor(setup.folder());
        let mut command = Command::new("unshare");
        command.args(["-Urpf", "--kill-child"]).arg(plain.get_program()).current_dir(setup.folder());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut command = match process {
            Process::First => command,
            Process::Any => plain,
        };
        let log = setup.folder().join("server.log");
        let file = File::create(&log).unwrap();
        command.args(["serve", "--config", "server.toml"]).stdin(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap();
        let process = eventually("the handlers", || {
            let id = child.id();
            let process = match process {
                Process::First => {
                    text_of(format!("/proc/{id}/task/{id}/children").as_ref()).trim().parse().ok()?
                }
                Process::Any => id,
            };
            hears(process).then_some(process)
        });
        Self { _setup: setup, log, child, process }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.process.to_string()]).status();
        assert!(sent.unwrap().success(), "{}", self.printed());
    }

    fn printed(&self) -> String {
        text_of(&self.log)
    }

    fn wait_for(&self, words: &str) {
        eventually(words, || self.printed().contains(words).then_some(()));
    }

    /// Asserts that the server ends by itself, and in good order.
    fn ends(&mut self) {
        assert_eq!(wait(&mut self.child, "the server"), Some(0), "{}", self.printed());
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns true if the process is a server that catches SIGHUP, SIGINT and SIGTERM.
fn hears(process: u32) -> bool {
    const CAUGHT: u64 = 1 | 1 << 1 | 1 << 14;
    let status = text_of(format!("/proc/{process}/status").as_ref());
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    status.starts_with("Name:\tlictor\n") && caught.is_some_and(|mask| mask & CAUGHT == CAUGHT)
}

fn with_plugins(plugins: usize) -> Setup {
    let setup = Setup::new().master("tester", &Identity::new("tester"));
    (0..plugins).fold(setup, |setup, number| {
        let name = format!("guest{number}");
        let component = Minimal::new(&[&name]).write(setup.folder(), &name);
        setup.plugin(&name, &component, &[&name], "")
    })
}

fn are_heard(process: Process) {
    for signal in ["TERM", "INT"] {
        // Before anything is read; and while plugins are compiled.
        for words in ["", "\"loaded\""] {
            let mut server = Starting::of(with_plugins(PLUGINS), process);
            server.wait_for(words);
            server.signal(signal);
            server.ends();
            assert!(!server.printed().contains("\"listening\""), "{signal}: {}", server.printed());
        }
    }
    let mut server = Starting::of(with_plugins(3), process);
    server.signal("HUP");
    server.wait_for("\"reloaded\"");
    assert!(server.printed().contains("\"listening\""), "{}", server.printed());
    server.signal("TERM");
    server.ends();
}

#[test]
fn a_signal_of_the_first_moments_is_heard() {
    are_heard(Process::Any);
}

#[test]
fn a_signal_of_the_first_moments_is_heard_by_the_first_process_of_a_container() {
    let can_be = Command::new("unshare").args(["-Urpf", "true"]).status();
    if !can_be.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no namespace of processes can be made here");
        return;
    }
    are_heard(Process::First);
}

#[test]
fn a_config_that_takes_long_to_read_holds_up_no_signal() {
    let mut clients = String::new();
    for number in 0..60_000_u64 {
        let (pin, other) = (format!("{number:064x}"), format!("f{number:063x}"));
        let _ =
            writeln!(clients, "[clients.c{number}]\nthumbprints = [\"{pin}\", \"{other}\"]\ncommands = []");
    }
    let mut server = Starting::of(Setup::new().section(&clients), Process::Any);
    server.signal("TERM");
    server.ends();
    // A config that had been read would have been warned of first.
    assert_eq!(server.printed(), "");
}
