//! `lictor status --nagios`: a server's state as monitoring plugins tell it: one line, and an exit code.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::exit::Exit;
use super::session::{Interrupt, Session, Undone};
use super::target::{TargetOptions, Wanted};
use super::{Failure, output};
use crate::client::Request;
use crate::text::shown;

/// Maximum characters of a reason.
const MAX_REASON_CHARS: usize = 200;
/// Maximum certificates named in one line.
const MAX_NAMED: usize = 5;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A state, in the order of its weight. Its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

/// Times before the end of a certificate from which on it is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    pub(super) warning: Duration,
    pub(super) critical: Duration,
}

/// The line and its state.
#[derive(Debug)]
struct Verdict {
    state: State,
    reasons: Vec<String>,
    /// Performance data.
    data: String,
}

/// If this process is to tell a state but its command line is faulty, tells that, and returns the code for an
/// unknown state: whoever started it reads neither standard error nor another code as that.
pub(super) fn tell_usage(error: &clap::Error) -> Option<Exit> {
    if !error.use_stderr() || !std::env::args_os().any(|argument| argument == "--nagios") {
        return None;
    }
    let words = error.to_string();
    let reason = words.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let verdict = Verdict { state: State::Unknown, reasons: vec![reason], data: String::new() };
    // With no standard output there is nobody to tell.
    let _ = output::line(&verdict.to_string());
    Some(Exit::Unreachable)
}

/// Asks a server for its status, prints its state, and ends with its code.
pub(super) fn run(target: TargetOptions, notice: Notice) -> Result<(), Failure> {
    let verdict = match ask(target) {
        Ok(status) => verdict(&status, notice),
        Err((state, reason)) => Verdict { state, reasons: vec![reason], data: String::new() },
    };
    output::line(&verdict.to_string())?;
    match verdict.state {
        State::Ok => Ok(()),
        State::Warning => Err(Failure::told(Exit::Failed)),
        State::Critical => Err(Failure::told(Exit::Usage)),
        State::Unknown => Err(Failure::told(Exit::Unreachable)),
    }
}

/// Returns the status, or the state of a server that does not tell it.
fn ask(target: TargetOptions) -> Result<Value, (State, String)> {
    let told = |failure: Failure| {
        let state = if failure.exit() == Exit::Unreachable { State::Critical } else { State::Unknown };
        // Faults of the config are many lines, and on standard error by now.
        (state, failure.report().unwrap_or("the config is faulty: `lictor check` tells where").to_owned())
    };
    let request = Request::from_arguments(&["@status"]).and_then(|request| request.header("Format", "json"));
    let request = request.map_err(|error| (State::Unknown, error.to_string()))?;
    let target = target.resolve(Wanted::BuiltIn("@status")).map_err(told)?;
    let mut session = Session::open(target, Interrupt::Ends, None).map_err(told)?;
    let asked = session.try_ask(request);
    session.close();
    let reply = asked.map_err(|undone| {
        let is_gone = matches!(undone, Undone::Lost(_) | Undone::TimedOut(_));
        let state = if is_gone { State::Critical } else { State::Unknown };
        let failure = undone.into_failure("@status");
        (state, failure.report().unwrap_or("no reason is known").to_owned())
    })?;
    serde_json::from_slice(&reply).map_err(|_| (State::Unknown, "the server's status is no JSON".to_owned()))
}

/// Judges a server by its status.
fn verdict(status: &Value, notice: Notice) -> Verdict {
    let mut found = Vec::new();
    if !status["version"].is_string() {
        found.push((State::Unknown, "the server's status has no version".to_owned()));
    }
    if status["memory"]["is_short"] == true {
        found.push((State::Critical, "memory is short: calls are refused".to_owned()));
    }
    if let Some(fault) = status["config"]["fault"].as_str() {
        let first = fault.lines().next().unwrap_or_default();
        found.push((State::Warning, format!("the last reload failed: {first}")));
    }
    let ends = status["certificates"].as_array().map(Vec::as_slice).unwrap_or_default();
    // What ends first is told first, and not cut off.
    let mut ends: Vec<_> = ends.iter().collect();
    ends.sort_by_key(|end| number(&end["seconds_left"]));
    let mut ending: Vec<_> = ends.into_iter().filter_map(|end| of_certificate(end, notice)).collect();
    ending.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let more = ending.len().saturating_sub(MAX_NAMED);
    let worst = ending.first().map(|(state, _)| *state);
    ending.truncate(MAX_NAMED);
    found.extend(ending);
    if let Some(worst) = worst.filter(|_| more > 0) {
        found.push((worst, format!("{more} more certificates")));
    }
    let state = found.iter().map(|(state, _)| *state).max().unwrap_or(State::Ok);
    found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let mut reasons: Vec<_> = found.into_iter().map(|(_, reason)| reason).collect();
    if reasons.is_empty() {
        let text = |key: &str| status[key].as_str().unwrap_or("?").to_owned();
        let connections = counted(number(&status["connections"]).unsigned_abs(), "connection");
        reasons.push(format!("version {}, {connections}", text("version")));
    }
    Verdict { state, reasons, data: data(status, notice) }
}

/// Tells of a certificate that ends soon. A client's end is the client's trouble: it is a warning.
fn of_certificate(end: &Value, notice: Notice) -> Option<(State, String)> {
    let (kind, name) = (end["kind"].as_str()?, end["name"].as_str()?);
    let left = end["seconds_left"].as_i64()?;
    let within = |time: Duration| left < i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let state = match kind {
        "client" if within(notice.warning.max(notice.critical)) => State::Warning,
        "client" => return None,
        _ if within(notice.critical) => State::Critical,
        _ if within(notice.warning) => State::Warning,
        _ => return None,
    };
    let name = if name.is_empty() { "without a name" } else { name };
    let days = left.unsigned_abs() / DAY.as_secs();
    let days = counted(days, "day");
    let when = if left < 0 { format!("ended {days} ago") } else { format!("ends in {days}") };
    Some((state, format!("the certificate of {kind} {name} {when}")))
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// Performance data: values with their units, thresholds and bounds.
fn data(status: &Value, notice: Notice) -> String {
    let mut data = format!("uptime={}s", number(&status["uptime_seconds"]));
    for key in ["connections", "tasks", "plugins", "clients"] {
        // Writing to a string cannot fail.
        let _ = write!(data, " {key}={};;;0", number(&status[key]));
    }
    let memory = &status["memory"];
    let (used, mark) = (number(&memory["used_bytes"]), number(&memory["mark_bytes"]));
    let _ = write!(data, " memory={used}B;;{mark};0");
    let ends = status["certificates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = ends.iter().filter(|end| end["kind"] != "client");
    if let Some(first) = own.filter_map(|end| end["seconds_left"].as_i64()).min() {
        let (warning, critical) = (notice.warning.as_secs(), notice.critical.as_secs());
        let _ = write!(data, " certificate={first}s;{warning}:;{critical}:");
    }
    data
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, reasons, data } = self;
        let state = match state {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        };
        // A bar begins the performance data.
        let reasons: Vec<_> = reasons
            .iter()
            .map(|reason| shown(&reason.replace('\n', " "), MAX_REASON_CHARS).to_string().replace('|', "/"))
            .collect();
        write!(f, "LICTOR {state} - {}", reasons.join("; "))?;
        if data.is_empty() { Ok(()) } else { write!(f, " | {data}") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTICE: Notice =
        Notice { warning: Duration::from_secs(14 * 86_400), critical: Duration::from_secs(3 * 86_400) };

    fn judged(change: impl FnOnce(&mut Value)) -> String {
        let mut status = json!({
            "version": "1.2.3", "uptime_seconds": 7, "connections": 2, "tasks": 3, "plugins": 4, "clients": 5,
            "memory": { "used_bytes": 10, "mark_bytes": 100, "is_short": false },
            "config": { "fault": null }, "certificates": [],
        });
        change(&mut status);
        verdict(&status, NOTICE).to_string()
    }

    fn ends(kind: &str, name: &str, days: i64) -> Value {
        json!({ "kind": kind, "name": name, "seconds_left": days * 86_400 + 1 })
    }

    #[test]
    fn the_worst_reason_gives_the_state_and_is_told_first() {
        let data = "uptime=7s connections=2;;;0 tasks=3;;;0 plugins=4;;;0 clients=5;;;0 memory=10B;;100;0";
        assert_eq!(judged(|_| ()), format!("LICTOR OK - version 1.2.3, 2 connections | {data}"));
        let faulty = |status: &mut Value| status["config"]["fault"] = "a | b\n\u{1b}[2J".into();
        assert_eq!(judged(faulty), format!("LICTOR WARNING - the last reload failed: a / b | {data}"));
        let short = judged(|status| {
            faulty(status);
            status["memory"]["is_short"] = true.into();
        });
        assert!(
            short.starts_with("LICTOR CRITICAL - memory is short: calls are refused; the last reload"),
            "{short}"
        );
    }

    #[test]
    fn certificates_are_told_by_the_time_that_they_have_left() {
        for (kind, days, told) in [
            ("server", 20, "LICTOR OK - version"),
            ("server", 13, "LICTOR WARNING - the certificate of server x ends in 13 days |"),
            ("authority", 2, "LICTOR CRITICAL - the certificate of authority x ends in 2 days |"),
            ("server", -2, "LICTOR CRITICAL - the certificate of server x ended 1 day ago |"),
            ("client", 2, "LICTOR WARNING - the certificate of client x ends in 2 days |"),
            ("client", -9, "LICTOR WARNING - the certificate of client x ended 8 days ago |"),
        ] {
            let line = judged(|status| status["certificates"] = json!([ends(kind, "x", days)]));
            assert!(line.starts_with(told), "{kind} {days}: {line}");
            assert_eq!(line.contains(" certificate="), kind != "client", "{line}");
        }
        let many: Vec<_> = (0..9).map(|number| ends("client", &format!("c{number}"), 1)).collect();
        let line = judged(|status| status["certificates"] = many.into());
        assert!(line.contains("client c4 ends in 1 day; 4 more certificates |"), "{line}");
    }

    #[test]
    fn a_line_without_a_status_has_no_data() {
        let verdict =
            Verdict { state: State::Critical, reasons: vec!["a\nb|c".to_owned()], data: String::new() };
        assert_eq!(verdict.to_string(), "LICTOR CRITICAL - a b/c");
        assert!(State::Unknown > State::Critical && State::Critical > State::Warning);
    }
}
