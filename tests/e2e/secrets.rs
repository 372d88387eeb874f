//! Secrets of plugins that are kept outside the config file: read, changed, missing, withheld, never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::certs::Identity;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::script::Script;

const COMMANDS: [&str; 4] = ["config", "config-all", "log", "log-flood"];

/// One setting of each form.
const CONFIG: &str = "[plugins.granted.config]
greeting = \"hello\"
file = { file = \"secrets/token\" }
credential = { credential = \"token\" }
variable = { env = \"GRANTED_TOKEN\" }
[plugins.granted.grants]
logging = true";

/// Returns a setup with these settings, and the secrets of [`CONFIG`] in its folder.
fn setup(keys: &str, sections: &str) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let setup = setup.plugin("granted", components::granted(), &COMMANDS, keys).section(sections);
    for (folder, text) in [("secrets", "hunter2 of the file\r\n"), ("credentials", "hunter2 of systemd\n")] {
        let folder = setup.folder().join(folder);
        fs::create_dir(&folder).unwrap();
        put(&folder.join("token"), text, 0o600);
    }
    (setup, tester)
}

/// Writes a file as an operator does: under another name first.
fn put(path: &Path, text: &str, mode: u32) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(mode)).unwrap();
    fs::rename(new, path).unwrap();
}

/// Passes the credential and the variable of [`CONFIG`] to `lictor`, as the service manager does.
fn passing(mut lictor: Command, folder: &Path) -> Command {
    lictor
        .env("CREDENTIALS_DIRECTORY", folder.join("credentials"))
        .env("GRANTED_TOKEN", "hunter2 of the env");
    lictor
}

fn start(setup: Setup) -> Server {
    let folder = setup.folder().to_owned();
    setup.start_by(|lictor| passing(lictor, &folder))
}

/// Runs `verb` with the config of `setup`, without the credential and the variable.
fn run(setup: &Setup, verb: &str) -> Finished {
    let config = setup.write();
    let mut lictor = lictor(setup.folder());
    lictor.env_remove("CREDENTIALS_DIRECTORY").env_remove("GRANTED_TOKEN");
    finish(lictor.arg(verb).arg("--config").arg(config))
}

#[track_caller]
fn holds_no_secret(text: &str) {
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_plugin_reads_its_secrets_and_nothing_else_shows_them() {
    let (setup, tester) = setup("", &format!("{CONFIG}\n[log]\nlevel = \"trace\"\narguments = true"));
    let config = setup.write();
    let server = start(setup);
    let mut connection = server.connect(&tester);
    let read = "credential=hunter2 of systemd\nfile=hunter2 of the file\ngreeting=hello\n\
                variable=hunter2 of the env";
    assert_eq!(connection.ask("config-all"), read);
    assert_eq!(connection.ask("config file"), "hunter2 of the file");
    for command in ["@status", "@status metrics", "@plugins", "@clients", "@commands"] {
        for format in ["", "Format: json\r\n"] {
            connection.send(format!("{command}\r\nSequence: a\r\n{format}\r\n"));
            holds_no_secret(connection.read_frame().text());
        }
    }
    let check = finish(
        passing(lictor(server.folder()), server.folder())
            .args(["check", "--diff"])
            .arg(&config)
            .arg("--config")
            .arg(&config),
    );
    assert_eq!((check.code, check.stdout.as_str()), (Some(0), "nothing has changed\n"), "{check:?}");
    assert!(!check.stderr.contains("is missing"), "{check:?}");
    holds_no_secret(&check.stderr);
    holds_no_secret(&server.printed());
}

#[test]
fn a_changed_secret_comes_with_a_reload_to_fresh_instances() {
    let (setup, tester) = setup("instances = \"shared\"", CONFIG);
    let token = setup.folder().join("secrets/token");
    let server = start(setup);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("config file"), "hunter2 of the file");
    assert_eq!(connection.ask("@reload"), "nothing has changed");
    put(&token, "hunter2 anew", 0o600);
    assert_eq!(connection.ask("config file"), "hunter2 of the file", "until a reload");
    assert_eq!(connection.ask("@reload"), "live     changed  plugins.granted.config");
    assert_eq!(connection.ask("config file"), "hunter2 anew");
    holds_no_secret(&server.printed());
}

#[test]
fn a_watched_secret_that_changes_is_reloaded() {
    let (setup, tester) = setup("", CONFIG);
    let token = setup.folder().join("secrets/token");
    let server = start(setup.server("watch = true"));
    let mut connection = server.connect(&tester);
    for text in ["hunter2 anew", "hunter2 once more"] {
        put(&token, text, 0o600);
        eventually("the new secret", || (connection.ask("config file") == text).then_some(()));
    }
    // Gone and back: the server goes on with what it has, and tries again.
    fs::remove_file(&token).unwrap();
    server.wait_for_log("the refusal", |entry| entry.message() == "not reloaded, and nothing was changed");
    assert_eq!(connection.ask("config file"), "hunter2 once more");
    put(&token, "hunter2 is back", 0o600);
    eventually("the secret", || (connection.ask("config file") == "hunter2 is back").then_some(()));
    holds_no_secret(&server.printed());
}

/// The words of a fault, without its severity.
fn words(text: &str) -> Vec<&str> {
    let shown = text.lines().map(|line| line.trim_start_matches("error: ").trim_start_matches("warning: "));
    shown.filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_missing_secret_is_a_warning_of_check_and_refused_by_serve_and_reloads() {
    // With secrets alone, everybody may read the config.
    let (setup, tester) = setup("", &CONFIG.replace("greeting = \"hello\"\n", ""));
    fs::remove_file(setup.folder().join("secrets/token")).unwrap();
    let checked = run(&setup, "check");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.stderr.matches("warning: `plugins.granted.config").count(), 3, "{}", checked.stderr);
    assert!(!checked.stderr.contains("any user of this machine can read"), "{}", checked.stderr);
    for words in [
        "`plugins.granted.config.file`: the secret is missing",
        "there is no such file",
        "$CREDENTIALS_DIRECTORY is not set",
        "`LoadCredential=token:",
        "this process has no such variable",
        "set GRANTED_TOKEN in the environment",
    ] {
        assert!(checked.stderr.contains(words), "no {words:?} in {}", checked.stderr);
    }
    let served = run(&setup, "serve");
    assert_eq!(served.code, Some(2), "{served:?}");
    assert_eq!(served.stderr.matches("error: ").count(), 3, "{}", served.stderr);
    let refusal = words(&served.stderr);
    let note = "only this process is known to lack it: the service may have it";
    assert_eq!(checked.stderr.matches(note).count(), 2, "{}", checked.stderr);
    let told = words(&checked.stderr).into_iter().filter(|line| !line.contains(note));
    assert_eq!(told.take(refusal.len()).collect::<Vec<_>>(), refusal);

    put(&setup.folder().join("secrets/token"), "hunter2", 0o600);
    let server = start(setup);
    let mut connection = server.connect(&tester);
    fs::remove_file(server.folder().join("secrets/token")).unwrap();
    let refused = connection.ask_framed("@reload");
    assert_eq!(refused.failure().0, "conflict");
    let told = server
        .wait_for_log("the refusal", |entry| entry.message() == "not reloaded, and nothing was changed");
    assert!(told.text("fault").is_some_and(|fault| fault.contains("the secret is missing")), "{told:?}");
    let status = connection.ask("@status");
    assert!(status.contains("`plugins.granted.config.file`: the secret is missing"), "{status}");
    assert_eq!(connection.ask("config file"), "hunter2");
    holds_no_secret(&server.printed());
}

#[test]
fn verbs_of_clients_need_no_secret() {
    let (setup, tester) = setup("", CONFIG);
    tester.write(setup.folder(), "tester");
    let server = start(setup);
    fs::remove_file(server.folder().join("secrets/token")).unwrap();
    let address = server.address().to_string();
    let called = finish(
        lictor(server.folder())
            .args(["call", "--server", &address, "--cert", "tester.pem", "--key", "tester.key"])
            .args(["--config", "server.toml", "config", "greeting"]),
    );
    assert_eq!((called.code, called.stdout.as_str()), (Some(0), "hello\n"), "{called:?}");
}

#[test]
fn a_file_that_others_can_read_is_told_and_one_that_they_can_write_is_refused() {
    let (setup, _) = setup(
        "",
        "[plugins.granted.config]\nfile = { file = \"secrets/token\" }\n[plugins.granted.grants]\nlogging = true",
    );
    let token = setup.folder().join("secrets/token");
    let advice = format!("`chmod 600 {}`", token.display());
    for mode in [0o604, 0o640] {
        put(&token, "hunter2", mode);
        let checked = run(&setup, "check");
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(
            checked.stderr.contains("names a secret that users other than its owner can use"),
            "{checked:?}"
        );
        assert!(checked.stderr.contains(&advice), "{checked:?}");
    }
    put(&token, "hunter2", 0o602);
    for verb in ["check", "serve"] {
        let refused = run(&setup, verb);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("users other than its owner can write to it"), "{refused:?}");
        assert!(refused.stderr.contains(&advice), "{refused:?}");
        holds_no_secret(&refused.stderr);
    }
}

/// Files, credentials, and what one of each is a link to.
#[test]
fn no_secret_is_kept_in_what_no_plugin_may_read() {
    let (setup, tester) = setup("", CONFIG);
    let (key, config) = (setup.folder().join("server.key"), setup.write());
    let folder = setup.folder().to_owned();
    let [token, credential] = ["secrets/token", "credentials/token"].map(|place| folder.join(place));
    let refused = |verb: &str, words: &str| {
        let mut lictor = passing(lictor(&folder), &folder);
        let refused = finish(lictor.arg(verb).arg("--config").arg(&config));
        assert_eq!(refused.code, Some(2), "{verb}: {refused:?}");
        assert!(refused.stderr.contains(words), "{verb}: {refused:?}");
        assert!(!refused.stderr.contains("PRIVATE KEY"), "{verb}: {refused:?}");
    };
    for place in [&token, &credential] {
        let name = if place == &token { "file" } else { "credential" };
        let words = |what: &str| {
            format!("`plugins.granted.config.{name}` leads to a path that no plugin may read: {what}")
        };
        fs::remove_file(place).unwrap();
        std::os::unix::fs::symlink(&key, place).unwrap();
        refused("check", &words("the server's private key"));
        fs::remove_file(place).unwrap();
        fs::hard_link(&key, place).unwrap();
        refused("serve", &words("the server's private key"));
        fs::remove_file(place).unwrap();
        std::os::unix::fs::symlink(&config, place).unwrap();
        refused("serve", &words("the server's config file"));
        fs::remove_file(place).unwrap();
        put(place, "hunter2 again", 0o600);
    }
    let server = start(setup);
    let mut connection = server.connect(&tester);
    fs::remove_file(&token).unwrap();
    std::os::unix::fs::symlink(&key, &token).unwrap();
    assert_eq!(connection.ask_framed("@reload").failure().0, "conflict");
    assert_eq!(connection.ask("config file"), "hunter2 again");
}

#[test]
fn a_folder_of_credentials_that_is_no_absolute_path_is_told_as_such() {
    let (setup, _) = setup("", CONFIG);
    let config = setup.write();
    for folder in ["", "credentials"] {
        let mut lictor = lictor(setup.folder());
        lictor.env("CREDENTIALS_DIRECTORY", folder);
        let checked = finish(lictor.arg("check").arg("--config").arg(&config));
        assert!(checked.stderr.contains("$CREDENTIALS_DIRECTORY is not an absolute path"), "{checked:?}");
        assert!(!checked.stderr.contains("is not set"), "{checked:?}");
    }
}

#[test]
fn a_secret_of_the_largest_size_may_end_in_a_newline() {
    let (setup, tester) = setup("", CONFIG);
    let most = "x".repeat(64 << 10);
    let token = setup.folder().join("secrets/token");
    put(&token, &format!("{most}\r\n"), 0o600);
    let server = start(setup);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("config file"), most);
    put(&token, &format!("{most}x\n"), 0o600);
    assert_eq!(connection.ask_framed("@reload").failure().0, "conflict");
    server.wait_for_log("the refusal", |entry| {
        entry.text("fault").is_some_and(|fault| fault.contains("it is larger than 64KiB"))
    });
}

#[test]
fn no_grant_leads_to_a_secret() {
    let commands = ["read"];
    let tester = Identity::new("tester");
    let lines = "[plugins.granted]\ncomponent = \"granted.wasm\"\n[plugins.granted.config]\nfile = { file = \"secrets/token\" }
credential = { credential = \"token\" }\n[plugins.granted.grants]\nlogging = true
[plugins.off]\nenabled = false\ncomponent = \"off.wasm\"\n[plugins.off.config]\ntoken = { file = \"secrets/off\" }";
    for granted in ["secrets/token", "credentials/token", "secrets/off"] {
        let keys = format!("[plugins.reaching.grants]\nfiles = [\"{granted}\"]\ncommands = []");
        let setup = Setup::new().master("tester", &tester);
        let setup = setup.plugin("reaching", components::reaching(), &commands, &keys).section(lines);
        fs::copy(components::granted(), setup.folder().join("granted.wasm")).unwrap();
        for folder in ["secrets", "credentials"] {
            fs::create_dir(setup.folder().join(folder)).unwrap();
            put(&setup.folder().join(folder).join("token"), "hunter2", 0o600);
        }
        let config = setup.write();
        let mut check = passing(lictor(setup.folder()), setup.folder());
        let checked = finish(check.arg("check").arg("--config").arg(config));
        assert_eq!(checked.code, Some(2), "{granted}: {checked:?}");
        let words = "leads to a path that no plugin may read: a plugin's secret";
        assert!(checked.stderr.contains(words), "{granted}: {}", checked.stderr);
    }
}

/// A link that comes to lead to the secret while the server runs.
#[test]
fn no_link_that_comes_later_leads_to_a_secret() {
    let (setup, tester) = setup("", CONFIG);
    let commands = ["read"];
    let keys = "[plugins.reaching.grants]\nfiles = [\"open/notes\"]\ncommands = []";
    let setup = setup.plugin("reaching", components::reaching(), &commands, keys);
    let notes = setup.folder().join("open/notes");
    fs::create_dir(setup.folder().join("open")).unwrap();
    put(&notes, "notes", 0o600);
    let server = start(setup);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("read open/notes"), "notes");
    fs::remove_file(&notes).unwrap();
    std::os::unix::fs::symlink("../secrets/token", &notes).unwrap();
    let read = connection.ask_framed("read open/notes");
    assert_eq!(read.failure().0, "denied", "{}", read.text());
    fs::remove_file(&notes).unwrap();
    fs::hard_link(server.folder().join("credentials/token"), &notes).unwrap();
    let read = connection.ask_framed("read open/notes");
    assert_eq!(read.failure().0, "denied", "{}", read.text());
}

#[test]
fn a_script_without_a_server_reads_secrets_as_a_config_does() {
    let calls = "[[call]]\ncommand = \"config token\"\nreply = \"hunter2\"\n";
    let granted =
        "[plugins.granted.config]\ntoken = { file = \"token\" }\n[plugins.granted.grants]\nlogging = true\n";
    let script = Script::new(&format!("{calls}{granted}"));
    let refused = script.run(components::granted(), &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for words in ["error: `plugins.granted.config.token`: the secret is missing", "calls.toml:"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let run = script.with("token", b"hunter2\n").run(components::granted(), &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
}
