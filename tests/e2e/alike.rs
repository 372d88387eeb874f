//! The hosts on which authors test commands without a server, compared with the server's own: a plugin passes
//! the same odd inputs to both, and both answer alike, letter for letter.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::tools::Finished;
use testkit::web::Web;

use crate::languages::{at_leisure, author};

/// Calls of a plugin `mixed`, with the least number of lines that each returns. `DIR` contains the files, and
/// the web is at `odd`.
const CALLS: [(&[&str], usize); 7] = [
    (&["state", "1", "300"], 300),
    (&["state", "2", "300"], 300),
    (&["state", "3", "300"], 300),
    (&["requests"], 120),
    (&["topics"], 40),
    (&["answers", "http://odd"], 3),
    (&["others", "DIR/there", "DIR/missing", "DIR/large"], 20),
];

/// Answers with bytes after the head where HTTP allows no body: after a 204, for a `HEAD`, after a 304.
fn odd_web() -> Web {
    Web::new(|request, connection| {
        let status = match request.line.split(' ').next() {
            Some("GET") => "204 No Content",
            Some("HEAD") => "200 OK",
            _ => "304 Not Modified",
        };
        connection.send(&format!("HTTP/1.1 {status}\r\nB: 1\r\nA:  2 \r\nb: 3\r\n\r\nbody"));
    })
}

/// Calls `component`, and with `here` its code on the host of a test, which prints the reply and a newline,
/// or the code with which the call ended; `more` calls are specific to the language.
pub(super) fn answer_alike(component: &Path, here: impl Fn(&[String]) -> Command, more: &[&[&str]]) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("there"), "12345").unwrap();
    fs::write(folder.path().join("large"), vec![0; (1 << 20) + 1]).unwrap();
    let web = odd_web();
    let odd = format!("http://{}", web.address);
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    let there = |call: &[&str]| {
        let mut run = author(folder.path());
        run.args(["plugin", "run", "--timeout", "60s", "--memory", "256MiB", "--compile-time", "10m"]);
        run.args(["--http", "http://127.0.0.1:1/v1", "--http", "http://127.0.0.1:1/v2/", "--http", &odd]);
        run.args(["--config", "greeting=hi", "--config", "number=5", "--header", "Lang: de"]);
        for name in ["there", "missing", "large"] {
            run.args(["--file", &path(name)]);
        }
        let named = |word: &&str| word.replace("DIR/", &path("")).replace("http://odd", &odd);
        ended(run.arg(component).args(call.iter().map(named)))
    };
    // Compiling takes long; its result is cached for the calls below.
    at_leisure(author(folder.path()).args(["plugin", "inspect", "--compile-time", "10m"]).arg(component));
    let here = |call: &[&str]| {
        let named: Vec<String> = call.iter().map(|word| word.replace("DIR/", &path(""))).collect();
        let ran = ended(&mut here(&named));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let more = more.iter().map(|call| (*call, 1));
    for (call, least) in CALLS.into_iter().chain(more) {
        let (there, here) = (replied(&there(call)), here(call));
        for (there, here) in there.lines().zip(here.lines()) {
            assert_eq!(here, there, "{call:?}");
        }
        assert_eq!(
            (here.lines().count(), here.lines().count() >= least),
            (there.lines().count(), true),
            "{call:?}"
        );
    }
    let raw = here(&["raw"]);
    assert!(raw.lines().count() > 10, "{raw}");
    for what in raw.lines() {
        let (there, here) = (there(&["raw", what]), here(&["raw", what]));
        // The host of a test may be stricter: it ends the call on input that a component happens to accept.
        if here != "plugin-trapped\n" {
            assert_eq!(here, replied(&there), "{what}");
        }
    }
}

/// Runs a command to its end, however long it takes.
fn ended(command: &mut Command) -> Finished {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn replied(ran: &Finished) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.clone()
}
