//! Transcripts of the wire as text files: the bytes sent, and the bytes expected back.
//!
//! A case begins with `== title`. `> ` sends the rest of its line, `< ` expects exactly its bytes back, `~ `
//! expects a plain reply that matches a pattern with `*`, and `closed` expects the end of the connection. A
//! case without `closed` must leave the connection usable. `\r \n \t \\ \xHH` stand for bytes, `#` begins a
//! comment line.

use std::panic::{AssertUnwindSafe, catch_unwind};

use testkit::client::Connection;

/// Pace at which a case's bytes are sent.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Whole,
    ByteByByte,
}

struct Case<'a> {
    title: &'a str,
    steps: Vec<Step>,
}

enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    Fit(String),
    Closed,
}

/// Runs every case of `file` on its own connection, whole and byte by byte.
pub fn check(name: &str, file: &str, connect: impl Fn() -> Connection) {
    let cases = parse(file);
    assert!(!cases.is_empty(), "{name} has no cases");
    let mut failed = Vec::new();
    for case in &cases {
        for pace in [Pace::Whole, Pace::ByteByByte] {
            let run = catch_unwind(AssertUnwindSafe(|| run(case, pace, connect())));
            if run.is_err() {
                failed.push(format!("{:?} ({pace:?})", case.title));
            }
        }
    }
    assert!(failed.is_empty(), "of {} cases in {name} failed:\n  {}", cases.len(), failed.join("\n  "));
}

fn run(case: &Case<'_>, pace: Pace, mut connection: Connection) {
    let title = case.title;
    for step in &case.steps {
        match step {
            Step::Send(bytes) => send(bytes, pace, &mut connection),
            Step::Expect(bytes) => {
                let wanted = String::from_utf8_lossy(bytes);
                let got = connection.read_bytes(bytes.len());
                assert_eq!(String::from_utf8_lossy(&got), wanted, "{title}");
            }
            Step::Fit(pattern) => {
                let reply = connection.read_reply();
                assert!(fits(&reply, pattern), "{title}: {reply:?} does not fit {pattern:?}");
            }
            Step::Closed => return connection.assert_closed(),
        }
    }
    assert_eq!(connection.ask("@ping"), "pong", "{title}: the connection stays usable");
}

fn send(bytes: &[u8], pace: Pace, connection: &mut Connection) {
    match pace {
        Pace::Whole => connection.send(bytes),
        // The server may report a fault, and close the connection, before the last byte.
        Pace::ByteByByte => drop(bytes.iter().try_for_each(|byte| connection.try_send([*byte]))),
    }
}

fn parse(file: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case { title, steps: Vec::new() });
            continue;
        }
        let steps =
            &mut cases.last_mut().unwrap_or_else(|| panic!("{line:?} stands before the first case")).steps;
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (kind, steps.last_mut()) {
            (">", Some(Step::Send(bytes))) | ("<", Some(Step::Expect(bytes))) => bytes.extend(unescape(rest)),
            (">", _) => steps.push(Step::Send(unescape(rest))),
            ("<", _) => steps.push(Step::Expect(unescape(rest))),
            ("~", _) => steps.push(Step::Fit(String::from_utf8(unescape(rest)).expect("a pattern is UTF-8"))),
            ("closed", _) => steps.push(Step::Closed),
            _ => panic!("no step: {line:?}"),
        }
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (kind, after) = rest.split_first().unwrap_or_else(|| panic!("a lone backslash ends {text:?}"));
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                let digits = std::str::from_utf8(digits).expect("hexadecimal digits");
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            _ => panic!("unknown escape in {text:?}"),
        });
    }
    bytes
}

/// Returns true if `text` matches `pattern`, with each `*` for any text.
fn fits(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
