//! Files that change while `[server] watch` is on: every way in which a path can come to lead to other bytes
//! is seen, with inotify and without it.

mod failed;
mod links;
mod volume;

use std::fs::{self, File, hard_link, rename};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::server::{Server, Setup};
use testkit::{eventually, let_pass};

/// Two seconds, as documented, plus the delay of a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// A server's access to inotify.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    /// Full access.
    Telling,
    /// None: this user has no instance left.
    NoInstances,
    /// None: this user has no watch left.
    NoWatches,
}

impl Kernel {
    /// Returns the shell command that limits it in a user namespace, which has its own limits.
    fn limiting(self) -> &'static str {
        match self {
            Self::Telling => ":",
            Self::NoInstances => "echo 0 > /proc/sys/user/max_inotify_instances",
            Self::NoWatches => "echo 0 > /proc/sys/user/max_inotify_watches",
        }
    }

    /// Returns true if this machine can provide it.
    fn can_be(self) -> bool {
        let made = Command::new("unshare").args(["-Urm", "sh", "-c", self.limiting()]).output();
        made.is_ok_and(|made| made.status.success())
    }

    fn start(self, setup: Setup) -> Server {
        let setup = setup.server("watch = true");
        if self == Self::Telling && !self.can_be() {
            return setup.start();
        }
        let script = format!("{} && exec \"$0\" \"$@\"", self.limiting());
        setup.start_by(|lictor| {
            let mut command = Command::new("unshare");
            command.args(["-Urm", "sh", "-c", &script]).arg(lictor.get_program()).args(lictor.get_args());
            lictor.get_current_dir().map(|folder| command.current_dir(folder));
            let envs = lictor.get_envs().filter_map(|(name, value)| Some((name, value?)));
            command.envs(envs);
            command
        })
    }
}

/// Returns both states, with inotify and, where possible, without it.
fn kernels() -> Vec<Kernel> {
    if !Kernel::NoInstances.can_be() {
        skipped("the same without inotify: no user namespace can be made here");
        return vec![Kernel::Telling];
    }
    vec![Kernel::Telling, Kernel::NoInstances]
}

#[expect(clippy::print_stdout, reason = "for whoever runs the tests")]
fn skipped(what: &str) {
    println!("SKIPPED: {what}");
}

/// A way in which `who.pem` of a folder becomes another certificate: the initial state, and the change.
struct Way {
    name: &'static str,
    make: fn(&Path, &str),
    change: fn(&Path, &str),
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Atomically replaces the link at `path` by one to `end`.
fn lead(path: impl AsRef<Path>, end: &str) {
    let new = path.as_ref().with_extension("new-link");
    symlink(end, &new).unwrap();
    rename(new, path).unwrap();
}

/// Appends `end` to the name of `folder`.
fn beside(folder: &Path, end: &str) -> PathBuf {
    folder.with_extension(end)
}

fn pem(identity: &Identity) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::read_to_string(identity.write(folder.path(), "x").0).unwrap()
}

fn is_admitted(server: &Server, identity: &Identity) -> bool {
    Connection::open(server.address(), Tls::showing(identity)).is_ok_and(|mut c| c.is_greeted())
}

fn not_reloaded(server: &Server) -> u64 {
    server.happened("not reloaded, and nothing was changed")
        + server.happened("not reloaded, but what was taken away holds")
}

/// Makes the section of a client whose certificate is in a file.
fn section(name: &str, file: &str) -> String {
    format!("[clients.{name}]\ncertificates = [\"{file}\"]\ncommands = [\"@whoami\"]\n")
}

/// Applies each of `ways` to a server, which has to see it soon, once, and not before it has happened.
fn are_seen(ways: &[Way]) {
    thread::scope(|scope| {
        for kernel in kernels() {
            scope.spawn(move || {
                let setup = Setup::new();
                let setup = ways.iter().fold(setup, |setup, Way { name, make, .. }| {
                    make(&setup.folder().join(name), &pem(&Identity::new(name)));
                    setup.section(&section(name, &format!("{name}/who.pem")))
                });
                let server = kernel.start(setup);
                for (number, Way { name, change, .. }) in (1..).zip(ways) {
                    let new = Identity::new(name);
                    change(&server.folder().join(name), &pem(&new));
                    let changed = Instant::now();
                    eventually(name, || is_admitted(&server, &new).then_some(()));
                    assert!(changed.elapsed() < SOON, "{kernel:?}: {name}: {:?}", changed.elapsed());
                    eventually(name, || (server.happened("reloaded") == number).then_some(()));
                    let begun = server.happened("reloading");
                    assert_eq!((begun, not_reloaded(&server)), (number, 0), "{kernel:?}: {name}");
                }
            });
        }
    });
}

#[test]
fn files_that_are_written_are_seen() {
    are_seen(&[
        Way {
            name: "renamed-over",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| {
                write(at.join("new.pem"), pem);
                rename(at.join("new.pem"), at.join("who.pem")).unwrap();
            },
        },
        Way {
            name: "written-at-once",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| write(at.join("who.pem"), pem),
        },
        Way {
            name: "written-slowly",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| {
                let mut file = File::create(at.join("who.pem")).unwrap();
                for piece in pem.as_bytes().chunks(pem.len() / 4) {
                    file.write_all(piece).unwrap();
                    let_pass(Duration::from_millis(500));
                }
            },
        },
        Way {
            name: "removed-and-made-anew",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| {
                fs::remove_file(at.join("who.pem")).unwrap();
                let_pass(Duration::from_millis(200));
                write(at.join("who.pem"), pem);
            },
        },
        Way {
            name: "written-by-another-name",
            make: |at, pem| {
                write(beside(at, "elsewhere").join("x.pem"), pem);
                fs::create_dir(at).unwrap();
                hard_link(beside(at, "elsewhere").join("x.pem"), at.join("who.pem")).unwrap();
            },
            change: |at, pem| write(beside(at, "elsewhere").join("x.pem"), pem),
        },
        Way {
            name: "of-the-same-size-and-time",
            make: |at, pem| write(at.join("who.pem"), &format!("{pem:2000}")),
            change: |at, pem| {
                let file = File::options().write(true).open(at.join("who.pem")).unwrap();
                let time = file.metadata().unwrap().modified().unwrap();
                (&file).write_all(format!("{pem:2000}").as_bytes()).unwrap();
                file.set_modified(time).unwrap();
            },
        },
    ]);
}

/// A touched file with the same bytes may also be a replaced one, so one reload checks it.
#[test]
fn a_touched_file_is_read_once_and_other_files_are_not() {
    for kernel in kernels() {
        let who = Identity::new("who");
        let setup = Setup::new().section(&section("who", "who.pem"));
        who.write(setup.folder(), "who");
        let server = kernel.start(setup);
        let folder = server.folder();
        for number in 0..30 {
            write(folder.join("beside.pem"), &number.to_string());
            write(folder.join("folder/who.pem"), &number.to_string());
            rename(folder.join("beside.pem"), folder.join("beside.old")).unwrap();
            for file in ["who.pem", "server.toml", "server.key"] {
                fs::read(folder.join(file)).unwrap();
            }
            let_pass(Duration::from_millis(50));
        }
        assert_eq!(server.happened("reloading"), 0, "{kernel:?}");
        File::open(folder.join("who.pem")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
        assert!(is_admitted(&server, &who));
    }
}

#[test]
fn inotify_that_is_used_up_is_named() {
    for (kernel, what) in [(Kernel::NoInstances, "instances"), (Kernel::NoWatches, "watches")] {
        if !kernel.can_be() {
            skipped("no user namespace can be made here");
            continue;
        }
        let other = Identity::new("other");
        let server = kernel.start(Setup::new().master("tester", &Identity::new("tester")));
        let told = server.wait_for_log("the sysctl", |entry| {
            entry.text("error").is_some_and(|error| error.ends_with(&format!("fs.inotify.max_user_{what}")))
        });
        assert_eq!(told.text("level"), Some("WARN"), "{told:?}");
        server.edit(|text| {
            text + &format!("[clients.other]\nthumbprints = [\"{}\"]\ncommands = [\"*\"]\n", other.sha256())
        });
        eventually("the client", || is_admitted(&server, &other).then_some(()));
        assert_eq!(server.happened(told.message()), 1);
    }
}
