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
        operator::time_left(identity.validity().not_after, SystemTime::now()),
    )
}

/// Lists the commands that the client may run: usage and summary, a line each, sorted by name. A command's
/// name is the first word of its line.
fn commands(service: &Service, identity: &PeerIdentity) -> String {
    let mut lines: Vec<(String, &str)> = service
        .routes
        .plugin_commands()
        .filter(|(command, _)| service.policy.allows(identity, command))
        .map(|(command, plugin)| {
            let info = plugin.commands().iter().find(|info| info.name == command);
            let usage = info.map(|info| info.usage.as_str()).filter(|usage| begins_with_word(usage, command));
            (usage.unwrap_or(command).to_owned(), info.map_or("", |info| &info.summary))
        })
        .collect();
    lines.sort();
    let built_ins = BUILT_INS.iter().filter(|(_, name, ..)| service.policy.allows(identity, name));
    lines.extend(built_ins.map(|(_, _, usage, summary)| ((*usage).to_owned(), *summary)));
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
