//! A script of `lictor plugin run`: each call, its result, and the expected result.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::{Failure, output};
use crate::author::{self, TrialCall, TrialRun, Tried};
use crate::cli::Exit;
use crate::cli::check::warn;
use crate::client::{Request, RequestError};
use crate::config::{self, Expected, Script, ScriptCall, ScriptCommand};
use crate::text::{InvalidText, shown};

/// Maximum characters of a command shown in its line.
const MAX_COMMAND_CHARS: usize = 200;

/// Maximum bytes of a reply shown.
const MAX_SHOWN_BYTES: usize = 4096;

/// The result of a call.
type Given = Result<Vec<u8>, Failed>;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failed {
    code: &'static str,
    /// The failure's full message.
    told: String,
    /// The parts of its reply sent before the failure.
    sent: Vec<u8>,
}

/// Runs the script at `path`; `client` makes the calls that name no client.
pub(super) fn run(path: &Path, client: &str, plugins: TrialRun) -> Result<(), Failure> {
    let names = plugins.names();
    let read =
        config::script(path, &names, &author::codes(), |call| trial_call(call, client, plugins.body_bytes));
    let Script { calls, granted, warnings } = read.map_err(|faults| {
        output::faults(|style| faults.render(style));
        Failure::told(Exit::Usage)
    })?;
    warn(&warnings);
    if plugins.has_grants() && names.iter().all(|name| granted.contains_key(name)) {
        return Err(Failure::usage(format!(
            "{} sets the grants of each plugin: add yours there, below [plugins.NAME.grants] or .config, and leave out --config, \
             --store, --file, --directory and --http",
            path.display()
        )));
    }
    let plugins = TrialRun { granted, ..plugins };
    let (calls, requests): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    // If output fails, results still count.
    let (mut amiss, mut told) = (0, Ok(()));
    let done = author::try_all(&plugins, &requests, |number, Tried { answer, sent, time }| {
        let Some(call) = calls.get(number) else { return };
        let given = answer.map_err(|error| Failed {
            code: error.code.as_str(),
            told: format!("{} ({}, {})", error.message, error.code, error.outcome),
            sent,
        });
        let mismatch = mismatch(&call.expected, &given);
        amiss += usize::from(mismatch.is_some());
        if told.is_ok() {
            told = output::line(&lines(&call.command, time, &given, mismatch));
        }
    });
    done.map_err(|error| Failure::failed(format!("{error:#}")))?;
    match amiss {
        0 => told,
        _ => {
            Err(Failure::failed(format!("{amiss} of {} calls did not give the expected result", calls.len())))
        }
    }
}

/// Builds the call as its client sends it, in a form that a server accepts.
fn trial_call(call: &ScriptCall, client: &str, body_bytes: usize) -> Result<TrialCall, InvalidText> {
    let invalid = |what: String| InvalidText { what, advice: None };
    let headers = call.headers.iter().map(|header| {
        header.split_once(':').ok_or_else(|| InvalidText {
            what: format!("{:?} is not a header", shown(header, MAX_COMMAND_CHARS).to_string()),
            advice: Some("a header is written \"Name: value\"".to_owned()),
        })
    });
    let headers = headers.collect::<Result<Vec<_>, _>>()?;
    let request = request(call, headers).map_err(|error| invalid(error.to_string()))?;
    let client = call.client.as_deref().unwrap_or(client).to_owned();
    let call = TrialCall { client, request };
    if call.is_of_server() {
        let advice = "remove the call: only a server has built-in commands";
        return Err(InvalidText {
            what: "there is no server to run this command".to_owned(),
            advice: Some(advice.to_owned()),
        });
    }
    call.check(body_bytes).map_err(|error| invalid(format!("{error:#}")))?;
    Ok(call)
}

fn request(call: &ScriptCall, headers: Vec<(&str, &str)>) -> Result<Vec<u8>, RequestError> {
    let mut request = match &call.command {
        ScriptCommand::Line(line) => Request::from_line(line)?,
        ScriptCommand::Words(words) => Request::from_arguments(words)?,
    };
    for (name, value) in headers {
        request = match name.eq_ignore_ascii_case("Idempotency-Key") {
            true => request.idempotency_key(value.trim_matches(' '))?,
            false => request.header(name, value)?,
        };
    }
    if let Some(timeout) = call.timeout {
        request = request.timeout(timeout);
    }
    request.body(call.body.clone()).encode()
}

/// The expected and the actual result, if they differ.
fn mismatch(expected: &Expected, given: &Given) -> Option<(String, String)> {
    let has = |bytes: &[u8]| {
        expected.has.as_deref().is_none_or(|part| memchr::memmem::find(bytes, part.as_bytes()).is_some())
    };
    let is_as_expected = match (&expected.code, given) {
        (Some(code), Err(failed)) => {
            code == failed.code && (has(failed.told.as_bytes()) || has(&failed.sent))
        }
        (None, Ok(reply)) => expected.reply.as_ref().is_none_or(|expected| expected == reply) && has(reply),
        (Some(_), Ok(_)) | (None, Err(_)) => false,
    };
    if is_as_expected {
        return None;
    }
    let (wanted, came) = (wanted(expected, given), came(expected, given));
    // The texts differ only in whitespace at their end.
    match wanted.trim_end() == came.trim_end() {
        true => Some((format!("{wanted:?}"), format!("{came:?}"))),
        false => Some((wanted, came)),
    }
}

fn wanted(expected: &Expected, given: &Given) -> String {
    let part = expected.has.as_ref().map(|part| format!("with {part:?} in it"));
    match (&expected.code, &expected.reply, part) {
        (Some(code), _, None) => format!("a failure of the code {code}"),
        (Some(code), _, Some(part)) => format!("a failure of the code {code} {part}"),
        // Either may be the mismatch.
        (None, Some(reply), Some(part)) if given.as_ref() == Ok(reply) => format!("a reply {part}"),
        (None, Some(reply), _) => shown_reply(reply),
        (None, None, Some(part)) => format!("a reply {part}"),
        (None, None, None) => "a reply".to_owned(),
    }
}

fn came(expected: &Expected, given: &Given) -> String {
    let reply = match given {
        Ok(reply) => reply,
        Err(failed) => return shown_failure(failed),
    };
    match &expected.reply {
        Some(wanted) if wanted != reply && !(is_shown(wanted) && is_shown(reply)) => {
            let same = wanted.iter().zip(reply).take_while(|(wanted, came)| wanted == came).count();
            format!("{}, the first {same} bytes as expected", shown_reply(reply))
        }
        _ => shown_reply(reply),
    }
}

/// Returns true if the whole reply is shown.
fn is_shown(reply: &[u8]) -> bool {
    reply.len() <= MAX_SHOWN_BYTES && is_text(reply)
}

fn is_text(reply: &[u8]) -> bool {
    std::str::from_utf8(reply).is_ok_and(|text| !text.contains('\0'))
}

/// Formats a reply for people; truncates long text, and describes binary data by its length.
fn shown_reply(reply: &[u8]) -> String {
    match std::str::from_utf8(reply) {
        Ok("") => "an empty reply".to_owned(),
        Ok(text) if is_shown(reply) => text.to_owned(),
        Ok(text) if is_text(reply) => {
            let begin = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
            format!("{begin}… ({} bytes in all)", reply.len())
        }
        _ => format!("{} bytes that are not text", reply.len()),
    }
}

/// The parts that arrived, and the failure after them.
fn shown_failure(Failed { told, sent, .. }: &Failed) -> String {
    match sent.is_empty() {
        true => told.clone(),
        false => format!("{}\n{told}", shown_reply(sent).trim_end_matches('\n')),
    }
}

/// The lines printed for a completed call.
fn lines(
    command: &ScriptCommand,
    time: Duration,
    given: &Given,
    mismatch: Option<(String, String)>,
) -> String {
    let command = match command {
        ScriptCommand::Line(line) => line.clone(),
        ScriptCommand::Words(words) => words.join(" "),
    };
    let command = shown(&command, MAX_COMMAND_CHARS);
    match (mismatch, given) {
        (Some((expected, got)), _) => format!(
            "FAIL  {command} ({time:.1?})\n  expected: {}\n  got:      {}",
            indented(&expected, "            "),
            indented(&got, "            ")
        ),
        (None, Ok(reply)) if reply.is_empty() => format!("ok    {command} ({time:.1?})"),
        (None, Ok(reply)) => {
            format!("ok    {command} ({time:.1?})\n  {}", indented(shown_reply(reply), "  "))
        }
        (None, Err(failed)) => {
            format!("ok    {command} ({time:.1?})\n  {}", indented(shown_failure(failed), "  "))
        }
    }
}

/// Indents the lines of a text after the first.
fn indented(text: impl Display, by: &str) -> String {
    text.to_string().trim_end_matches(['\r', '\n']).replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected result, actual result, and the reported mismatch.
    type Case = (Expected, Given, Option<(&'static str, &'static str)>);

    fn expected(reply: Option<&[u8]>, code: Option<&str>, has: Option<&str>) -> Expected {
        Expected {
            reply: reply.map(<[u8]>::to_vec),
            code: code.map(str::to_owned),
            has: has.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_not_as_expected_is_told_by_both() {
        let failed_after = |sent: &[u8]| {
            Err(Failed { code: "denied", told: "no (denied, failed)".to_owned(), sent: sent.to_vec() })
        };
        let failed = || failed_after(b"");
        let replied = |bytes: &[u8]| Ok(bytes.to_vec());
        let (long, longer) = (vec![b'x'; MAX_SHOWN_BYTES], vec![b'x'; MAX_SHOWN_BYTES + 1]);
        let begin = |length| format!("{}… ({length} bytes in all)", "x".repeat(MAX_SHOWN_BYTES));
        let of_long = mismatch(&expected(Some(&long), None, None), &Ok(longer.clone())).unwrap();
        assert_eq!(of_long.1, format!("{}, the first {} bytes as expected", begin(longer.len()), long.len()));
        let cases: [Case; 15] = [
            (expected(None, None, None), replied(b""), None),
            (expected(None, None, None), failed(), Some(("a reply", "no (denied, failed)"))),
            (expected(Some(b"a"), None, None), replied(b"a"), None),
            (expected(Some(b"a"), None, None), replied(b"a\n"), Some(("\"a\"", "\"a\\n\""))),
            (expected(Some(b""), None, None), replied(b"b"), Some(("an empty reply", "b"))),
            (expected(Some(b"a"), None, None), failed(), Some(("a", "no (denied, failed)"))),
            (expected(None, Some("denied"), None), failed(), None),
            (
                expected(None, Some("busy"), None),
                failed(),
                Some(("a failure of the code busy", "no (denied, failed)")),
            ),
            (
                expected(None, Some("denied"), None),
                replied(b"x"),
                Some(("a failure of the code denied", "x")),
            ),
            (expected(None, Some("denied"), Some("no")), failed(), None),
            (
                expected(None, Some("denied"), Some("yes")),
                failed(),
                Some(("a failure of the code denied with \"yes\" in it", "no (denied, failed)")),
            ),
            (expected(None, None, Some("b")), replied(b"abc"), None),
            (
                expected(None, None, None),
                failed_after(b"1\n2\n"),
                Some(("a reply", "1\n2\nno (denied, failed)")),
            ),
            (expected(None, Some("denied"), Some("2\n")), failed_after(b"1\n2\n"), None),
            (
                expected(Some(b"\xff\x01"), None, None),
                replied(b"\xff\x02\x03"),
                Some((
                    "2 bytes that are not text",
                    "3 bytes that are not text, the first 1 bytes as expected",
                )),
            ),
        ];
        for (expected, given, told) in cases {
            let told = told.map(|(expected, got)| (expected.to_owned(), got.to_owned()));
            assert_eq!(mismatch(&expected, &given), told, "{expected:?} {given:?}");
        }
    }

    #[test]
    fn no_line_of_a_reply_looks_like_one_of_a_call() {
        let command = ScriptCommand::Line("a".to_owned());
        let told = lines(&command, Duration::ZERO, &Ok(b"1\nok    b\n".to_vec()), None);
        assert_eq!(told, "ok    a (0.0ns)\n  1\n  ok    b");
        let told = lines(&command, Duration::ZERO, &Ok(b"1,2\r\n3\r\n".to_vec()), None);
        assert_eq!(told, "ok    a (0.0ns)\n  1,2\r\n  3");
    }
}
