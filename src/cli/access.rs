//! `lictor check --as` and `--who`: who may make a request, and by what.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Exit, Failure, output};
use crate::app::{Access, Allowed, Clients, ConfigLine, Rule, Serving, access, clients_that_may};
use crate::config::{Config, key_text, quoted, quoted_list};

/// Answers whether `client` may make the request.
pub(super) fn of_client(config: &Config, client: &str, words: &[String], json: Form) -> Result<(), Failure> {
    let answer = access(config, client, words).map_err(Failure::usage)?;
    let Some(answer) = answer else { return Err(unknown(config, client)) };
    match json {
        Form::Json => output::json(&serde_json::to_value(&answer).unwrap_or_default())?,
        Form::Text => output::line(told(&answer).trim_end())?,
    }
    if answer.allowed { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

/// Lists the clients that may make the request.
pub(super) fn of_all(config: &Config, words: &[String], form: Form) -> Result<(), Failure> {
    let all = clients_that_may(config, words).map_err(Failure::usage)?;
    let Clients { request: _, refused, clients, reported } = &all;
    if let Form::Json = form {
        output::json(&serde_json::to_value(&all).unwrap_or_default())?;
    } else {
        let mut lines = refused.clone();
        if clients.is_empty() {
            lines.insert(0, "no client may run this".to_owned());
        }
        lines.extend(clients.iter().map(|Allowed { client, by }| {
            let by: Vec<_> = by.iter().map(of_rule).collect();
            format!("{client}: by {}", by.join(", "))
        }));
        let until = |(client, until): &(String, String)| {
            format!("{client}: no pattern allows it, but until {until} it is run all the same, and reported")
        };
        lines.extend(reported.iter().map(until));
        output::line(&lines.join("\n"))?;
    }
    if clients.is_empty() { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

/// Shows the words of a request, so that each is told from the next.
fn shown_request(words: &[String]) -> String {
    let is_plain = |word: &&String| {
        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c.is_ascii_punctuation() && c != '"')
    };
    let shown = words.iter().map(|word| if is_plain(&word) { word.clone() } else { format!("{word:?}") });
    shown.collect::<Vec<_>>().join(" ")
}

/// The form of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}

fn unknown(config: &Config, client: &str) -> Failure {
    let path = config.path.display();
    if config.disabled.clients.contains_key(client) {
        let advice = "write `enabled = true` in its section";
        return Failure::usage(format!("the client {client} is switched off in {path}: {advice}"));
    }
    let names: Vec<_> = config.clients.keys().map(AsRef::as_ref).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Failure::usage(format!("there is no client {client} in {path}; clients: {names}"))
}

fn told(answer: &Access) -> String {
    let Access { client, request, allowed, reported_until, refused, by, closest, to_allow, plugin } = answer;
    let (request, verb) = (shown_request(request), if *allowed { "may" } else { "may not" });
    let mut text = format!("{client} {verb} run: {request}\n");
    let mut say = |line: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {line}");
    };
    refused.iter().for_each(|reason| say(reason.clone()));
    if let Some(until) = reported_until {
        say(format!("until {until} it is run all the same, and reported (`report_until`)"));
    }
    by.iter().for_each(|rule| say(format!("by {}", of_rule(rule))));
    for rule in closest {
        let mismatch = rule.mismatch.as_deref().unwrap_or_default();
        say(format!("close: {}: {mismatch}", of_rule(rule)));
    }
    if let Some(ConfigLine { section, file, line, text, is_exact }) = to_allow {
        let what =
            if *is_exact { "it" } else { "it, and other arguments at the end: it is too long for a pattern" };
        say(format!("this line in [{section}], {file}:{line}, would allow {what}:"));
        say(format!("  {text}"));
    }
    if let Some(Serving { name, file, line, component, sha256, limits, grants }) = plugin {
        let sha256 = sha256.as_deref().unwrap_or("unknown");
        say(format!("plugin {name}, {file}:{line}: {}", component.display()));
        say(format!("  sha256 {sha256}"));
        limits.iter().for_each(|(key, value)| say(format!("  {key} = {value}")));
        grants.iter().for_each(|(key, value)| say(format!("  {key} = {}", in_config(value))));
    } else if refused.is_empty() {
        say("a built-in command of the server".to_owned());
    }
    text
}

fn of_rule(Rule { pattern, role, file, line, .. }: &Rule) -> String {
    let role = role.as_ref().map(|role| format!(" of the role {role}")).unwrap_or_default();
    format!("`{pattern}`{role}, {file}:{line}")
}

/// Writes the value of a grant as the config has it.
fn in_config(value: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match value {
        Value::Array(items) => quoted_list(&items.iter().map(text).collect::<Vec<_>>()),
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", key_text(key), quoted(&text(value))))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
