//! The answer to whether a client may make a request: by what, or which line would allow it. Runs nothing.

use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::authz::{Mismatch, Near, PermissionPattern};
use crate::config::{Client, ClientName, Config, Grants, Placed, Plugin, PluginName, RoleName, quoted};
use crate::files::Opened;
use crate::identity::{Thumbprint, Utc};
use crate::route::BUILT_INS;
use crate::server::{ConfigLine, Words};
use crate::units;
use crate::wire::Request;

/// The answer for one client and one request.
#[derive(Debug, Serialize)]
pub struct Access {
    /// The client.
    pub client: String,
    /// The command and its arguments.
    pub request: Vec<String>,
    /// True if the server would run it, and not only as long as the client's denials are reported.
    pub allowed: bool,
    /// The time until which it is run and reported all the same, if it is.
    pub reported_until: Option<String>,
    /// The reasons why it would not, if any.
    pub refused: Vec<String>,
    /// The patterns that allow it.
    pub by: Vec<Rule>,
    /// The patterns that allow the command but not the arguments, closest first.
    pub closest: Vec<Rule>,
    /// The line that would allow it, if the client's patterns are all that is missing.
    pub to_allow: Option<ConfigLine>,
    /// The plugin that serves the command; `None` for a built-in and for an unknown command.
    pub plugin: Option<Serving>,
}

/// A pattern, and where it stands.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// The pattern.
    pub pattern: String,
    /// The role that has it; `None` for one of the client's own.
    pub role: Option<String>,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The first argument that does not match, in words; `None` if all do.
    pub mismatch: Option<String>,
}

/// A plugin that serves a command.
#[derive(Debug, Serialize)]
pub struct Serving {
    /// The plugin.
    pub name: String,
    /// The file of its section.
    pub file: String,
    /// The line of its section.
    pub line: usize,
    /// The path of its component.
    pub component: PathBuf,
    /// The SHA-256 of the component's bytes now; `None` if it can't be read.
    pub sha256: Option<String>,
    /// Its limits, as the config writes them.
    pub limits: Vec<(&'static str, String)>,
    /// Its grants by their keys; of settings only the names.
    pub grants: Map<String, Value>,
}

/// Returns the answer for a request with these `words`, the command first; `None` if no such client is
/// enabled.
///
/// # Errors
///
/// In words: the words are no request.
pub fn access(config: &Config, client: &str, words: &[String]) -> Result<Option<Access>, String> {
    let request = request(words)?;
    let Some((name, client)) = config.clients.get_key_value(client) else { return Ok(None) };
    let (mut by, mut near) = (Vec::new(), Vec::new());
    for (role, placed) in placed(config, client) {
        if placed.value.allows(&request) {
            by.push(rule(role, placed, None));
        } else if let Some(Near { mismatch, .. }) = placed.value.near(&request) {
            near.push((role, placed, mismatch));
        }
    }
    near.sort_by_key(|(_, _, mismatch)| Reverse(mismatch.matched()));
    let near = near.into_iter().filter(|_| by.is_empty());
    let closest: Vec<_> = near.map(|(role, placed, mismatch)| rule(role, placed, Some(mismatch))).collect();
    let (plugin, mut refused) = serving(config, request.command());
    let now = SystemTime::now();
    if let Some(expired) = client.expires.filter(|expires| now >= *expires) {
        refused.push(format!("{name} expired at {}, so nobody is admitted as this client", Utc(expired)));
    }
    let is_reported = by.is_empty() && refused.is_empty() && client.permissions.reports(&request, now);
    let reported_until = is_reported.then(|| reported_until(client)).flatten();
    let is_only_forbidden = by.is_empty() && refused.is_empty();
    let line = is_only_forbidden.then(|| line_to_allow(name, client, Words::Only(words)));
    let to_allow = line.transpose()?;
    if by.is_empty() {
        refused.push(match closest.is_empty() {
            true => format!("no pattern of {name} allows {}", request.command()),
            false => format!("no pattern of {name} allows these arguments of {}", request.command()),
        });
    }
    Ok(Some(Access {
        client: name.to_string(),
        request: words.to_vec(),
        allowed: refused.is_empty(),
        reported_until,
        refused,
        by,
        closest,
        to_allow,
        plugin,
    }))
}

/// Returns true if `client` may make a request with these `words`, the command first.
#[must_use]
pub fn may(client: &Client, words: &[String]) -> bool {
    request(words).is_ok_and(|request| client.permissions.allows(&request))
}

/// The clients that may make a request.
#[derive(Debug, Default, Serialize)]
pub struct Clients {
    /// The command and its arguments.
    pub request: Vec<String>,
    /// The reasons why the server would run it for nobody, if any.
    pub refused: Vec<String>,
    /// The clients that may, each with the patterns that allow it.
    pub clients: Vec<Allowed>,
    /// The clients for which it would be run, as denials are only reported: each with the end of that.
    pub reported: Vec<(String, String)>,
}

/// A client that may make a request.
#[derive(Debug, Serialize)]
pub struct Allowed {
    /// The client.
    pub client: String,
    /// The patterns that allow it.
    pub by: Vec<Rule>,
}

/// Returns every client that may make a request with these `words`, and by what. With the command alone,
/// those that may run it with some arguments.
///
/// # Errors
///
/// In words: the words are no request.
pub fn clients_that_may(config: &Config, words: &[String]) -> Result<Clients, String> {
    let request = request(words)?;
    let fits = |pattern: &PermissionPattern| match words {
        [command] => pattern.command().allows(command),
        _ => pattern.allows(&request),
    };
    let (_, refused) = serving(config, request.command());
    let mut all = Clients { request: words.to_vec(), refused, ..Clients::default() };
    if !all.refused.is_empty() {
        return Ok(all);
    }
    let now = SystemTime::now();
    let admitted =
        config.clients.iter().filter(|(_, client)| client.expires.is_none_or(|expires| now < expires));
    for (name, client) in admitted {
        let fitting = placed(config, client).filter(|(_, placed)| fits(&placed.value));
        let by: Vec<_> = fitting.map(|(role, placed)| rule(role, placed, None)).collect();
        if !by.is_empty() {
            all.clients.push(Allowed { client: name.to_string(), by });
        } else if client.permissions.reports(&request, now) {
            all.reported.extend(reported_until(client).map(|until| (name.to_string(), until)));
        }
    }
    Ok(all)
}

/// The time until which denials of `client` are only reported.
fn reported_until(client: &Client) -> Option<String> {
    let until = client.report_until?;
    Some(Utc(client.expires.map_or(until, |expires| expires.min(until))).to_string())
}

/// Describes the plugin that serves `command`, if one does, and the reasons why the command would not run.
fn serving(config: &Config, command: &str) -> (Option<Serving>, Vec<String>) {
    match config.plugins.iter().find(|(_, plugin)| serves(plugin, command)) {
        Some((name, plugin)) => of_plugin(name, plugin, config),
        None => (None, unserved(config, command).into_iter().collect()),
    }
}

fn request(words: &[String]) -> Result<Request, String> {
    Request::composed(words, Default::default()).map_err(str::to_owned)
}

/// Iterates over the patterns of a client: its own, and those of its roles.
fn placed<'c>(
    config: &'c Config,
    client: &'c Client,
) -> impl Iterator<Item = (Option<&'c RoleName>, &'c Placed<PermissionPattern>)> {
    let own = client.commands.iter().map(|pattern| (None, pattern));
    let roles = client.roles.iter().filter_map(|name| config.roles.get_key_value(name));
    own.chain(roles.flat_map(|(name, role)| role.commands.iter().map(move |pattern| (Some(name), pattern))))
}

fn rule(
    role: Option<&RoleName>,
    Placed { value, place }: &Placed<PermissionPattern>,
    mismatch: Option<Mismatch>,
) -> Rule {
    Rule {
        pattern: value.to_string(),
        role: role.map(ToString::to_string),
        file: place.file().to_owned(),
        line: place.line(),
        mismatch: mismatch.map(|mismatch| mismatch.to_string()),
    }
}

fn serves(plugin: &Plugin, command: &str) -> bool {
    plugin.commands.iter().any(|served| served.as_ref() == command)
}

/// Returns the reason why no plugin runs `command`; `None` for a built-in.
fn unserved(config: &Config, command: &str) -> Option<String> {
    if command.starts_with('@') {
        let is_known = BUILT_INS.iter().any(|(_, name, ..)| *name == command);
        return (!is_known).then(|| format!("there is no built-in command {command}"));
    }
    let disabled: Vec<_> = config.disabled.plugins.keys().map(ToString::to_string).collect();
    Some(match disabled.is_empty() {
        true => format!("no plugin serves {command}"),
        false => format!("no plugin serves {command} (switched off: {})", disabled.join(", ")),
    })
}

/// Describes a plugin, and the reasons why it would not load.
fn of_plugin(name: &PluginName, plugin: &Plugin, config: &Config) -> (Option<Serving>, Vec<String>) {
    let mut refused = Vec::new();
    let bytes = Opened::file(&plugin.component)
        .and_then(|opened| opened.bytes(config.limits.component_bytes as u64))
        .map_err(|fault| refused.push(format!("the component of {name} can't be read: {}", fault.what())));
    let sha256 = bytes.ok().map(|bytes| Thumbprint::sha256_of(&bytes));
    if let (Some(found), Some(wanted)) = (sha256, plugin.sha256)
        && found != Thumbprint::Sha256(wanted)
    {
        refused.push(format!("the component of {name} is not the one with the `sha256` of the config"));
    }
    let serving = Serving {
        name: name.to_string(),
        file: plugin.place.file().to_owned(),
        line: plugin.place.line(),
        component: plugin.component.clone(),
        sha256: sha256.map(|sha256| sha256.to_string()),
        limits: limits(plugin),
        grants: granted(plugin),
    };
    (Some(serving), refused)
}

fn limits(plugin: &Plugin) -> Vec<(&'static str, String)> {
    let time =
        |time: Duration| units::in_largest(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &units::TIME);
    let mut limits = vec![
        ("instances", plugin.instances.to_string()),
        ("timeout", time(plugin.timeout)),
        ("memory", units::size(plugin.memory_bytes as u64)),
        ("reply", units::size(plugin.reply_bytes as u64)),
        ("host_calls", plugin.host_calls.to_string()),
        ("host_bytes", units::size(plugin.host_bytes)),
    ];
    limits.extend(plugin.cpu_time.map(|cpu_time| ("cpu_time", time(cpu_time))));
    limits.extend(plugin.concurrency.map(|most| ("concurrency", most.to_string())));
    limits
}

/// The grants of a plugin by their keys; of settings only the names, since their values may be secret.
#[must_use]
pub fn granted(plugin: &Plugin) -> Map<String, Value> {
    fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> Value {
        items.into_iter().map(|item| item.to_string()).collect()
    }
    let Grants { logging, keyvalue, commands, files, directories, events, http, is_written: _ } =
        &plugin.grants;
    let folders =
        || directories.iter().map(|(seen, folder)| (seen.clone(), json!(folder.display().to_string())));
    let all = [
        ("config", plugin.config.as_ref().map(|config| list(config.keys()))),
        ("logging", logging.then(|| true.into())),
        ("keyvalue", keyvalue.as_ref().map(list)),
        ("commands", commands.as_ref().map(|commands| list(commands.patterns()))),
        ("files", files.as_ref().map(|files| list(files.iter().map(|(name, _)| name)))),
        ("directories", (!directories.is_empty()).then(|| Value::Object(folders().collect()))),
        ("events", events.as_ref().map(list)),
        ("http", http.as_ref().map(|urls| list(urls.iter().map(|url| &url.url)))),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The client's `commands` with the narrowest pattern that allows a request of these `words`.
///
/// # Errors
///
/// In words: the words are no request.
pub(super) fn line_to_allow(
    name: &ClientName,
    client: &Client,
    words: Words<'_>,
) -> Result<ConfigLine, String> {
    let own = client.commands.iter().map(|placed| placed.value.to_string());
    let added = match words {
        Words::Only(words) => PermissionPattern::only(&request(words)?),
        Words::Command(command) => command.to_owned(),
    };
    let is_exact = matches!(words, Words::Only(_)) && !added.ends_with(" ...");
    let patterns: Vec<_> = own.chain([added]).map(|text| quoted(&text)).collect();
    Ok(ConfigLine {
        section: name.key(),
        file: client.place.file().to_owned(),
        line: client.place.line(),
        text: format!("commands = [{}]", patterns.join(", ")),
        is_exact,
    })
}
