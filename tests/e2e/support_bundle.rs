//! `lictor support-bundle` holds what helps, and no secret, wherever secrets are.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::certs::Identity;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

const CONFIG: &str = "[plugins.granted.config]
inline = \"hunter2 in the config\"   # was hunter2-before
file = { file = \"token\" }
credential = { credential = \"token\" }
variable = { env = \"BUNDLE_TOKEN\" }
[plugins.granted.grants]
logging = true
[log]
arguments = true
level = \"debug\"
[state]
engine = \"sqlite\"
path = \"state.db\"";

/// Starts a server that has secrets in each place where one may be.
fn start() -> Server {
    let address = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 78), 0)).unwrap().local_addr().unwrap();
    let operator = Identity::new("operator");
    let setup = Setup::new().echo().server(&format!("listen = [\"{address}\"]"));
    let setup = setup.top("include = [\"conf.d/*.toml\"]\n# hunter2 in a comment");
    let setup =
        setup.section("[clients.operator]\ncertificates = [\"operator.pem\"]\ncommands = [\"*\", \"@*\"]");
    let setup = setup.plugin("granted", components::granted(), &["config", "config-all", "log"], "");
    let setup = setup.section(CONFIG);
    let folder = setup.folder().to_owned();
    operator.write(&folder, "operator");
    fs::create_dir_all(folder.join("credentials")).unwrap();
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    for token in ["token", "credentials/token"] {
        fs::write(folder.join(token), "hunter2 in a file\n").unwrap();
        fs::set_permissions(folder.join(token), Permissions::from_mode(0o600)).unwrap();
    }
    let kv = format!(
        "[plugins.kv]\ncomponent = {:?}\ncommands = [\"kv-set\", \"kv-get\"]\n[plugins.kv.grants]\nkeyvalue = [\"default\"]\n\
         [plugins.kv.config]\npassword = \"hunter2 in an included file\"\n",
        components::kv()
    );
    fs::write(folder.join("conf.d/kv.toml"), kv).unwrap();
    let server = setup.start_by(|lictor| with_secrets(lictor, &folder));
    let mut connection = server.connect(&operator);
    connection.ask("echo hunter2-argument");
    connection.ask("hunter2-command");
    connection.ask("config-all");
    connection.ask("log hunter2-logged");
    connection.ask("kv-set hunter2-key hunter2-value");
    connection.ask("echo x\r\nIdempotency-Key: hunter2-idempotent\r\nSecret: hunter2-header");
    connection.send("echo\r\nSize: 12\r\n\r\nhunter2-body");
    connection.read_reply();
    eventually("the log", || server.printed().contains("hunter2-logged").then_some(()));
    server
}

fn with_secrets(mut lictor: Command, folder: &Path) -> Command {
    lictor.env("CREDENTIALS_DIRECTORY", folder.join("credentials"));
    lictor.env("BUNDLE_TOKEN", "hunter2 in the environment");
    lictor
}

fn bundle(folder: &Path, options: &[&str]) -> Finished {
    finish(with_secrets(lictor(folder), folder).arg("support-bundle").args(options))
}

/// Returns the files in an archive, by their names, as `tar` sees them.
fn listed(folder: &Path, archive: &str) -> Vec<String> {
    let listed = finish(Command::new("tar").args(["-tf", archive]).current_dir(folder));
    assert_eq!((listed.code, &*listed.stderr), (Some(0), ""), "{listed:?}");
    listed.stdout.lines().map(|name| name.trim_start_matches("lictor-support/").to_owned()).collect()
}

fn content(folder: &Path, archive: &str, name: &str) -> String {
    let name = format!("lictor-support/{name}");
    let shown = finish(Command::new("tar").args(["-xOf", archive, &name]).current_dir(folder));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    shown.stdout
}

#[track_caller]
fn holds_no_secret(folder: &Path, archive: &str) {
    let bytes = fs::read(folder.join(archive)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let around = |at: usize| {
        text[text.floor_char_boundary(at.saturating_sub(200))..].chars().take(300).collect::<String>()
    };
    if let Some(at) = text.find("hunter2") {
        panic!("{}", around(at));
    }
    for key in ["server.key", "operator.key"] {
        let key = fs::read_to_string(folder.join(key)).unwrap();
        assert!(key.lines().all(|line| !text.contains(line)), "a line of a key");
    }
    assert!(!text.contains("PRIVATE KEY") && !text.contains("SQLite format"));
}

#[test]
fn no_secret_is_in_it_wherever_there_is_one() {
    let server = start();
    let folder = server.folder();
    let written = bundle(folder, &["--yes", "--log", "server.log", "--output", "a.tar"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    holds_no_secret(folder, "a.tar");
    assert_eq!(folder.join("a.tar").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names = listed(folder, "a.tar");
    for name in [
        "version.txt",
        "log.jsonl",
        "config/server.toml",
        "config/01-kv.toml",
        "doctor.txt",
        "doctor.json",
        "server/status.json",
        "server/metrics.txt",
        "server/plugins.json",
        "server/clients.json",
        "system/proc/self/limits",
    ] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
        assert!(written.stdout.contains(&format!("  {name}\n")), "{name} is listed: {}", written.stdout);
    }
    let config = content(folder, "a.tar", "config/server.toml");
    assert!(
        config.contains("[plugins.granted.config]\ninline = \"....")
            && config.contains("commands = [\"*\", \"@*\"]")
    );
    let log = content(folder, "a.tar", "log.jsonl");
    assert!(log.contains("\"message\":\"admitted\"") && log.contains("\"command\":\"echo\""), "{log}");
    assert!(content(folder, "a.tar", "server/metrics.txt").contains("\nlictor_connections 1\n"));
    assert!(content(folder, "a.tar", "doctor.txt").contains("it runs, version"));
    // A file that is no TOML any more, with the secret as anything.
    server.edit(|text| text.replace("[log]", "[log\nhunter2 = hunter2 \"hunter2") + "hunter2");
    let written = bundle(folder, &["--yes", "--log", "server.log", "--output", "b.tar"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    holds_no_secret(folder, "b.tar");
    assert!(content(folder, "b.tar", "doctor.txt").starts_with("fault    config"));
}

#[test]
fn it_is_written_only_after_a_yes_and_over_no_file() {
    let setup = Setup::new().echo();
    setup.write();
    let folder = setup.folder();
    let asked = bundle(folder, &["--output", "a.tar"]);
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.stderr.contains("--yes writes without asking"), "{asked:?}");
    assert!(asked.stdout.starts_with("a.tar will contain, in bytes:\n"), "{asked:?}");
    assert!(!folder.join("a.tar").exists());
    assert_eq!(bundle(folder, &["--yes", "--output", "a.tar"]).code, Some(0));
    let before = fs::read(folder.join("a.tar")).unwrap();
    let again = bundle(folder, &["--yes", "--output", "a.tar"]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("a.tar exists; nothing is overwritten"), "{again:?}");
    assert_eq!(fs::read(folder.join("a.tar")).unwrap(), before);
    assert!(content(folder, "a.tar", "server/absent.txt").contains("no client in server.toml"));
    // Without a name it has one of its own.
    let named = bundle(folder, &["--yes"]);
    assert!(named.stdout.contains("wrote lictor-support-2"), "{named:?}");
    assert_eq!(bundle(folder, &["--yes", "--log", "nosuch", "--output", "b.tar"]).code, Some(2));
    assert_eq!(bundle(folder, &["--yes", "--config", "nosuch.toml"]).code, Some(2));
}

#[test]
fn its_size_is_bounded() {
    let setup = Setup::new().echo();
    setup.write();
    let line = format!("{{\"target\":\"lictor::app\",\"message\":\"{}\"}}\n", "x".repeat(1000));
    fs::write(
        setup.folder().join("log"),
        line.repeat(20_000) + "{\"target\":\"lictor::app\",\"message\":\"last\"}\n",
    )
    .unwrap();
    assert_eq!(bundle(setup.folder(), &["--yes", "--log", "log", "--output", "a.tar"]).code, Some(0));
    let bytes = setup.folder().join("a.tar").metadata().unwrap().len();
    assert!((1 << 20..4 << 20).contains(&bytes), "{bytes}");
    assert!(content(setup.folder(), "a.tar", "log.jsonl").lines().last().unwrap().contains("\"last\""));
}

#[test]
fn a_config_that_is_no_plain_file_of_this_user_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo").arg(folder.path().join("server.toml")).status().unwrap();
    assert!(made.success());
    let refused = bundle(folder.path(), &["--yes"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    // Named, it is examined, and still not waited for.
    let told = bundle(folder.path(), &["--yes", "--config", "./server.toml", "--output", "b.tar"]);
    assert!(content(folder.path(), "b.tar", "doctor.txt").contains("not a plain file"), "{told:?}");
    fs::remove_file(folder.path().join("server.toml")).unwrap();
    fs::write(folder.path().join("server.toml"), "").unwrap();
    fs::set_permissions(folder.path().join("server.toml"), Permissions::from_mode(0o666)).unwrap();
    let refused = bundle(folder.path(), &["--yes"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("others may have written it"), "{refused:?}");
}
