//! The commands that the server answers by itself. `route::BUILT_INS` lists them; those for operators are in
//! `operator`.

mod argument;
mod operator;

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use self::argument::only_argument;
use super::connection::{InFlight, Session};
use super::service::Service;
use crate::authz::Policy;
use crate::identity::PeerIdentity;
use crate::plugin::ReplyFuture;
use crate::route::{BUILT_INS, BuiltIn};
use crate::text::shown;
use crate::wire::{Code, CommandError, Request, Sequence};

/// A built-in's result.
pub(super) enum Done {
    /// Ready.
    Now(Result<Cow<'static, [u8]>, CommandError>),
    /// A future that will give the reply.
    Later(ReplyFuture<'static>),
}

/// Runs a built-in; `in_flight` are the requests of the connection that asks.
pub(super) fn run(built_in: BuiltIn, request: &Request, session: &Session, in_flight: &mut InFlight) -> Done {
    if let Err(error) = argument::check(built_in, request) {
        return Done::Now(Err(error));
    }
    let (service, identity) = (&*session.service, &session.identity);
    Done::Now(match built_in {
        BuiltIn::Ping => Ok(Cow::Borrowed(b"pong")),
        BuiltIn::Whoami => Ok(owned(whoami(identity))),
        BuiltIn::Commands => Ok(owned(commands(service, identity))),
        BuiltIn::Cancel => cancel(request, in_flight),
        BuiltIn::Status => operator::status(request, session).map(owned),
        BuiltIn::Clients => Ok(owned(operator::clients(session))),
        BuiltIn::Plugins => Ok(owned(operator::plugins(service))),
        BuiltIn::Kick => operator::kick(request, session).map(owned),
        BuiltIn::Drain => operator::drain(session).map(owned),
        BuiltIn::Reload => return Done::Later(operator::reload(session)),
    })
}

fn owned(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn whoami(identity: &PeerIdentity) -> String {
    format!(
        "{}\ncertificate {}\nsha256 {}\nknown by {}\nvalid {}",
        identity.name(),
        identity.certificate_name(),
        identity.thumbprint(),
        identity.known_by(),
        operator::time_left(identity.ends(), SystemTime::now()),
    )
}

/// Lists the commands that the client may run: usage or pattern, and summary, a line each, sorted by name. A
/// command's name is the first word of its line.
fn commands(service: &Service, identity: &PeerIdentity) -> String {
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
    let mut text = String::new();
    for (usage, summary) in &lines {
        let separator = if text.is_empty() { "" } else { "\n" };
        let line = format!("{usage:width$}  {summary}");
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}", line.trim_end());
    }
    text
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

fn cancel(request: &Request, in_flight: &mut InFlight) -> Result<Cow<'static, [u8]>, CommandError> {
    let argument = only_argument(request, "@cancel SEQUENCE")?;
    if Sequence::parse(argument).is_some_and(|sequence| in_flight.cancel(&sequence)) {
        return Ok(owned(format!("cancelling {argument}")));
    }
    let message = format!("No request with Sequence {} is running on this connection", shown(argument, 64));
    Err(CommandError::failed(Code::NotFound, message))
}
