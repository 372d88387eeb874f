//! The commands that the server answers by itself. `route::BUILT_INS` lists them; those for operators are in
//! `operator`, those about connections in `clients`.

mod argument;
mod clients;
mod ended;
mod errors;
mod filter;
mod form;
mod operator;
mod request_filter;
mod slowlog;
mod watch;

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use serde_json::json;

use self::argument::only_argument;
use self::form::Form;
use super::connection::{InFlight, Session};
use super::control::Report;
use super::service::Service;
use crate::authz::Policy;
use crate::identity::{PeerIdentity, Utc};
use crate::plugin::{Parts, ReplyFuture};
use crate::route::{BUILT_INS, BuiltIn};
use crate::text::shown;
use crate::wire::{Code, CommandError, Request, Sequence};

/// A built-in's result.
pub(super) enum Done {
    /// Ready.
    Now(Result<Cow<'static, [u8]>, CommandError>),
    /// A future that will give the reply.
    Later {
        /// The parts of the reply, if it is a stream.
        parts: Option<Parts>,
        /// The reply, or the end of the stream.
        reply: ReplyFuture<'static>,
    },
}

/// Runs a built-in; `in_flight` are the requests of the connection that asks.
pub(super) fn run(built_in: BuiltIn, request: &Request, session: &Session, in_flight: &mut InFlight) -> Done {
    let form = match argument::check(built_in, request).and_then(|()| Form::of(request)) {
        Ok(form) => form,
        Err(error) => return Done::Now(Err(error)),
    };
    let (service, identity) = (&*session.service, &session.identity);
    let report = match built_in {
        BuiltIn::Ping if form == Form::Text => return Done::Now(Ok(Cow::Borrowed(b"pong"))),
        BuiltIn::Ping => Ok(Report { text: String::new(), json: json!({ "pong": true }) }),
        BuiltIn::Whoami => Ok(whoami(identity)),
        BuiltIn::Commands => Ok(commands(service, identity)),
        BuiltIn::Cancel => cancel(request, in_flight),
        BuiltIn::Status => operator::status(request, session),
        BuiltIn::Metrics => Ok(operator::metrics(session)),
        BuiltIn::Clients => clients::clients(request, session),
        BuiltIn::Slowlog => slowlog::slowlog(request, session),
        BuiltIn::Errors => errors::errors(request, session),
        BuiltIn::Plugins => Ok(operator::plugins(service)),
        BuiltIn::Kick => clients::kick(request, session),
        BuiltIn::Drain => operator::drain(session),
        BuiltIn::Watch => {
            return match watch::watch(request, session, form) {
                Ok((parts, reply)) => Done::Later { parts: Some(parts), reply },
                Err(error) => Done::Now(Err(error)),
            };
        }
        BuiltIn::Reload => {
            return Done::Later { parts: None, reply: operator::reload(session, form) };
        }
    };
    Done::Now(report.map(|report| form.write(report)))
}

fn whoami(identity: &PeerIdentity) -> Report {
    let (name, certificate) = (identity.name(), identity.certificate_name());
    let (sha256, known_by) = (identity.thumbprint(), identity.known_by());
    let valid = clients::time_left(identity.ends(), SystemTime::now());
    Report {
        text: format!(
            "{name}\ncertificate {certificate}\nsha256 {sha256}\nknown by {known_by}\nvalid {valid}"
        ),
        json: json!({
            "client": name,
            "certificate": certificate.to_string(),
            "sha256": sha256.to_string(),
            "known_by": known_by.to_string(),
            "ends": Utc(identity.ends()).to_string(),
        }),
    }
}

/// Lists the commands that the client may run: usage or pattern, and summary, a line each, sorted by name. A
/// command's name is the first word of its line.
fn commands(service: &Service, identity: &PeerIdentity) -> Report {
    let mut lines: Vec<(String, &str)> = Vec::new();
    for (command, plugin) in service.routes.plugin_commands() {
        let info = plugin.commands().iter().find(|info| info.name == command);
        let usage = info.map(|info| info.usage.as_str()).filter(|usage| begins_with_word(usage, command));
        let usages = usages(&service.policy, identity, (command, usage.unwrap_or(command)));
        lines.extend(usages.into_iter().map(|usage| (usage, info.map_or("", |info| &*info.summary))));
    }
    lines.sort();
    for (_, command, usage, summary) in BUILT_INS {
        let usages = usages(&service.policy, identity, (command, usage));
        lines.extend(usages.into_iter().map(|usage| (usage, *summary)));
    }
    let width = lines.iter().map(|(usage, _)| usage.chars().count()).max().unwrap_or(0).min(40);
    let (mut text, mut objects) = (String::new(), Vec::new());
    for (usage, summary) in &lines {
        let separator = if text.is_empty() { "" } else { "\n" };
        let line = format!("{usage:width$}  {summary}");
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}", line.trim_end());
        let command = usage.split(' ').next();
        objects.push(json!({ "command": command, "usage": usage, "summary": summary }));
    }
    Report { text, json: json!({ "commands": objects }) }
}

/// Returns the ways in which the client may run `command`: its `usage`; if only some arguments are allowed,
/// the patterns of these; or none.
fn usages(policy: &Policy, identity: &PeerIdentity, (command, usage): (&str, &str)) -> Vec<String> {
    let patterns = policy.of_command(identity, command);
    if patterns.iter().any(|pattern| pattern.arguments().is_none()) {
        return vec![usage.to_owned()];
    }
    // Two spaces end the usage; within a pattern they can only stand in quotes.
    let words = patterns.iter().filter_map(|pattern| pattern.arguments());
    let mut usages: Vec<_> =
        words.map(|words| format!("{command} {}", words.replace("  ", r" \x20"))).collect();
    usages.sort();
    usages.dedup();
    usages
}

fn begins_with_word(usage: &str, command: &str) -> bool {
    usage.strip_prefix(command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn cancel(request: &Request, in_flight: &mut InFlight) -> Result<Report, CommandError> {
    let argument = only_argument(request, "@cancel SEQUENCE")?;
    if Sequence::parse(argument).is_some_and(|sequence| in_flight.cancel(&sequence)) {
        let text = format!("cancelling {argument}");
        return Ok(Report { text, json: json!({ "cancelling": argument }) });
    }
    let message = format!("No request with Sequence {} is running on this connection", shown(argument, 64));
    Err(CommandError::failed(Code::NotFound, message))
}
