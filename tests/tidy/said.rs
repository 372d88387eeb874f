//! Files that write to a terminal and to the log, and the calls they may use.

use std::collections::BTreeSet;

use super::code::{call_length, line_of, words};
use super::documents::named_events;
use super::rules::{MAY_QUOTE, MAY_SPEAK};
use super::{none, rust_files, shipped_code, text};

#[test]
fn only_one_file_prints_and_one_writes_the_log() {
    let mut faults = Vec::new();
    let mut uses = 0;
    for (path, code) in shipped_code() {
        for (word, allowed) in MAY_SPEAK {
            for at in words(&code, word) {
                uses += 1;
                if !allowed.contains(&path.as_str()) {
                    let line = line_of(&code, at);
                    faults.push(format!(
                        "{path}:{line}: `{word}` belongs to `cli/output.rs`. Return a value, or make a log event"
                    ));
                }
            }
        }
    }
    none(&faults, uses);
}

/// A log event of the source.
struct Event {
    place: String,
    level: &'static str,
    /// The call as written.
    call: String,
    code: String,
}

fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (path, code) in shipped_code() {
        let source = text(&path);
        // The last is written by a file's own macro.
        for level in ["error!", "warn!", "info!", "debug!", "trace!", "event!", "$level!"] {
            for at in words(&code, level).filter(|at| code[..*at].ends_with("tracing::")) {
                let line = line_of(&code, at);
                let length = call_length(&code[at..]);
                let lines = 1 + code[at..at + length].matches('\n').count();
                let of_call = |text: &str| text.lines().skip(line - 1).take(lines).collect();
                let (call, code) = (of_call(&source), of_call(&code));
                events.push(Event { place: format!("{path}:{line}"), level, call, code });
            }
        }
    }
    events
}

/// Values go into fields, apart from the server's own words, and an event is identified by its message.
#[test]
fn messages_of_events_are_words_of_their_own() {
    let events = events();
    let braces = |text: &str| text.matches('{').count();
    let with_values = events.iter().filter(|event| braces(&event.call) > braces(&event.code));
    let told =
        |event: &Event| format!("{}: put the value into a field, and not into the message", event.place);
    none(&with_values.map(told).collect::<Vec<_>>(), events.len());
}

#[test]
fn every_event_is_explained_to_operators() {
    const TABLE: &str = "docs/operations.md";
    let explained = named_events(&text(TABLE));
    let mut faults = Vec::new();
    let mut there = BTreeSet::new();
    for Event { place, level, call, .. } in events() {
        let target = call.split_once("target: \"").and_then(|(_, rest)| rest.split('"').next());
        let (Some(target), Some(message)) = (target, call.rsplit('"').nth(1)) else {
            faults.push(format!("{place}: give the event a `target`, and a message as its last argument"));
            continue;
        };
        let event = (target.to_owned(), message.to_owned());
        let is_detail = ["debug!", "trace!"].contains(&level);
        if !is_detail && !explained.contains(&event) {
            faults.push(format!("{place}: {TABLE} has no row for `{target}`, `{message}`"));
        }
        there.insert(event);
    }
    let stale = explained.difference(&there);
    faults
        .extend(stale.map(|(target, message)| format!("{TABLE}: there is no event `{target}`, `{message}`")));
    none(&faults, there.len());
}

#[test]
fn what_is_said_of_a_component_goes_where_it_is_escaped() {
    let mut faults = Vec::new();
    let mut uses = 0;
    for path in rust_files().iter().filter(|path| path.starts_with("src/plugin/")) {
        let source = text(path);
        let shipped = source.split("#[cfg(test)]").next().unwrap_or_default();
        for (form, allowed) in MAY_QUOTE {
            for (at, _) in shipped.match_indices(form) {
                uses += 1;
                if !allowed.contains(&path.as_str()) {
                    let line = line_of(&source, at);
                    faults.push(format!(
                        "{path}:{line}: `{form}` quotes what a component says; use `backtrace::words`, and hand it on as the \
                         reason of a `LoadError` or as a field of an event"
                    ));
                }
            }
        }
    }
    none(&faults, uses);
}
