//! `@errors`: refused connections and failed commands, each kind with its number and how to allow it.

mod advice;

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Value, json};

use self::advice::Advice;
use crate::identity::Utc;
use crate::server::connection::Session;
use crate::server::control::Report;
use crate::telemetry::{ERRORS, FailedCommand, Kind, LeftOut, RefusedConnection, Tally};
use crate::text;
use crate::wire::{Code, CommandError, Request};

/// Kinds shown, if the command does not say how many.
const SHOWN: usize = 20;

/// A kind of error, in both forms.
struct Shown {
    last: SystemTime,
    text: String,
    json: Value,
}

/// Lists the kinds of errors, those that came last first.
pub(super) fn errors(request: &Request, session: &Session) -> Result<Report, CommandError> {
    let number = number(request)?;
    let (commands, of_commands) = ERRORS.commands();
    let (connections, of_connections) = ERRORS.connections();
    let mut all: Vec<_> = commands.iter().map(|(kind, tally)| of_command(kind, tally, session)).collect();
    all.extend(connections.iter().map(|(kind, tally)| of_connection(kind, tally, session)));
    all.sort_by_key(|shown| Reverse(shown.last));
    let more = all.len().saturating_sub(number);
    all.truncate(number);
    let mut lines: Vec<_> = all.iter().map(|shown| shown.text.clone()).collect();
    if lines.is_empty() {
        lines.push("no errors since the start".to_owned());
    }
    if more > 0 {
        lines.push(format!("{more} more kinds: @errors {}", number + more));
    }
    for (what, left_out) in [("commands", of_commands), ("connections", of_connections)] {
        if left_out != LeftOut::default() {
            let LeftOut { kinds, errors } = left_out;
            lines.push(format!("left out, as there were too many kinds: {kinds} of {what}, {errors} errors"));
        }
    }
    let left_out = |LeftOut { kinds, errors }| json!({ "kinds": kinds, "errors": errors });
    let json = json!({
        "errors": all.into_iter().map(|shown| shown.json).collect::<Vec<_>>(),
        "more": more,
        "left_out": { "commands": left_out(of_commands), "connections": left_out(of_connections) },
    });
    Ok(Report { text: text::lines(&lines.join("\n")), json })
}

fn number(request: &Request) -> Result<usize, CommandError> {
    let mut arguments = request.arguments().skip(1);
    let number = match (arguments.next(), arguments.next()) {
        (None, _) => Some(SHOWN),
        (Some(number), None) => number.parse().ok().filter(|number| *number > 0),
        _ => None,
    };
    number.ok_or_else(|| CommandError::failed(Code::BadArguments, "Usage: @errors [N], N from 1"))
}

fn of_command(kind: &Kind, tally: &Tally<FailedCommand>, session: &Session) -> Shown {
    let Kind { by, reason, .. } = kind;
    let FailedCommand { id, command, plugin, via, words: _, detail } = &tally.example;
    let advice = advice::of_command(kind, &tally.example, session);
    let mut text = format!("{reason}  {by}");
    for (name, value) in [("", command.as_str()), ("plugin ", plugin), ("via ", via.as_deref().unwrap_or(""))]
    {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "  {name}{value}");
        }
    }
    let _ = write!(text, "  {}  last {id}", times(tally));
    if let Some(detail) = detail {
        let _ = write!(text, "\n  close: {detail}");
    }
    text += &advice.text();
    let json = json!({
        "kind": "command",
        "reason": reason,
        "client": &**by,
        "command": command,
        "plugin": (!plugin.is_empty()).then_some(&**plugin),
        "via": via,
        "first": Utc(tally.first).to_string(),
        "last": Utc(tally.last).to_string(),
        "count": tally.count,
        "example": id,
        "detail": detail,
        "advice": advice.words,
        "to_allow": advice.lines,
    });
    Shown { last: tally.last, text, json }
}

fn of_connection(kind: &Kind, tally: &Tally<RefusedConnection>, session: &Session) -> Shown {
    let Kind { by, reason, of } = kind;
    let RefusedConnection { id, peer, words, .. } = &tally.example;
    let id = id.map(|id| id.to_string());
    let advice = advice::of_connection(kind, &tally.example, session);
    let mut text = format!("{reason}  connection  {}  last ", times(tally));
    if let Some(id) = &id {
        let _ = write!(text, "{id} ");
    }
    let _ = write!(text, "from {peer}\n  {words}");
    text += &advice.text();
    let json = json!({
        "kind": "connection",
        "reason": reason,
        "network": &**by,
        "of": (!of.is_empty()).then_some(&**of),
        "first": Utc(tally.first).to_string(),
        "last": Utc(tally.last).to_string(),
        "count": tally.count,
        "example": id,
        "peer": peer.to_string(),
        "detail": words,
        "advice": advice.words,
        "to_allow": advice.lines,
    });
    Shown { last: tally.last, text, json }
}

fn times<E>(tally: &Tally<E>) -> String {
    match tally.count {
        1 => format!("once, {}", Utc(tally.last)),
        count => format!("{count} times, {} to {}", Utc(tally.first), Utc(tally.last)),
    }
}

impl Advice {
    /// Shows it below an error.
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.words.is_empty() {
            let _ = write!(text, "\n  {}", self.words);
        }
        for line in self.lines.iter().flat_map(|lines| lines.lines()) {
            let _ = write!(text, "\n    {line}");
        }
        text
    }
}
