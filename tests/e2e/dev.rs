//! `lictor plugin dev`: from a change of a source to a new reply over the socket.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::components::Minimal;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};
use testkit::{eventually_within, let_pass};

use crate::languages::with_tools;

/// Longest time for a build while others run.
const AT_LEISURE: Duration = Duration::from_secs(300);

/// `lictor plugin dev`, and the output of the program and its children.
pub(super) struct Dev {
    pub(super) child: Child,
    screen: Arc<Mutex<String>>,
}

impl Dev {
    /// Starts work on the project in `folder`, which is the current one.
    pub(super) fn start(folder: &Path, options: &[&str]) -> Self {
        let mut command = with_tools(Command::new(env!("CARGO_BIN_EXE_lictor")));
        command.current_dir(folder).args(["plugin", "dev"]).args(options);
        command.env("PATH", on_path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let screen = Arc::<Mutex<String>>::default();
        shows(child.stdout.take().unwrap(), &screen);
        shows(child.stderr.take().unwrap(), &screen);
        Self { child, screen }
    }

    pub(super) fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Counts `text` on the screen.
    pub(super) fn count(&self, text: &str) -> usize {
        self.screen().matches(text).count()
    }

    /// Waits until `text` is on the screen this many times.
    #[track_caller]
    pub(super) fn wait_for(&self, text: &str, times: usize) {
        let what = format!("{text:?} on the screen, {times} times");
        eventually_within(AT_LEISURE, &what, || (self.count(text) >= times).then_some(()));
    }

    /// Runs, in `folder`, the command shown on the screen, and returns its reply.
    pub(super) fn call(&self, folder: &Path) -> String {
        let screen = self.screen();
        let command = screen.rsplit("to call it: lictor ").next().unwrap().lines().next().unwrap();
        let called = finish(lictor(folder).args(command.split(' ')));
        assert_eq!(called.code, Some(0), "{command}: {called:?}\n{screen}");
        called.stdout
    }

    /// Returns the listening address of its server.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let screen = self.screen();
        let listening = screen.lines().find(|line| line.contains("listening"))?;
        listening.split("address=").nth(1)?.split_whitespace().next()?.trim_matches('"').parse().ok()
    }

    /// Sends a signal by its name, and waits for the process to end.
    pub(super) fn end(mut self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = eventually_within(AT_LEISURE, "its end", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.screen());
    }
}

impl Drop for Dev {
    #[expect(clippy::print_stderr, reason = "the test runner shows it for a test that fails")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the screen:\n{}", self.screen());
        }
    }
}

/// Returns the folders of programs, this one's first.
fn on_path() -> OsString {
    let own = Path::new(env!("CARGO_BIN_EXE_lictor")).parent().unwrap().to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([own].into_iter().chain(std::env::split_paths(&others))).unwrap()
}

/// Adds everything read from `pipe` to `screen`.
fn shows(mut pipe: impl Read + Send + 'static, screen: &Arc<Mutex<String>>) {
    let screen = Arc::clone(screen);
    thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut block) {
            screen.lock().unwrap().push_str(&String::from_utf8_lossy(&block[..count]));
        }
    });
}

/// Returns the command lines of processes whose working folder is `folder`, except ended ones.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_there = |process: &std::path::PathBuf| {
        fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder))
    };
    let line = |process| {
        fs::read_to_string(Path::new(&process).join("cmdline")).unwrap_or_default().replace('\0', " ")
    };
    processes.filter(is_there).map(line).collect()
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no {from:?} in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_change_becomes_a_reply_and_a_fault_leaves_what_was_good() {
    let outer = TempDir::new().unwrap();
    let made = finish(lictor(outer.path()).args(["plugin", "new", "worked-on", "--lang", "rust"]));
    assert!(made.stderr.contains("lictor plugin dev worked-on"), "{made:?}");
    let folder = outer.path().join("worked-on");
    let source = folder.join("src/lib.rs");
    let dev = Dev::start(&folder, &[]);
    dev.wait_for("the tests passed", 1);
    assert_eq!(dev.call(&folder), "hello world, from dev\n");
    assert!(dev.count("ok    worked-on Ada (") == 1, "{}", dev.screen());
    let debug = ["worked-on.wasm.debug", "build/dev/worked-on.wasm.debug"].map(|name| folder.join(name));
    assert_eq!(fs::read(&debug[0]).unwrap(), fs::read(&debug[1]).unwrap());

    edit(&source, "\"hello\"", "\"good day\"");
    dev.wait_for("src/lib.rs has changed\n", 1);
    dev.wait_for("test.sh failed", 1);
    assert_eq!(dev.call(&folder), "good day world, from dev\n");
    assert_eq!(dev.count("expected: hello world, from dev"), 1, "{}", dev.screen());

    // A change of its tests does not rebuild the component.
    edit(&folder.join("test.toml"), "hello", "good day");
    dev.wait_for("the tests passed", 2);
    assert_eq!(dev.count("building worked-on"), 2, "{}", dev.screen());

    let good = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{good}\nfn broken() -> u8 {{ \"text\" }}\n")).unwrap();
    dev.wait_for("the last good component is still served", 1);
    let line = format!("src/lib.rs:{}:", good.lines().count() + 2);
    assert!(dev.count(&line) > 0 && dev.count("mismatched types") > 0, "no {line} in {}", dev.screen());
    assert!(!folder.join("worked-on.wasm").exists());
    assert_eq!(dev.call(&folder), "good day world, from dev\n");

    fs::write(&source, good.replace("good day", "hi")).unwrap();
    dev.wait_for("to call it: ", 3);
    assert_eq!(dev.call(&folder), "hi world, from dev\n");
    // Build output did not count as a change.
    dev.wait_for("test.sh failed", 2);
    assert_eq!(dev.count("building worked-on"), 4, "{}", dev.screen());
    dev.end("-INT");
    assert_eq!(processes_in(&folder), [""; 0]);
}

/// A project in its own folder.
pub(super) struct Made(TempDir);

impl Made {
    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("only")
    }
}

/// Makes a project with a bash script as its build, which takes the component its source names, or never
/// ends.
pub(super) fn project() -> Made {
    let project = Made(TempDir::new().unwrap());
    let folder = project.path();
    fs::create_dir(&folder).unwrap();
    let at = |name: &str| folder.join(name);
    for name in ["one", "two"] {
        Minimal::new(&[name]).write(&folder, name);
        fs::rename(at(name).with_extension("wasm"), at(name).with_extension("component")).unwrap();
    }
    let build = "#!/usr/bin/env bash\nset -euo pipefail\nread -r what < source\nrm -f only.wasm\necho \"compiling $what\" >&2\n\
                 echo made > build/object\n[ \"$what\" != endless ] || sleep 86399\ncp \"$what.component\" only.wasm\n";
    fs::create_dir(at("build")).unwrap();
    fs::write(at("build.sh"), build).unwrap();
    fs::set_permissions(at("build.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    project
}

#[test]
fn a_change_ends_the_build_that_is_under_way_and_so_does_the_end() {
    for signal in ["-INT", "-HUP", "-QUIT"] {
        let project = project();
        let (folder, source) = (&project.path(), project.path().join("source"));
        fs::write(&source, "endless\n").unwrap();
        let dev = Dev::start(folder, &["."]);
        // While it is still running.
        dev.wait_for("compiling endless\n", 1);
        let sleeping = || processes_in(folder).iter().filter(|line| line.starts_with("sleep ")).count();
        testkit::eventually("the build", || (sleeping() == 1).then_some(()));

        fs::write(&source, "one\n").unwrap();
        dev.wait_for("source has changed, so the current step is stopped\n", 1);
        dev.wait_for("to call it: ", 1);
        testkit::eventually("the end of the build", || (sleeping() == 0).then_some(()));
        assert_eq!(dev.call(folder), "ok\n");
        assert_eq!(dev.count("nothing is served yet"), 0, "{}", dev.screen());

        // Files of editors and tools are not a change: the next build is that of the next source change.
        for made in [".source.swp", "only.wasm.7.0.new", "source~", "only.wasm", "build/more", "4913"] {
            fs::write(folder.join(made), "x").unwrap();
        }
        fs::write(&source, "two\n").unwrap();
        dev.wait_for("to call it: ", 2);
        assert_eq!(dev.call(folder), "ok\n");
        assert!(dev.screen().contains(" two\n"), "{}", dev.screen());
        assert_eq!(dev.count("lictor: building "), 3, "{}", dev.screen());

        fs::write(&source, "three\n").unwrap();
        dev.wait_for("the last good component is still served", 1);
        fs::write(&source, "endless\n").unwrap();
        dev.wait_for("compiling endless\n", 2);
        assert_eq!(dev.call(folder), "ok\n");
        dev.end(signal);
        testkit::eventually("the end of all", || processes_in(folder).is_empty().then_some(()));
    }
}

#[test]
fn a_first_build_that_fails_serves_nothing_and_what_does_not_load_is_told() {
    let project = project();
    let (folder, source) = (&project.path(), project.path().join("source"));
    fs::write(&source, "none\n").unwrap();
    fs::write(folder.join("wrong.component"), "hello").unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("nothing is served yet", 1);
    assert!(dev.screen().contains("build.sh failed (exit status: 1)"), "{}", dev.screen());
    fs::write(&source, "wrong\n").unwrap();
    dev.wait_for("nothing is served yet", 2);
    assert!(dev.screen().contains("it is not WebAssembly"), "{}", dev.screen());
    fs::write(&source, "one\n").unwrap();
    dev.wait_for("to call it: ", 1);
    assert_eq!(dev.call(folder), "ok\n");
    dev.end("-TERM");
}

#[test]
fn what_is_printed_into_the_project_is_no_change() {
    let project = project();
    let folder = &project.path();
    fs::write(folder.join("source"), "one\n").unwrap();
    let screen = fs::File::create(folder.join("screen")).unwrap();
    let mut command = with_tools(Command::new(env!("CARGO_BIN_EXE_lictor")));
    command.current_dir(folder).args(["plugin", "dev"]).stdin(Stdio::null());
    command.stdout(screen.try_clone().unwrap()).stderr(screen);
    let dev = Dev { child: command.spawn().unwrap(), screen: Arc::default() };
    let printed = |times| {
        let text = fs::read_to_string(folder.join("screen")).unwrap();
        (text.matches("to call it: ").count() == times).then_some(text)
    };
    testkit::eventually("the first", || printed(1));
    fs::write(folder.join("source"), "two\n").unwrap();
    let text = testkit::eventually("the second", || printed(2));
    assert!(text.contains("source has changed") && !text.contains("screen has changed"), "{text}");
    dev.end("-INT");
}

#[test]
fn what_a_build_writes_beside_its_sources_begins_no_build_for_ever() {
    let project = project();
    let folder = &project.path();
    fs::write(folder.join("source"), "one\n").unwrap();
    let build = fs::read_to_string(folder.join("build.sh")).unwrap();
    let build =
        format!("{build}printf %s \"$RANDOM$RANDOM$RANDOM\" > stamp\necho same > generated\necho built\n");
    fs::write(folder.join("build.sh"), build).unwrap();
    let dev = Dev::start(folder, &[]);
    dev.wait_for("stamp has changed in each of the last builds", 1);
    let built = dev.count("\nbuilt\n");
    // The file no longer counts as a source during a build; the others still do.
    fs::write(folder.join("source"), "two\n").unwrap();
    dev.wait_for("\nbuilt\n", built + 1);
    // No other build follows.
    let_pass(Duration::from_secs(1));
    assert_eq!(dev.count("\nbuilt\n"), built + 1, "{}", dev.screen());
    assert_eq!(dev.count("in each of the last builds"), 1, "{}", dev.screen());
    // Edited by hand between two builds, it counts again.
    fs::write(folder.join("stamp"), "by hand").unwrap();
    dev.wait_for("\nbuilt\n", built + 2);
    dev.end("-INT");
}

#[test]
fn a_folder_whose_name_no_plugin_can_have_is_refused_before_it_is_built() {
    let outer = TempDir::new().unwrap();
    for name in ["two words", ".hidden"] {
        let folder = outer.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("build.sh"), "#!/bin/sh\ntouch built\n").unwrap();
        fs::set_permissions(folder.join("build.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = finish(lictor(outer.path()).args(["plugin", "dev", name]));
        assert_eq!(refused.code, Some(2), "{refused:?}");
        for words in
            ["no plugin can have the name of this folder", "Rename the folder", "--config server.toml"]
        {
            assert!(refused.stderr.contains(words), "no {words:?} in {refused:?}");
        }
        assert!(!folder.join("built").exists() && !folder.join("build").exists());
    }
}

#[test]
fn an_authors_own_config_is_served() {
    let project = project();
    let (folder, source) = (project.path().canonicalize().unwrap(), project.path().join("source"));
    fs::write(&source, "one\n").unwrap();
    let tester = Identity::new("tester");
    let client = "[clients.tester]\ncertificates = [\"tester.pem\"]\ncommands = [\"*\", \"@*\"]";
    let setup = Setup::new().section(client);
    let setup = setup.plugin("mine", &folder.join("only.wasm"), &["one", "two"], "");
    tester.write(setup.folder(), "tester");
    let config = setup.write();
    let dev = Dev::start(&folder, &["--config", config.to_str().unwrap()]);
    dev.wait_for("to call it: ", 1);
    let address = testkit::eventually("the address", || dev.address());
    let mut connection = Connection::open(address, Tls::showing(&tester)).unwrap();
    assert!(connection.is_greeted());
    assert_eq!(connection.ask("one"), "ok");
    let plugins = connection.ask("@plugins");
    fs::write(&source, "two\n").unwrap();
    dev.wait_for("to call it: ", 2);
    assert_ne!(connection.ask("@plugins"), plugins);
    // The build deletes the component before it fails, and the server goes on.
    fs::write(&source, "none\n").unwrap();
    dev.wait_for("the last good component is still served", 1);
    assert!(!folder.join("only.wasm").exists());
    assert_eq!(connection.ask("two"), "ok");
    // The printed command contains the port, which the config leaves to the system.
    let printed = dev.screen();
    let printed = printed.rsplit("to call it: ").next().unwrap().lines().next().unwrap();
    assert_eq!(printed, format!("lictor call --server {address} --config {} one", config.display()));
    assert_eq!(dev.call(&folder), "ok\n");
    // Compiled once, in the cache that the tests' `lictor plugin run` reads, and not beside the config.
    assert!(!setup.folder().join("cache").exists());
    // Clients do not need the component.
    let address = address.to_string();
    let called =
        finish(lictor(setup.folder()).args(["call", "--server", &address, "--cert", "tester.pem"]).args([
            "--config",
            "server.toml",
            "two",
        ]));
    assert_eq!((called.code, called.stdout.as_str()), (Some(0), "ok\n"), "{called:?}");
    // A change of the config counts as well.
    fs::write(&source, "one\n").unwrap();
    dev.wait_for("to call it: ", 3);
    let changed = fs::read_to_string(&config).unwrap() + "[plugins.mine.grants]\nlogging = true\n";
    fs::write(&config, changed).unwrap();
    dev.wait_for("to call it: ", 4);
    assert!(dev.screen().contains("server.toml has changed"), "{}", dev.screen());
    dev.end("-INT");

    let other = Setup::new().master("tester", &tester).echo();
    let other_config = other.write();
    fs::write(&source, "one\n").unwrap();
    let dev = Dev::start(&folder, &["--config", other_config.to_str().unwrap()]);
    dev.wait_for("nothing is served yet", 1);
    assert!(dev.screen().contains("is this project's: write component = "), "{}", dev.screen());
}

#[test]
fn what_is_no_project_is_refused() {
    let folder = TempDir::new().unwrap();
    for (argument, words) in [("none", "no such project"), (".", "there is no build.sh")] {
        let refused = finish(lictor(folder.path()).args(["plugin", "dev", argument]));
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}
