//! `@clients` and `@kick`: the clients of the config and their connections.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::filter::{CONDITIONS, Filter, connection_id};
use crate::identity::{Thumbprint, Utc};
use crate::server::close_reason::CloseReason;
use crate::server::connection::Session;
use crate::server::control::Report;
use crate::server::registry::{ConnectionHandle, Disconnect, Record, Seen};
use crate::text::shown;
use crate::wire::{Code, CommandError, Request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lists the clients of the config: their connections, their last use, and the expiry of the certificates
/// that they came with; or those that meet the conditions in the arguments.
pub(super) fn clients(request: &Request, session: &Session) -> Result<Report, CommandError> {
    let filter = Filter::of(request)?;
    let roster = &session.service.roster;
    let mut connections = HashMap::<Arc<str>, Vec<Arc<ConnectionHandle>>>::new();
    for connection in session.server.registry.all() {
        connections.entry(connection.identity().name_shared()).or_default().push(connection);
    }
    let mut pinned = HashMap::<&str, Vec<(Thumbprint, SystemTime)>>::new();
    for (name, thumbprint, ends) in roster.ends() {
        pinned.entry(name).or_default().push((thumbprint, ends));
    }
    let now = SystemTime::now();
    let (mut text, mut objects) = (String::new(), Vec::new());
    for name in roster.clients() {
        let all = connections.remove(name).unwrap_or_default();
        let chosen: Vec<_> = all.iter().filter(|connection| filter.has(connection)).collect();
        if !filter.has_client(name) || filter.chooses_connections() && chosen.is_empty() {
            continue;
        }
        let record = session.server.registry.record(name).unwrap_or_default();
        let on_line = all.iter().filter_map(|connection| now.checked_sub(connection.unused())).max();
        let last_use = on_line.max(record.last_use);
        let expires = roster.expiry_of(name);
        let certificates = certificates(record, pinned.remove(name).unwrap_or_default());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}  connections {}  last use {}{}{}",
            chosen.len(),
            last_use.map_or_else(|| "never".to_owned(), utc),
            expires.map_or_else(String::new, |expires| format!("  expires {}", utc(expires))),
            expiries(&certificates, now)
        );
        for connection in &chosen {
            let (id, peer, requests) = (connection.id, connection.peer, connection.requests());
            let age = seconds(connection.since.elapsed());
            let unused = seconds(connection.unused());
            let _ = writeln!(text, "  {id}  {peer}  {age}  requests {requests}  unused {unused}");
        }
        objects.push(json!({
            "client": name,
            "last_use": last_use.map(utc),
            "expires": expires.map(utc),
            "certificates": certificates.iter().map(|(thumbprint, Seen { ends, uri })| json!({
                "thumbprint": thumbprint.to_string(),
                "uri": uri.as_ref().map(ToString::to_string),
                "ends": utc(*ends),
            })).collect::<Vec<_>>(),
            "connections": chosen.iter().map(|connection| object(connection)).collect::<Vec<_>>(),
        }));
    }
    Ok(Report { text: text.trim_end().to_owned(), json: json!({ "clients": objects }) })
}

fn object(connection: &ConnectionHandle) -> Value {
    json!({
        "connection": connection.id.to_string(),
        "address": connection.peer.to_string(),
        "age_seconds": connection.since.elapsed().as_secs(),
        "requests": connection.requests(),
        "idle_seconds": connection.unused().as_secs(),
    })
}

/// The certificates that the client came with, and those whose expiry the config knows.
fn certificates(record: Record, pinned: Vec<(Thumbprint, SystemTime)>) -> BTreeMap<Thumbprint, Seen> {
    let pinned = pinned.into_iter().map(|(thumbprint, ends)| (thumbprint, Seen { ends, uri: None }));
    pinned.chain(record.certificates).collect()
}

fn expiries(certificates: &BTreeMap<Thumbprint, Seen>, now: SystemTime) -> String {
    let words = certificates.iter().map(|(thumbprint, Seen { ends, uri })| {
        let by = uri.as_ref().map_or_else(String::new, |uri| format!(" by {uri}"));
        format!("  certificate {:.8}…{by} {}", thumbprint.to_string(), time_left(*ends, now))
    });
    words.collect()
}

/// Says for how many more days something that ends at `ends` is good, or when it ended.
pub(super) fn time_left(ends: SystemTime, now: SystemTime) -> String {
    match ends.duration_since(now) {
        Ok(left) => format!("for {} days", left.as_secs() / DAY.as_secs()),
        Err(_past) => format!("ended {}", Utc(ends)),
    }
}

/// Ends a connection, or all that meet the conditions in the arguments but the one that asks; their calls are
/// stopped, and their clients are told.
pub(super) fn kick(request: &Request, session: &Session) -> Result<Report, CommandError> {
    let chosen = chosen(request, session)?;
    for connection in &chosen {
        let words = "The connection was ended by an operator".to_owned();
        connection.disconnect(Disconnect { reason: CloseReason::Kicked, words, detail: None });
    }
    let lines = chosen
        .iter()
        .map(|connection| format!("ending {} of {}", connection.id, connection.identity().name()));
    let ids: Vec<_> = chosen.iter().map(|connection| connection.id.to_string()).collect();
    Ok(Report { text: lines.collect::<Vec<_>>().join("\n"), json: json!({ "ending": ids }) })
}

fn chosen(request: &Request, session: &Session) -> Result<Vec<Arc<ConnectionHandle>>, CommandError> {
    let registry = &session.server.registry;
    let mut arguments = request.arguments().skip(1);
    match (arguments.next(), arguments.next()) {
        (None, _) => {
            let usage = format!("Usage: @kick CONNECTION, or conditions: {CONDITIONS}");
            Err(CommandError::failed(Code::BadArguments, usage))
        }
        (Some(argument), None) if !argument.contains(['=', '<', '>']) => {
            let connection = connection_id(argument).and_then(|id| registry.find(id));
            connection.map(|connection| vec![connection]).ok_or_else(|| {
                let message = format!("There is no connection {}; @clients shows them", shown(argument, 64));
                CommandError::failed(Code::NotFound, message)
            })
        }
        _ => {
            let filter = Filter::of(request)?;
            let own = session.handle.id;
            let mut all = registry.all();
            all.retain(|connection| connection.id != own && filter.has(connection));
            match all.is_empty() {
                true => {
                    Err(CommandError::failed(Code::NotFound, "No other connection meets these conditions"))
                }
                false => Ok(all),
            }
        }
    }
}

/// Formats a time in whole seconds.
pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn utc(time: SystemTime) -> String {
    Utc(time).to_string()
}
