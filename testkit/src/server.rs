//! The real server, in its own folder, on a port that the system chooses.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::certs::Identity;
use crate::client::Connection;
use crate::tools::{lictor, text_of, wait};
use crate::{components, eventually, let_pass};

/// A config file being built, in a folder with a certificate for the server.
pub struct Setup {
    folder: TempDir,
    top: String,
    server_keys: String,
    sections: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Starts with a fresh folder and no section.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder is made");
        Identity::of_server().write(folder.path(), "server");
        Self { folder, top: String::new(), server_keys: String::new(), sections: String::new() }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a client that is pinned by the SHA-256 of its certificate.
    pub fn client(self, name: &str, identity: &Identity, commands: &[&str]) -> Self {
        let thumbprint = identity.sha256();
        self.section(&format!("[clients.{name}]\nthumbprints = [\"{thumbprint}\"]\ncommands = {commands:?}"))
    }

    /// Adds a client that may do anything.
    pub fn master(self, name: &str, identity: &Identity) -> Self {
        self.client(name, identity, &["*", "@*"])
    }

    /// Adds the example plugin.
    pub fn echo(self) -> Self {
        self.plugin("echo", components::echo(), &["echo"], "")
    }

    /// Adds the hostile plugin, with `keys` beside its component and commands.
    pub fn hostile(self, keys: &str) -> Self {
        self.plugin("hostile", components::hostile(), &components::HOSTILE_COMMANDS, keys)
    }

    /// Adds a plugin with these commands and `keys`.
    pub fn plugin(self, name: &str, component: &Path, commands: &[&str], keys: &str) -> Self {
        self.section(&format!("[plugins.{name}]\ncomponent = {component:?}\ncommands = {commands:?}\n{keys}"))
    }

    /// Adds sections to the config file.
    pub fn section(mut self, lines: &str) -> Self {
        self.sections.push_str(lines);
        self.sections.push_str("\n\n");
        self
    }

    /// Adds lines before all sections.
    pub fn top(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self.top.push('\n');
        self
    }

    /// Adds lines to the section `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server_keys.push_str(lines);
        self.server_keys.push('\n');
        self
    }

    /// Writes the config file and returns its path.
    pub fn write(&self) -> PathBuf {
        let listen = if self.server_keys.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]\n" };
        let path = self.folder().join("server.toml");
        let text = format!(
            "{}[server]\n{listen}certificate = \"server.pem\"\nprivate_key = \"server.key\"\n{}\n{}",
            self.top, self.server_keys, self.sections
        );
        fs::write(&path, text).expect("the config file is written");
        path
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        self.start_by(|lictor| lictor)
    }

    /// Starts the server through a command that `wrap` makes from the plain one.
    pub fn start_by(self, wrap: impl FnOnce(Command) -> Command) -> Server {
        self.write();
        let (child, guard) = launch(self.folder(), wrap);
        // The address is still unknown; it is set below, and a panic before that ends the child as well.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let log = self.folder().join(LOG);
        let mut server = Server { folder: self.folder, address, log, guard, child };
        server.address = server.listening();
        server
    }
}

/// Name of a server's log, in its folder.
const LOG: &str = "server.log";

/// Starts a server with the config in `folder`; also returns the guard that ends it.
fn launch(folder: &Path, wrap: impl FnOnce(Command) -> Command) -> (Child, Guard) {
    let mut command = lictor(folder);
    command.arg("serve").arg("--config").arg(folder.join("server.toml")).stdin(Stdio::null());
    let mut command = wrap(command);
    let file = File::create(folder.join(LOG)).expect("a log file is made");
    command.stdout(file.try_clone().expect("a file is cloned")).stderr(file);
    let child = command.spawn().expect("the server starts");
    let guard = Guard::over(&child, folder);
    (child, guard)
}

/// A running server, which ends with this value.
pub struct Server {
    folder: TempDir,
    address: SocketAddr,
    log: PathBuf,
    guard: Guard,
    child: Child,
}

/// A server with `echo` and the hostile plugin, with defaults, shared by tests; its client may do anything.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let tester = Identity::new("tester");
        let server = Setup::new().master("tester", &tester).echo().hostile("").start();
        Shared { server, tester }
    })
}

/// The server and client of [`shared`].
pub struct Shared {
    /// The server.
    pub server: Server,
    /// Its client.
    pub tester: Identity,
}

impl Shared {
    /// Opens a connection of the client that may do anything.
    pub fn connect(&self) -> Connection {
        self.server.connect(&self.tester)
    }
}

impl Server {
    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens a connection of a client that is admitted.
    pub fn connect(&self, identity: &Identity) -> Connection {
        Connection::admitted(self.address, identity)
    }

    /// Returns the config file's path.
    pub fn config(&self) -> PathBuf {
        self.folder().join("server.toml")
    }

    /// Rewrites the config file with the result of `edit` on its text.
    pub fn edit(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).expect("the config file is read");
        let new = self.folder().join("server.toml.new");
        fs::write(&new, edit(text)).expect("the config file is written");
        fs::rename(new, self.config()).expect("the config file is replaced");
    }

    /// Returns the id of the server's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns the server's resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// Returns a line about memory of the server's `/proc/…/status`, in KiB.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = text_of(Path::new(&format!("/proc/{}/status", self.process())));
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("Linux tells of memory")
    }

    /// Returns the server's resident memory, in KiB, once it has stopped growing.
    pub fn settled_kib(&self) -> u64 {
        eventually("memory to grow no more", || {
            let before = self.resident_kib();
            let_pass(Duration::from_millis(500));
            let now = self.resident_kib();
            (now <= before + 128).then_some(now)
        })
    }

    /// Kills the server, and starts it again in the same folder.
    pub fn start_anew(&mut self) {
        self.guard.call_off();
        self.child.kill().and_then(|()| self.child.wait()).expect("the server is ended");
        (self.child, self.guard) = launch(self.folder.path(), |lictor| lictor);
        self.address = self.listening();
    }

    /// Returns the computing time of the server's threads with this name, and of all others, in kernel ticks.
    pub fn computed_ticks(&self, name: &str) -> (u64, u64) {
        let mut ticks = (0, 0);
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            // A thread that has ended meanwhile is missing.
            let Ok(stat) = fs::read_to_string(thread.unwrap().path().join("stat")) else { continue };
            let (thread, figures) = stat.rsplit_once(')').expect("proc(5) has the name in brackets");
            let computed: u64 =
                figures.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
            if thread.ends_with(&format!("({name}")) { ticks.0 += computed } else { ticks.1 += computed }
        }
        ticks
    }

    /// Counts the waits of the server's threads with this name: for work, for the disk.
    pub fn waits(&self, name: &str) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses =
            threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
        let of_name = statuses.filter(|status| status.lines().next() == Some(&format!("Name:\t{name}")));
        let waits = of_name.map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|line| line.trim().parse::<u64>().ok()).expect("Linux tells of switches")
        });
        waits.sum()
    }

    /// Returns the log's entries so far.
    pub fn log(&self) -> Vec<Entry> {
        text_of(&self.log).lines().filter_map(Entry::parse).collect()
    }

    /// Returns everything that the server printed so far.
    pub fn printed(&self) -> String {
        text_of(&self.log)
    }

    /// Waits until the log has an entry that fits; returns it.
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&Entry) -> bool) -> Entry {
        eventually(&format!("{what} in the log"), || self.log().into_iter().find(&fits))
    }

    /// Counts `message` in the log, both single entries and summaries.
    pub fn happened(&self, message: &str) -> u64 {
        let events = self.log().into_iter().map(|entry| match entry.message() {
            "not logged one by one" if entry.text("event") == Some(message) => {
                entry.value("count").and_then(Value::as_u64).unwrap_or(0)
            }
            other => u64::from(other == message),
        });
        events.sum()
    }

    /// Sends a signal, `TERM` or another.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill starts").success(), "the server is not there any more");
    }

    /// Returns the exit code of a server that is about to end.
    pub fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child, "the server")
    }

    /// Returns true until the process has ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the server is asked").is_none()
    }

    fn listening(&mut self) -> SocketAddr {
        eventually("an entry of the log that says the address", || {
            let address = self.log().iter().find_map(|entry| {
                let address = entry.text("address").filter(|_| entry.message() == "listening");
                address.and_then(|address| address.parse().ok())
            });
            if address.is_none() && !self.is_running() {
                panic!("the server ended at once:\n{}", self.printed());
            }
            address
        })
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the test runner shows it for a test that fails")]
    fn drop(&mut self) {
        self.guard.call_off();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let printed = self.printed();
            let tail = printed.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("--- the end of the server's log:");
            tail.iter().rev().for_each(|line| eprintln!("{}", line.chars().take(1000).collect::<String>()));
        }
    }
}

/// Kills a child and removes its folder when this process ends in any way: statics are never dropped.
struct Guard(Child);

impl Guard {
    fn over(child: &Child, folder: &Path) -> Self {
        // Its input ends with this process; nobody writes to it.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "read nothing; kill -KILL $0; rm -rf \"$1\""])
            .arg(child.id().to_string())
            .arg(folder);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().expect("sh starts"))
    }

    fn call_off(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub struct Entry(Value);

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().map(Self)
    }

    /// Returns the message, empty if there is none.
    pub fn message(&self) -> &str {
        self.text("message").unwrap_or_default()
    }

    /// Returns the text of a field, either beside the message or in `fields`.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.value(field).and_then(Value::as_str)
    }

    /// Returns the value of a field, either beside the message or in `fields`.
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.0.get(field).or_else(|| self.0.get("fields")?.get(field))
    }
}
