//! `lictor check --as` and `--who`: who may make a request, and by what.

use std::fmt::Write as _;

use super::{Exit, Failure, output};
use crate::app::{Access, Line, Rule, Serving, access, clients_that_may};
use crate::config::Config;

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
    let clients = clients_that_may(config, words).map_err(Failure::usage)?;
    match form {
        Form::Json => {
            let clients =
                clients.iter().map(|(client, by)| serde_json::json!({ "client": client, "by": by }));
            output::json(&serde_json::json!({ "request": words, "clients": clients.collect::<Vec<_>>() }))?;
        }
        Form::Text if clients.is_empty() => output::line("no client may run this")?,
        Form::Text => {
            let mut text = String::new();
            for (client, by) in &clients {
                let by: Vec<_> = by.iter().map(of_rule).collect();
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{client}: by {}", by.join(", "));
            }
            output::line(text.trim_end())?;
        }
    }
    if clients.is_empty() { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
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
    let (request, verb) = (request.join(" "), if *allowed { "may" } else { "may not" });
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
    if let Some(Line { section, file, line, text }) = to_allow {
        say(format!("this line in [{section}], {file}:{line}, would allow it:"));
        say(format!("  {text}"));
    }
    if let Some(Serving { name, file, line, component, sha256, limits, grants }) = plugin {
        let sha256 = sha256.as_deref().unwrap_or("unknown");
        say(format!("plugin {name}, {file}:{line}: {}", component.display()));
        say(format!("  sha256 {sha256}"));
        for (key, value) in limits.iter().chain(grants) {
            say(format!("  {key} = {value}"));
        }
    } else if refused.is_empty() {
        say("a built-in command of the server".to_owned());
    }
    text
}

fn of_rule(Rule { pattern, role, file, line, .. }: &Rule) -> String {
    let role = role.as_ref().map(|role| format!(" of the role {role}")).unwrap_or_default();
    format!("`{pattern}`{role}, {file}:{line}")
}
