//! Commands about the whole server, for clients to which the config grants them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::clients::seconds;
use super::form::Form;
use crate::identity::Utc;
use crate::plugin::ReplyFuture;
use crate::server::connection::Session;
use crate::server::control::{CertificateEnd, Report};
use crate::server::exposition::{ends, exposition, tasks};
use crate::server::service::Service;
use crate::telemetry;
use crate::watermark;
use crate::wire::{Code, CommandError, Request};

/// Shows the server's status: its version, age, connections, tasks and plugins, the last load of its config,
/// and how often each bound was reached; or, by its argument, metrics or unused permissions.
pub(super) fn status(request: &Request, session: &Session) -> Result<Report, CommandError> {
    let mut arguments = request.arguments().skip(1);
    match (arguments.next(), arguments.next()) {
        (None, None) => Ok(overview(session)),
        (Some("metrics"), None) => Ok(metrics(session)),
        (Some("unused"), period) if arguments.next().is_none() => unused(period.unwrap_or(UNUSED), session),
        _ => Err(CommandError::failed(Code::BadArguments, "Usage: @status [metrics|unused [TIME]]")),
    }
}

/// Time without use after which `@status unused` lists an entry, if the command names none.
const UNUSED: &str = "30d";

/// Lists what the config grants and nobody used.
fn unused(period: &str, session: &Session) -> Result<Report, CommandError> {
    let control = session.server.control.as_ref().ok_or_else(uncontrolled)?;
    control.unused(period).map_err(|words| CommandError::failed(Code::BadArguments, words))
}

/// Shows the metrics.
pub(super) fn metrics(session: &Session) -> Report {
    let text = exposition(&session.server);
    Report { json: json!({ "metrics": text }), text }
}

/// Shows the memory that the process holds, of the memory that it may hold.
fn memory() -> String {
    let [used, mark] = [watermark::used_bytes(), watermark::mark_bytes()].map(|bytes| bytes >> 20);
    let short = if watermark::is_passed() { ", short: calls are refused" } else { "" };
    format!("{used} MiB of {mark} MiB{short}")
}

fn overview(session: &Session) -> Report {
    let connections = session.server.registry.all();
    let requests: u64 = connections.iter().map(|connection| connection.requests()).sum();
    let control = session.server.control.as_ref().map(|control| control.status()).unwrap_or_default();
    let separator = if control.text.is_empty() { "" } else { "\n" };
    let uptime = session.server.started.elapsed();
    let (plugins, clients) =
        (plugin_commands(&session.service).len(), session.service.roster.clients().len());
    let mut text = format!(
        "version {}\nuptime {}\nconnections {}\nrequests {requests} on these connections\ntasks {}\nmemory {}\nplugins {plugins}\nclients {clients}{separator}{}",
        env!("CARGO_PKG_VERSION"),
        seconds(uptime),
        connections.len(),
        tasks(&session.server),
        memory(),
        control.text,
    );
    let mut reporting = Map::new();
    for (client, until) in session.service.policy.reporting(SystemTime::now()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nwould-be-forbidden commands of {client} are run until {}", Utc(until));
        reporting.insert(client.to_string(), Utc(until).to_string().into());
    }
    let mut counters = Map::new();
    for (name, count) in telemetry::metrics::counted() {
        let _ = write!(text, "\n{name} {count}");
        counters.insert(name.to_owned(), count.into());
    }
    let json = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime.as_secs(),
        "connections": connections.len(),
        "requests": requests,
        "tasks": tasks(&session.server),
        "memory": {
            "used_bytes": watermark::used_bytes(),
            "mark_bytes": watermark::mark_bytes(),
            "is_short": watermark::is_passed(),
        },
        "plugins": plugins,
        "clients": clients,
        "config": control.json,
        "certificates": ends(&session.server).map(|end| certificate(&end)).collect::<Vec<_>>(),
        "report_until": reporting,
        "counters": counters,
    });
    Report { text, json }
}

fn certificate(CertificateEnd { kind, name, ends }: &CertificateEnd) -> Value {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let left = match ends.duration_since(SystemTime::now()) {
        Ok(left) => seconds(left),
        Err(past) => -seconds(past.duration()),
    };
    json!({ "kind": kind, "name": name, "ends": Utc(*ends).to_string(), "seconds_left": left })
}

/// Lists the plugins with the commands routed to them and the hashes of their components.
pub(super) fn plugins(service: &Service) -> Report {
    let (mut lines, mut objects) = (Vec::new(), Vec::new());
    for (name, (sha256, mut commands)) in plugin_commands(service) {
        commands.sort_unstable();
        lines.push(format!("{name}  sha256 {sha256}  commands {}", commands.join(" ")));
        objects.push(json!({ "plugin": name, "sha256": sha256, "commands": commands }));
    }
    Report { text: lines.join("\n"), json: json!({ "plugins": objects }) }
}

fn plugin_commands(service: &Service) -> BTreeMap<&str, (String, Vec<&str>)> {
    let mut plugins = BTreeMap::<_, (String, Vec<&str>)>::new();
    for (command, plugin) in service.routes.plugin_commands() {
        let hash = || (base16ct::lower::encode_string(plugin.sha256()), Vec::new());
        plugins.entry(plugin.name()).or_insert_with(hash).1.push(command);
    }
    plugins
}

/// Stops the server as SIGTERM does.
pub(super) fn drain(session: &Session) -> Result<Report, CommandError> {
    let control = session.server.control.as_ref().ok_or_else(uncontrolled)?;
    control.drain();
    Ok(Report { text: "stopping".to_owned(), json: json!({ "stopping": true }) })
}

/// Reloads the config.
pub(super) fn reload(session: &Session, form: Form) -> ReplyFuture<'static> {
    let reloading = session.server.control.as_ref().map(|control| control.reload());
    Box::pin(async move {
        match reloading.ok_or_else(uncontrolled)?.await {
            Ok(report) => Ok(form.write(report).into_owned()),
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
