//! Faults of a script, and its calls as they are read.

use super::*;

/// The faults of a script, each in one line.
fn faults(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, text).unwrap();
    let plugins = ["greet".parse().unwrap()];
    let read = script(&path, &plugins, &["not-found", "busy"], |call| match &call.command {
        ScriptCommand::Line(line) if line.is_empty() => {
            Err(InvalidText { what: "it is empty".to_owned(), advice: Some("write a word".to_owned()) })
        }
        _ => Ok(()),
    });
    let faults = read.expect_err(text);
    let all = faults.iter().map(|fault| fault.line().replace(&format!("{}", path.display()), "s.toml"));
    all.collect()
}

#[test]
fn a_wrong_script_says_where_and_what_to_do() {
    for (text, place, words) in [
        ("", "s.toml: ", "the script has no call"),
        ("[[call]]\n", "s.toml:1: ", "a call needs a command"),
        ("[[call]]\ncommand = \"\"\n", "s.toml:2: ", "write a word"),
        ("[[call]]\ncommand = [\"a\", 1]\n", "s.toml:2: ", "`call.command`: expected a string"),
        ("[[call]]\ncommand = \"a\"\nreplay = \"a\"\n", "s.toml:3: ", "did you mean `reply`?"),
        ("[[call]]\ncommand = \"a\"\ncode = \"not-fuond\"\n", "s.toml:3: ", "did you mean \"not-found\"?"),
        (
            "[[call]]\ncommand = \"a\"\ncode = \"failed\"\n",
            "s.toml:3: ",
            "is \"plugin-failed\" to its clients",
        ),
        ("[[call]]\ncommand = \"a\"\nreply = \"x\"\ncode = \"busy\"\n", "s.toml:4: ", "leave out `code`"),
        (
            "[[call]]\ncommand = \"a\"\nbody = \"x\"\nbody_file = \"y\"\n",
            "s.toml:4: ",
            "leave one of them out",
        ),
        (
            "[[call]]\ncommand = \"a\"\nreply_file = \"none\"\n",
            "s.toml:3: ",
            "paths begin at the script's folder",
        ),
        ("[[call]]\ncommand = \"a\"\ntimeout = \"0s\"\n", "s.toml:3: ", "a call needs some time"),
        ("[[call]]\ncommand = \"a\"\ntimeout = 5\n", "s.toml:3: ", "`call.timeout`: expected"),
        ("call = \"a\"\n", "s.toml:1: ", "`call`: expected a list"),
        (
            "[[call]]\ncommand = \"a\"\n[plugins.greeet.grants]\nlogging = true\n",
            "s.toml:3: ",
            "did you mean `greet`?",
        ),
        ("[[call]]\ncommand = \"a\"\n[plugins.greet]\ncomponent = \"a.wasm\"\n", "s.toml:4: ", "`component`"),
        (
            "[[call]]\ncommand = \"a\"\n[plugins.greet.grants]\nhttp = [\"ftp://a\"]\n",
            "s.toml:4: ",
            "`plugins.greet.grants.http`: expected a URL",
        ),
        (
            "[[call]]\ncommand = \"a\"\n[plugins.greet.grants.directories]\n\"/a\" = \"none\"\n",
            "s.toml:4: ",
            "make the folder",
        ),
        ("[[call]]\ncommand = a\n", "s.toml:2: ", "this is not TOML"),
    ] {
        let faults = faults(text);
        assert_eq!(faults.len(), 1, "{text:?}: {faults:?}");
        assert!(faults[0].starts_with(place) && faults[0].contains(words), "{text:?}: {faults:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_and_shown_with_their_text() {
    let text = "[[call]]\ncommand = \"a\"\ntimeout = \"0s\"\n[[call]]\ncommand = 7\n";
    assert_eq!(faults(text).len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, text).unwrap();
    let shown = script(&path, &[], &[], |_| Ok(())).unwrap_err().to_string();
    assert!(shown.contains("timeout = \"0s\"") && shown.contains("command = 7"), "{shown}");
}

#[test]
fn a_call_has_all_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(folder.path().join("bytes"), b"\xff\0").unwrap();
    let text = "[[call]]\ncommand = [\"put\", \"two words\"]\nheaders = [\"A: b\", \"A: c\"]\nbody_file = \"bytes\"\n\
                client = \"laptop\"\ntimeout = \"2s\"\nreply_file = \"bytes\"\nhas = \"\"\n\
                [[call]]\ncommand = 'get \"two words\"'\nbody = \"text\"\ncode = \"busy\"\n";
    std::fs::write(&path, text).unwrap();
    let Script { calls, .. } = script(&path, &[], &["busy"], |_| Ok(())).unwrap();
    let (first, second) = (&calls[0].0, &calls[1].0);
    assert!(matches!(&first.command, ScriptCommand::Words(words) if words[..] == ["put", "two words"]));
    assert_eq!(
        (&first.headers[..], &first.body[..]),
        (&["A: b".to_owned(), "A: c".to_owned()][..], &b"\xff\0"[..])
    );
    assert_eq!((first.client.as_deref(), first.timeout), (Some("laptop"), Some(Duration::from_secs(2))));
    assert_eq!(first.expected.reply.as_deref(), Some(&b"\xff\0"[..]));
    assert!(matches!(&second.command, ScriptCommand::Line(line) if line == "get \"two words\""));
    assert_eq!((&second.body[..], second.expected.code.as_deref()), (&b"text"[..], Some("busy")));
}
