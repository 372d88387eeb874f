//! Advice on errors: the lines of the config that would allow what was refused, or what to do otherwise.

use crate::identity::Thumbprint;
use crate::server::connection::Session;
use crate::server::control::Words;
use crate::telemetry::metrics::Handshake;
use crate::telemetry::{FailedCommand, Kind, RefusedConnection};
use crate::wire::Code;

/// Advice for an operator.
pub(super) struct Advice {
    /// In words; may be empty.
    pub(super) words: String,
    /// Lines of TOML, if any would help.
    pub(super) lines: Option<String>,
}

impl From<&str> for Advice {
    fn from(words: &str) -> Self {
        Self { words: words.to_owned(), lines: None }
    }
}

/// Returns advice on a failed command.
pub(super) fn of_command(kind: &Kind, example: &FailedCommand, session: &Session) -> Advice {
    let is = |code: Code| kind.reason == code.as_str();
    if is(Code::Forbidden) || kind.reason == "would-be-forbidden" {
        return of_forbidden(kind, example, session);
    }
    let failed = Code::ALL.into_iter().find(|code| is(*code));
    Advice::from(failed.map_or("", of_code))
}

fn of_code(code: Code) -> &'static str {
    match code {
        Code::BadRequest => "the client breaks the protocol: docs/protocol.md, or use `lictor call`",
        Code::TooLarge => "send less, or raise limits.body",
        Code::UnknownCommand => "no plugin serves this name: @plugins lists the commands that there are",
        Code::Busy => {
            "@slowlog by queue shows which calls wait, lictor_queue_full_total and its like in @metrics for what"
        }
        Code::RateLimited => "raise `requests_per_second` in the client's limits if this is wanted",
        Code::Timeout => {
            "@slowlog by wall shows how long calls take; raise the plugin's `timeout`, or the client's"
        }
        Code::PluginFailed | Code::PluginTrapped => "the log has the reason under this request's name",
        Code::PluginLimit => {
            "the log names the limit under this request's name; raise it in the plugin's section"
        }
        Code::ReplyUnframeable => "send the command with a `Sequence` header, as `lictor call` does",
        Code::Internal => "a fault of the server: please report it with the lines of the log",
        Code::BadArguments | Code::NotFound | Code::Conflict | Code::Denied => "the command itself says no",
        Code::Unavailable => "the log has the reason under this request's name",
        Code::Forbidden | Code::Cancelled | Code::ShuttingDown => "",
    }
}

/// The line that would allow a forbidden command.
fn of_forbidden(kind: &Kind, example: &FailedCommand, session: &Session) -> Advice {
    let (client, command) = (&*kind.by, &*kind.of);
    if let Some(via) = &example.via {
        let words = format!(
            "to allow it, the plugin {via} needs `commands` in its grants and the client a pattern: `lictor check --as {client}` shows that"
        );
        return Advice { words, lines: None };
    }
    let may_show = session.service.log.has_arguments();
    let words = match example.words.as_deref().filter(|_| may_show) {
        Some(words) => Words::Only(words),
        None => Words::Command(command),
    };
    let line = session.server.control.as_ref().and_then(|control| control.line_to_allow(client, words));
    let Some(line) = line else { return Advice::from("the client is not in the config any more") };
    let what = match words {
        Words::Only(_) if line.is_exact => "it",
        Words::Only(_) => "it, and other arguments at the end",
        Words::Command(_) => "it with any arguments",
    };
    let words = format!("to allow {what}, in [{}], {}:{}:", line.section, line.file, line.line);
    Advice { words, lines: Some(line.text) }
}

/// Returns advice on a refused connection.
pub(super) fn of_connection(kind: &Kind, example: &RefusedConnection, session: &Session) -> Advice {
    let roster = &session.service.roster;
    if kind.reason == Handshake::Unknown.as_str()
        && let Ok(thumbprint) = kind.of.parse::<Thumbprint>()
    {
        if let Some(client) = roster.pinned_for(thumbprint, thumbprint) {
            return Advice { words: format!("it is pinned for the client {client} by now"), lines: None };
        }
        let lines = format!("[clients.NAME]\nthumbprints = [\"{thumbprint}\"]\ncommands = [\"@ping\"]");
        let words =
            "to admit it, once its owner has confirmed the thumbprint, and with the commands that it needs:";
        return Advice { words: words.to_owned(), lines: Some(lines) };
    }
    match kind.reason {
        reason if reason == Handshake::NoCertificate.as_str() => Advice::from(
            "have the client send its certificate: `lictor call --cert`, `openssl s_client -cert`",
        ),
        reason if reason == Handshake::Unusable.as_str() => Advice::from(
            "renew the certificate with `lictor cert renew`, or at its authority, and pin the new one; if its client \
             expired, set a later `expires`",
        ),
        _ => Advice::from(example.advice),
    }
}
