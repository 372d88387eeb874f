//! Commands about the whole server, for clients to which the config grants them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::argument::only_argument;
use crate::identity::{Thumbprint, Utc};
use crate::plugin::ReplyFuture;
use crate::server::close_reason::CloseReason;
use crate::server::connection::Session;
use crate::server::control::Form;
use crate::server::exposition::{exposition, tasks};
use crate::server::registry::{Disconnect, Record, Seen};
use crate::server::service::Service;
use crate::telemetry::{ConnectionId, metrics};
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Shows the server's status: its version, age, connections, tasks and plugins, the last load of its config,
/// and how often each bound was reached; or, by its argument, metrics or unused permissions.
pub(super) fn status(request: &Request, session: &Session) -> Result<String, CommandError> {
    let mut arguments = request.arguments().skip(1);
    match (arguments.next(), arguments.next()) {
        (None, None) => Ok(overview(session)),
        (Some("metrics"), None) => Ok(exposition(&session.server)),
        (Some("unused"), period) if arguments.next().is_none() => {
            unused(period.unwrap_or(UNUSED), request, session)
        }
        _ => Err(CommandError::failed(Code::BadArguments, "Usage: @status [metrics|unused [TIME]]")),
    }
}

/// Time without use after which `@status unused` lists an entry, if the command names none.
const UNUSED: &str = "30d";

/// Lists what the config grants and nobody used.
fn unused(period: &str, request: &Request, session: &Session) -> Result<String, CommandError> {
    let control = session.server.control.as_ref().ok_or_else(uncontrolled)?;
    let refuse = |words: String| CommandError::failed(Code::BadArguments, words);
    let form = match request.header("Format") {
        None => Form::Text,
        Some("json") => Form::Json,
        Some(_) => return Err(refuse("The only Format is json".to_owned())),
    };
    control.unused(period, form).map_err(refuse)
}

/// Shows the memory that the process holds, of the memory that it may hold.
fn memory() -> String {
    let [used, mark] = [watermark::used_bytes(), watermark::mark_bytes()].map(|bytes| bytes >> 20);
    let short = if watermark::is_passed() { ", short: calls are refused" } else { "" };
    format!("{used} MiB of {mark} MiB{short}")
}

fn overview(session: &Session) -> String {
    let connections = session.server.registry.all();
    let requests: u64 = connections.iter().map(|connection| connection.requests()).sum();
    let control = session.server.control.as_ref().map(|control| control.status()).unwrap_or_default();
    let separator = if control.is_empty() { "" } else { "\n" };
    let mut text = format!(
        "version {}\nuptime {}\nconnections {}\nrequests {requests} on these connections\ntasks {}\nmemory {}\nplugins {}\nclients {}{separator}{control}",
        env!("CARGO_PKG_VERSION"),
        seconds(session.server.started.elapsed()),
        connections.len(),
        tasks(&session.server),
        memory(),
        plugin_commands(&session.service).len(),
        session.service.roster.clients().len(),
    );
    for (client, until) in session.service.policy.reporting(SystemTime::now()) {
        let _ = write!(text, "\nwould-be-forbidden commands of {client} are run until {}", Utc(until));
    }
    for (name, count) in metrics::counted() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name} {count}");
    }
    text
}

/// Lists the clients of the config: their connections, their last use, and the expiry of the certificates
/// that they came with.
pub(super) fn clients(session: &Session) -> String {
    let connections = session.server.registry.all();
    let now = SystemTime::now();
    let mut text = String::new();
    for client in session.service.roster.clients() {
        let of_client: Vec<_> =
            connections.iter().filter(|connection| connection.identity().name() == client).collect();
        let record = session.server.registry.record(client).unwrap_or_default();
        let on_line = of_client.iter().filter_map(|connection| now.checked_sub(connection.unused())).max();
        let last_use = on_line.max(record.last_use).map_or_else(|| "never".to_owned(), utc);
        // Writing to a string cannot fail.
        let expires = session.service.roster.expiry_of(client);
        let _ = writeln!(
            text,
            "{client}  connections {}  last use {last_use}{}{}",
            of_client.len(),
            expires.map_or_else(String::new, |expires| format!("  expires {}", Utc(expires))),
            expiries(record, session.service.roster.ends_of(client), now)
        );
        for connection in of_client {
            let (id, peer, requests) = (connection.id, connection.peer, connection.requests());
            let age = seconds(connection.since.elapsed());
            let _ = writeln!(
                text,
                "  {id}  {peer}  {age}  requests {requests}  unused {}",
                seconds(connection.unused())
            );
        }
    }
    text.trim_end().to_owned()
}

/// Lists the expiry of each certificate that the client came with, or whose expiry the config knows.
fn expiries(
    record: Record,
    pinned: impl Iterator<Item = (Thumbprint, SystemTime)>,
    now: SystemTime,
) -> String {
    let pinned = pinned.map(|(thumbprint, ends)| (thumbprint, Seen { ends, uri: None }));
    let sorted: BTreeMap<Thumbprint, Seen> = pinned.chain(record.certificates).collect();
    let words = sorted.into_iter().map(|(thumbprint, Seen { ends, uri })| {
        let by = uri.map_or_else(String::new, |uri| format!(" by {uri}"));
        format!("  certificate {:.8}…{by} {}", thumbprint.to_string(), time_left(ends, now))
    });
    words.collect()
}

/// Says for how many more days something that ends at `ends` is good, or when it ended.
pub(super) fn time_left(ends: SystemTime, now: SystemTime) -> String {
    match ends.duration_since(now) {
        Ok(left) => format!("for {} days", left.as_secs() / DAY.as_secs()),
        Err(_past) => format!("ended {}", utc(ends)),
    }
}

/// Lists the plugins with the commands routed to them and the hashes of their components.
pub(super) fn plugins(service: &Service) -> String {
    let lines = plugin_commands(service).into_iter().map(|(name, (sha256, mut commands))| {
        commands.sort_unstable();
        format!("{name}  sha256 {sha256}  commands {}", commands.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn plugin_commands(service: &Service) -> BTreeMap<&str, (String, Vec<&str>)> {
    let mut plugins = BTreeMap::<_, (String, Vec<&str>)>::new();
    for (command, plugin) in service.routes.plugin_commands() {
        let hash = || (base16ct::lower::encode_string(plugin.sha256()), Vec::new());
        plugins.entry(plugin.name()).or_insert_with(hash).1.push(command);
    }
    plugins
}

/// Ends a connection; its calls are stopped, and its client is told.
pub(super) fn kick(request: &Request, session: &Session) -> Result<String, CommandError> {
    let argument = only_argument(request, "@kick CONNECTION")?;
    let number = argument.strip_prefix('c').unwrap_or(argument).parse().ok();
    let connection = number.and_then(|number| session.server.registry.find(ConnectionId(number)));
    let Some(connection) = connection else {
        let message = format!("There is no connection {}; @clients shows them", shown(argument, 64));
        return Err(CommandError::failed(Code::NotFound, message));
    };
    let words = "The connection was ended by an operator".to_owned();
    connection.disconnect(Disconnect { reason: CloseReason::Kicked, words, detail: None });
    Ok(format!("ending {} of {}", connection.id, connection.identity().name()))
}

/// Stops the server as SIGTERM does.
pub(super) fn drain(session: &Session) -> Result<String, CommandError> {
    let control = session.server.control.as_ref().ok_or_else(uncontrolled)?;
    control.drain();
    Ok("stopping".to_owned())
}

/// Reloads the config.
pub(super) fn reload(session: &Session) -> ReplyFuture<'static> {
    let reloading = session.server.control.as_ref().map(|control| control.reload());
    Box::pin(async move {
        match reloading.ok_or_else(uncontrolled)?.await {
            Ok(words) => Ok(words.into_bytes()),
            Err(words) => {
                let lines: Vec<_> =
                    words.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
                let first = lines.join(" ");
                let words = format!("{first} (@status shows all of it)");
                Err(CommandError::failed(Code::Conflict, words))
            }
        }
    })
}

fn uncontrolled() -> CommandError {
    CommandError::not_run(Code::Unavailable, "This server has no config file")
}

fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "at no date".to_owned(), |time| time.to_string())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
