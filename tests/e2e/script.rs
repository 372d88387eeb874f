//! `lictor plugin run --script`: several calls without a server, the stores and instances they share, other
//! plugins, and the expected result of each call.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use testkit::components;
use testkit::tools::{Finished, finish, lictor};

/// A script, with its files beside it.
pub(super) struct Script(pub(super) TempDir);

impl Script {
    pub(super) fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("calls.toml"), text).unwrap();
        Self(folder)
    }

    pub(super) fn with(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.0.path().join(name), bytes).unwrap();
        self
    }

    pub(super) fn run(&self, component: &Path, options: &[&str]) -> Finished {
        let mut command = lictor(self.0.path());
        command.args(["plugin", "run"]).arg(component).args(["--script", "calls.toml"]).args(options);
        finish(&mut command)
    }
}

/// Returns the output without the times.
pub(super) fn printed(run: &Finished) -> Vec<String> {
    let timeless = |line: &str| match line.starts_with("ok ") || line.starts_with("FAIL ") {
        true => line.rsplit_once(" (").map_or(line, |(call, _)| call).to_owned(),
        false => line.to_owned(),
    };
    run.stdout.lines().map(timeless).collect()
}

#[track_caller]
fn passes(run: &Finished, lines: &[&str]) {
    assert_eq!(
        (run.code, &printed(run)[..]),
        (Some(0), &lines.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
        "{run:?}"
    );
}

#[test]
fn calls_go_one_after_the_other_over_the_same_stores() {
    let script = Script::new(
        r#"
        [[call]]
        command = "kv-increment hits"
        reply = "1"
        [[call]]
        command = ["kv-increment", "hits", "41"]
        reply = "42"
        [[call]]
        command = 'kv-set "two words" "a \"value\""'
        [[call]]
        command = ["kv-get", "two words"]
        reply = 'a "value"'
        [[call]]
        command = "kv-get none"
        code = "not-found"
        has = "none"
        "#,
    );
    let run = script.run(components::kv(), &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines = printed(&run);
    assert_eq!(
        lines[..4],
        ["ok    kv-increment hits", "  1", "ok    kv-increment hits 41", "  42"],
        "{run:?}"
    );
    assert!(lines.last().unwrap().ends_with("(not-found, failed)"), "{run:?}");
    // In a file they outlive the script.
    let kept = ["--state", "kept.db", "--name", "kv"];
    assert_eq!(script.run(components::kv(), &kept).code, Some(0));
    let again = script.run(components::kv(), &kept);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(
        printed(&again)[..3],
        ["FAIL  kv-increment hits", "  expected: 1", "  got:      43"],
        "{again:?}"
    );
}

#[test]
fn a_call_has_its_client_headers_body_and_time() {
    let script = Script::new(
        r#"
        [[call]]
        command = "whoami"
        client = "laptop"
        has = "laptop"
        [[call]]
        command = "whoami"
        has = "somebody"
        [[call]]
        command = "headers"
        headers = ["X-Y: z", "X-Y:  w "]
        has = "w"
        [[call]]
        command = "body-size"
        body = "five\u0021"
        reply = "5"
        [[call]]
        command = "body"
        body_file = "bytes"
        reply_file = "bytes"
        [[call]]
        command = "spin"
        timeout = "50ms"
        code = "timeout"
        "#,
    );
    let script = script.with("bytes", b"\xff\0\x01");
    let run = script.run(components::hostile(), &["--client", "somebody"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("\n  3 bytes that are not text\n"), "{run:?}");
    let other = script.with("bytes", b"\xff\0\x02");
    let same = other.run(components::hostile(), &["--client", "somebody"]);
    assert_eq!(same.code, Some(0), "what is sent and what is expected is the same file: {same:?}");
}

#[test]
fn what_is_not_as_expected_is_shown_and_all_calls_are_run() {
    let script = Script::new(
        r#"
        [[call]]
        command = "echo one"
        reply = "two"
        [[call]]
        command = "echo three"
        code = "busy"
        [[call]]
        command = "echo"
        body_file = "bytes"
        reply_file = "others"
        [[call]]
        command = "echo four"
        has = "fore"
        [[call]]
        command = "echo five"
        reply = "five\n"
        [[call]]
        command = "echo six"
        "#,
    );
    let run = script.with("bytes", b"\xff\x01").with("others", b"\xff\x02\x03").run(components::echo(), &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("lictor: 5 of 6 calls did not give the expected result"), "{run:?}");
    let told = [
        "FAIL  echo one",
        "  expected: two",
        "  got:      one",
        "FAIL  echo three",
        "  expected: a failure of the code busy",
        "  got:      three",
        "FAIL  echo",
        "  expected: 3 bytes that are not text",
        "  got:      2 bytes that are not text, the first 1 bytes as expected",
        "FAIL  echo four",
        "  expected: a reply with \"fore\" in it",
        "  got:      four",
        "FAIL  echo five",
        "  expected: \"five\\n\"",
        "  got:      \"five\"",
        "ok    echo six",
        "  six",
    ];
    assert_eq!(printed(&run), told);
    // A call that should reply fails the script if it fails, whatever else is expected of it.
    let failing = Script::new("[[call]]\ncommand = \"fail denied no\"\n").run(components::hostile(), &[]);
    assert_eq!((failing.code, &printed(&failing)[2][..]), (Some(1), "  got:      no (denied, failed)"));
}

#[test]
fn a_warm_instance_is_kept_for_whom_it_is_said() {
    let script = Script::new(
        "[[call]]\ncommand = \"count\"\n[[call]]\ncommand = \"count\"\nclient = \"other\"\n[[call]]\ncommand = \"count\"\n",
    );
    for (options, replies) in [
        (&[][..], ["1", "1", "1"]),
        (&["--instances", "per-client"], ["1", "1", "2"]),
        (&["--instances", "shared"], ["1", "2", "3"]),
    ] {
        let run = script.run(components::conformance(), options);
        let [a, b, c] = replies.map(|reply| format!("  {reply}"));
        passes(&run, &["ok    count", &a, "ok    count", &b, "ok    count", &c]);
    }
}

#[test]
fn other_plugins_are_called_as_in_a_server() {
    let script = Script::new(
        r#"
        [[call]]
        command = "run kv-increment hits"
        reply = "1"
        [[call]]
        command = "kv-increment hits"
        reply = "2"
        [[call]]
        command = "run run run run run kv-increment hits"
        reply = "denied: Commands may call commands to a depth of 4"
        [[call]]
        command = "run count 1 0"
        has = "reply-unframeable: "
        [[call]]
        command = "run nobody"
        has = "unknown-command: "
        [[call]]
        command = "run @whoami"
        has = "forbidden: "
        "#,
    );
    let named = |name: &str, component: &Path| format!("{name}={}", component.display());
    let (kv, streams) = (named("store", components::kv()), named("streams", components::streams()));
    let run = script.run(components::reaching(), &["--plugin", &kv, "--plugin", &streams]);
    assert_eq!(run.code, Some(0), "{run:?}");
    // A single command without a script does the same.
    let folder = TempDir::new().unwrap();
    let mut one = lictor(folder.path());
    one.args(["plugin", "run"]).arg(components::reaching()).args([
        "--plugin",
        &kv,
        "run",
        "kv-increment",
        "hits",
    ]);
    let one = finish(&mut one);
    assert_eq!((one.code, one.stdout.as_str()), (Some(0), "1\n"), "{one:?}");
}

#[test]
fn other_plugins_that_can_not_be_had_are_told() {
    let script = Script::new("[[call]]\ncommand = \"echo\"\n");
    let echo = components::echo().display();
    for (option, code, words) in [
        (format!("other={echo}"), 1, "both echo and other have the command echo"),
        (format!("echo={echo}"), 1, "there are two plugins echo"),
        ("other=none.wasm".to_owned(), 1, "there is no such file"),
        ("none.wasm".to_owned(), 2, "NAME=FILE"),
        (format!("a b={echo}"), 2, "can't stand in a name"),
    ] {
        let run = script.run(components::echo(), &["--plugin", &option]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{option}: {run:?}");
        assert!(run.stderr.contains(words), "{option}: no {words:?} in {}", run.stderr);
    }
}

#[test]
fn the_parts_of_a_reply_are_joined() {
    let script = Script::new(
        "[[call]]\ncommand = \"count 3 0\"\nreply = \"1\\n2\\n3\\n\"\n[[call]]\ncommand = \"break-off\"\ncode = \"not-found\"\n\
         [[call]]\ncommand = \"whole 200000\"\nreply_file = \"whole\"\n[[call]]\ncommand = \"trap\"\ncode = \"plugin-trapped\"\n",
    );
    let run = script.with("whole", &vec![b'w'; 200_000]).run(components::streams(), &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("w… (200000 bytes in all)\n"), "{}", run.stdout.len());
    // `reply` bounds only replies that a server holds in memory.
    let large = Script::new("[[call]]\ncommand = \"whole 2000000\"\nreply_file = \"whole\"\n");
    let run = large.with("whole", &vec![b'w'; 2_000_000]).run(components::streams(), &["--reply", "1KiB"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    // The most that is compared, and one byte more.
    let bound = 64 << 20;
    let calls = format!(
        "[[call]]\ncommand = \"whole {bound}\"\nhas = \"ww\"\n[[call]]\ncommand = \"whole {}\"\ncode = \"plugin-limit\"\n\
         has = \"Its parts are more than 64MiB\"\n",
        bound + 1
    );
    let run = Script::new(&calls).run(components::streams(), &["--timeout", "1m", "--memory", "512MiB"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_reply_is_bounded_as_in_a_server() {
    let large = |more: &[&str]| {
        let script =
            Script::new("[[call]]\ncommand = \"echo\"\nbody_file = \"large\"\nreply_file = \"large\"\n");
        script
            .with("large", &vec![b'l'; (1 << 20) + 1])
            .run(components::echo(), &[&["--body-size", "2MiB"], more].concat())
    };
    let bounded = large(&[]);
    assert!(bounded.code == Some(1) && bounded.stdout.contains("plugin-limit"), "{bounded:?}");
    assert_eq!(large(&["--reply", "2MiB"]).code, Some(0));
}

#[test]
fn a_wrong_script_is_told_by_its_lines_and_nothing_is_run() {
    for (text, words) in [
        ("[[call]]\ncommand = 'echo \"a'\n", &["calls.toml:2:11", "argument 2 has no closing quote"][..]),
        ("[[call]]\ncommand = \"echo\"\nreplay = \"x\"\n", &["calls.toml:3:1", "did you mean `reply`?"]),
        ("[[call]]\ncommand = \"echo\"\nheaders = [\"x\"]\n", &["calls.toml:2:11", "a header is written"]),
        (
            "[[call]]\ncommand = \"echo\"\nheaders = [\"Size: 1\"]\n",
            &["the header Size is the protocol's own"],
        ),
        ("[[call]]\ncommand = \"echo\"\ncode = \"bussy\"\n", &["calls.toml:3:8", "did you mean \"busy\"?"]),
        ("[[call]\ncommand = \"echo\"\n", &["calls.toml:1:", "this is not TOML"]),
    ] {
        let run =
            Script::new(&format!("{text}[[call]]\ncommand = \"echo run\"\n")).run(components::echo(), &[]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{text}: {run:?}");
        for words in words {
            assert!(run.stderr.contains(words), "{text}: no {words:?} in {}", run.stderr);
        }
    }
    let large = Script::new("[[call]]\ncommand = \"echo\"\nbody_file = \"large\"\n");
    let large = large.with("large", &vec![b'l'; (1 << 20) + 1]).run(components::echo(), &[]);
    assert_eq!((large.code, large.stdout.as_str()), (Some(2), ""), "{large:?}");
    assert!(large.stderr.contains("1048577 bytes, and a server takes 1048576"), "{large:?}");
    let of_server = Script::new("[[call]]\ncommand = \"@ping\"\n").run(components::echo(), &[]);
    assert_eq!(of_server.code, Some(2), "{of_server:?}");
    let words = ["calls.toml:2:11", "there is no server to run this command", "remove the call"];
    assert!(words.iter().all(|words| of_server.stderr.contains(words)), "{of_server:?}");
    let folder = TempDir::new().unwrap();
    let missing = finish(
        lictor(folder.path()).args(["plugin", "run"]).arg(components::echo()).args(["--script", "none.toml"]),
    );
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("the script can't be read: there is no such file"), "{missing:?}");
    for arguments in [
        &["--script", "x", "echo"][..],
        &["--script", "x", "--body", "y"],
        &["--instances", "shared", "echo"],
    ] {
        let usage = finish(lictor(folder.path()).args(["plugin", "run", "x.wasm"]).args(arguments));
        assert_eq!(usage.code, Some(2), "{arguments:?}: {usage:?}");
        assert!(usage.stderr.contains("--script"), "{arguments:?}: {usage:?}");
    }
}
