//! `lictor plugin run --script`: grants, files that are read, keys by which calls run once, failing streams.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use testkit::components;
use testkit::tools::{finish, lictor};
use testkit::web::Web;

use crate::script::{Script, printed};

#[test]
fn the_parts_before_a_failure_are_shown_and_then_the_failure() {
    let script = Script::new(
        "[[call]]\ncommand = \"break-off 2\"\ncode = \"not-found\"\nhas = \"2\\n\"\n[[call]]\ncommand = \"trap 1\"\n",
    );
    let run = script.run(components::streams(), &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let lines = printed(&run);
    assert_eq!(lines[..4], ["ok    break-off 2", "  1", "  2", "  no more (not-found, failed)"], "{run:?}");
    assert_eq!(lines[4..7], ["FAIL  trap 1", "  expected: a reply", "  got:      1"], "{run:?}");
    assert!(lines[7].contains("(plugin-trapped, "), "{run:?}");

    let folder = TempDir::new().unwrap();
    let one = |command: &[&str]| {
        let mut run = lictor(folder.path());
        run.args(["plugin", "run"]).arg(components::streams()).args(["--timeout", "2s"]).args(command);
        finish(&mut run)
    };
    for (command, told) in [
        (&["break-off", "2"][..], "no more (not-found, failed)"),
        (&["trap", "2"], "(plugin-trapped, unknown)"),
        // The first parts arrive even if the time runs out.
        (&["count", "1000000", "100"], "(timeout, unknown)"),
    ] {
        let run = one(command);
        assert_eq!(run.code, Some(1), "{command:?}: {run:?}");
        assert!(run.stdout.starts_with("1\n2\n") && run.stderr.contains(told), "{command:?}: {run:?}");
    }
    // The bound on a reply does not apply to a stream, as in a server.
    let large = one(&["whole", "2000000"]);
    assert_eq!((large.code, large.stdout.len()), (Some(0), 2_000_001), "{}", large.stderr);
}

#[test]
fn an_idempotency_key_has_a_call_run_once() {
    let script = Script::new(
        r#"
        [[call]]
        command = "kv-increment hits"
        headers = ["Idempotency-Key: one"]
        reply = "1"
        [[call]]
        command = "kv-increment hits"
        headers = ["idempotency-key:one"]
        reply = "1"
        [[call]]
        command = "kv-increment hits 2"
        headers = ["Idempotency-Key: one"]
        code = "conflict"
        has = "sent with another request"
        [[call]]
        command = "kv-increment hits"
        headers = ["Idempotency-Key: one"]
        client = "other"
        reply = "2"
        [[call]]
        command = "kv-increment hits"
        headers = ["Idempotency-Key: two"]
        reply = "3"
        [[call]]
        command = "count 1 0"
        headers = ["Idempotency-Key: one"]
        code = "bad-arguments"
        has = "takes no Idempotency-Key"
        "#,
    );
    let streams = format!("streams={}", components::streams().display());
    // A second run has the stores of the first, but none of its keys.
    let run = script.run(components::kv(), &["--plugin", &streams, "--state", "kept.db"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let again = script.run(components::kv(), &["--plugin", &streams, "--state", "kept.db"]);
    assert_eq!(printed(&again)[2], "  got:      4", "{again:?}");
}

#[test]
fn a_script_grants_what_a_config_would_and_no_more() {
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let url = web.url("/");
    let calls = format!(
        r#"
        [[call]]
        command = "check-disk / 80 90"
        has = "60.0%"
        [[call]]
        command = ["check-http", "{url}", "60", "120"]
        has = "OK - "
        [[call]]
        command = "check-http http://127.0.0.1:1/ 60 120"
        code = "denied"
        [[call]]
        command = "check-load 1,1,1 2,2,2"
        code = "plugin-failed"
        "#
    );
    let granted = format!(
        r#"
        [plugins.check.config]
        df = "disks"
        [plugins.check.grants]
        files = ["disks"]
        http = ["{url}"]
        "#
    );
    let script = Script::new(&(granted.clone() + &calls));
    let script = script.with(
        "disks",
        b"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 60 40 60% /\n",
    );
    let run = script.run(components::check(), &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(web.seen().len(), 1);
    // Anything not granted is denied, with a server's words.
    let less = script.with("calls.toml", (granted.replace("http = ", "# ") + &calls).as_bytes());
    let refused = less.run(components::check(), &[]);
    assert_eq!((refused.code, &refused.stdout[..]), (Some(1), ""), "{refused:?}");
    for words in ["which are not granted to it", "add to [plugins.check.grants]:\n    | http = "] {
        assert!(refused.stderr.contains(words), "no {words:?} in {refused:?}");
    }
    // Options are only for plugins that the script does not describe.
    let both = less.run(components::check(), &["--config", "df=disks"]);
    assert_eq!(both.code, Some(2), "{both:?}");
    assert!(both.stderr.contains("sets the grants of each plugin"), "{both:?}");
    let echo = format!("echo={}", components::echo().display());
    let other = less.with("calls.toml", (granted + &calls).as_bytes());
    let other = other.run(components::check(), &["--config", "df=none", "--plugin", &echo]);
    assert_eq!(other.code, Some(0), "{other:?}");
}

#[test]
fn a_file_that_waits_for_its_writer_is_refused() {
    let script = Script::new("");
    let made = Command::new("mkfifo").arg(script.0.path().join("pipe")).status().unwrap();
    assert!(made.success());
    for key in ["body_file", "reply_file"] {
        for path in ["pipe", "/dev/tty", "/dev/zero"] {
            let text = format!("[[call]]\ncommand = \"echo\"\n{key} = \"{path}\"\n");
            fs::write(script.0.path().join("calls.toml"), text).unwrap();
            let run = script.run(components::echo(), &[]);
            assert_eq!(run.code, Some(2), "{key} {path}: {run:?}");
            for words in ["calls.toml:3:", key, "this is not a plain file"] {
                assert!(run.stderr.contains(words), "{key} {path}: no {words:?} in {run:?}");
            }
        }
    }
    // The script itself may be a pipe that is being written.
    let piped = "\"$0\" plugin run \"$1\" --script <(printf '[[call]]\\ncommand = \"echo a\"\\n')";
    let mut piping = Command::new("bash");
    piping.args(["-c", piped, env!("CARGO_BIN_EXE_lictor")]).arg(components::echo());
    piping.env("XDG_CACHE_HOME", script.0.path()).current_dir(script.0.path());
    let run = finish(&mut piping);
    assert_eq!(run.code, Some(0), "{run:?}");
}
