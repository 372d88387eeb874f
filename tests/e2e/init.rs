//! `lictor init`: what it makes works without an edit; on a terminal it asks first.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;
use testkit::tools::{Finished, finish, lictor, python};

use crate::initialized::{Serving, initialized};
use crate::prompt::TALK;

fn run(folder: &Path, arguments: &[&str]) -> Finished {
    finish(lictor(folder).args(arguments))
}

/// Runs a command line of `lictor` on a terminal; returns its exit code.
fn on_terminal(folder: &Path, command: &str, script: &[&str]) -> String {
    let folder = folder.display().to_string();
    let arguments = [env!("CARGO_BIN_EXE_lictor"), folder.as_str(), command];
    python(TALK, &[&arguments, script].concat()).trim().to_owned()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn an_operator_needs_no_edit_of_what_is_made() {
    let folder = TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let made = run(folder.path(), &["init", "--listen", &format!("127.0.0.1:{port}")]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let absent = run(folder.path(), &["status", "--ready"]);
    assert_eq!((absent.code, absent.stdout.as_str()), (Some(3), ""), "{absent:?}");
    let _serving = Serving::begin(folder.path(), port);
    let status = run(folder.path(), &["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("reloads 0 done"), "{status:?}");
    let json = run(folder.path(), &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &status["clients"]), (Some(0), &2.into()), "{json:?}");
    assert_eq!(run(folder.path(), &["status", "--json", "--ready"]).code, Some(2));
    for (arguments, reply) in [
        (&["reload"][..], "nothing has changed\n"),
        (&["call", "echo", "hello"], "hello\n"),
        (&["call", "--raw", "@ping"], "pong"),
        (&["status", "--ready"], "pong\n"),
    ] {
        let ran = run(folder.path(), arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(0), reply, ""),
            "{arguments:?}"
        );
    }
    // Each is called as a client that may run it, and no client may run both.
    for (command, client) in [("@whoami", "dev"), ("@clients", "operator")] {
        let ran = run(folder.path(), &["call", command]);
        assert!(ran.code == Some(0) && ran.stdout.contains(client), "{ran:?}");
    }
    let denied = run(folder.path(), &["call", "--cert", "certs/operator.pem", "echo", "hello"]);
    assert!(denied.code == Some(1) && denied.stderr.contains("(forbidden, not-run)"), "{denied:?}");
}

#[test]
fn a_verb_that_no_client_here_may_run_names_the_line_that_would_allow_it() {
    let (folder, port) = initialized();
    let _serving = Serving::begin(folder.path(), port);
    let config = folder.path().join("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("commands = [\"@*\"]", "commands = [\"@status\"]")).unwrap();
    assert_eq!(run(folder.path(), &["status"]).code, Some(0));
    for (gone, who, section) in [
        ("", "none of the clients whose keys are here may run @reload: `dev`, `operator`; ", "[clients.dev]"),
        (
            "certs/dev.key",
            "the client `operator`, whose key is here, may not run @reload; ",
            "[clients.operator]",
        ),
    ] {
        if !gone.is_empty() {
            fs::remove_file(folder.path().join(gone)).unwrap();
        }
        let refused = run(folder.path(), &["reload"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
        let advice = format!("{who}to allow it, add \"@reload\" to `commands` of {section} in server.toml");
        assert!(refused.stderr.contains(&advice), "no {advice:?} in {}", refused.stderr);
    }
}

#[test]
fn a_terminal_is_asked_until_the_answers_are_right() {
    let folder = TempDir::new().unwrap();
    let script = [
        ("", "Address to listen at [127.0.0.1:4888]: "),
        ("localhost\r", "a host name can't be listened on"),
        ("", "Address to listen at [127.0.0.1:4888]: "),
        ("0.0.0.0:4999\r", "Clients that run commands, by name [dev]: "),
        ("laptop operator\r", "operator: this client is made anyway"),
        ("", "Clients that run commands, by name [dev]: "),
        ("laptop, desk\r", "made asked/server.toml"),
        ("", "lictor status"),
    ];
    let script: Vec<_> = script.iter().flat_map(|(typed, shown)| [*typed, *shown]).collect();
    assert_eq!(on_terminal(folder.path(), "init asked", &script), "0");
    let made = folder.path().join("asked");
    let text = fs::read_to_string(made.join("server.toml")).unwrap();
    assert!(text.contains("listen = [\"0.0.0.0:4999\"]"), "{text}");
    for name in ["laptop", "desk", "operator"] {
        assert!(made.join(format!("certs/{name}.key")).exists(), "{name}");
    }
    assert!(!made.join("certs/dev.key").exists());
    let checked = run(&made, &["check"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{checked:?}");

    // Enter is the default.
    let script = ["", "Address", "\r", "Clients", "\r", "made certs/dev.pem", "", "lictor status"];
    assert_eq!(on_terminal(folder.path(), "init", &script), "0");
}

#[test]
fn who_leaves_the_questions_has_written_nothing() {
    let folder = TempDir::new().unwrap();
    let leave = |script: &[&str]| on_terminal(folder.path(), "init made", script);
    assert_eq!(leave(&["", "Address", "\x04", "nothing was written"]), "1");
    assert_eq!(leave(&["", "Address", "\r", "Clients", "\x04", "nothing was written"]), "1");
    assert_eq!(leave(&["", "Address", "\r", "Clients", "\x03", "^C"]), "-2");
    assert!(is_empty(folder.path()));
}

#[test]
fn options_and_other_inputs_are_asked_nothing() {
    let folder = TempDir::new().unwrap();
    for options in ["--yes a", "--client laptop b", "--listen 127.0.0.1:1 c"] {
        let made = format!("made {}/server.toml", options.split(' ').next_back().unwrap());
        assert_eq!(on_terminal(folder.path(), &format!("init {options}"), &["", &made]), "0");
    }
    let exists = ["", "exists; nothing was written"];
    assert_eq!(on_terminal(folder.path(), "init a", &exists), "2", "before any question");
    assert_eq!(on_terminal(folder.path(), "init --missing-only a", &["", "nothing is missing"]), "0");
    let piped = run(folder.path(), &["init", "d"]);
    assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""), "{piped:?}");
    for (wrong, words) in [
        (&["--listen", "example.com:1"][..], "--listen"),
        (&["--client", "a b"], "'--client <NAME>'"),
        (&["--client", "server"], "--client: server: the server's own certificate has this name"),
        (&["--client", "a", "--client", "a"], "--client: a: this name stands twice"),
    ] {
        let refused = run(folder.path(), &[&["init", "e"], wrong].concat());
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(words), "no {words:?} in {}", refused.stderr);
        assert!(!folder.path().join("e").exists());
    }
}

#[test]
fn a_checkout_gets_what_its_config_names() {
    let folder = TempDir::new().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("server.toml");
    fs::copy(own, folder.path().join("server.toml")).unwrap();
    let made = run(folder.path(), &["init", "--missing-only"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    for name in ["server", "dev", "operator"] {
        assert!(made.stdout.contains(&format!("made certs/{name}.key\n")), "{made:?}");
    }
    let checked = run(folder.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn a_certificate_without_its_key_is_told() {
    let (folder, _port) = initialized();
    fs::remove_file(folder.path().join("certs/operator.key")).unwrap();
    let told = run(folder.path(), &["init", "--missing-only"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("the key is not beside certs/operator.pem: if it is lost"), "{told:?}");
    assert!(told.stdout.starts_with("nothing else is missing\n"), "{told:?}");
    fs::remove_file(folder.path().join("certs/operator.pem")).unwrap();
    let made = run(folder.path(), &["init", "--missing-only"]);
    assert!(made.stdout.starts_with("made certs/operator.pem\nmade certs/operator.key\n"), "{made:?}");
    assert_eq!(made.stderr, "", "{made:?}");
}
