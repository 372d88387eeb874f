//! Who writes to a terminal and to the log, and by what words.

use super::code::{call_length, line_of, words};
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

/// Values go into fields, where they are told apart from words of the server's own, and an event is known by its message.
#[test]
fn messages_of_events_are_words_of_their_own() {
    let mut faults = Vec::new();
    let mut events = 0;
    for (path, code) in shipped_code() {
        let source = text(&path);
        for level in ["error!", "warn!", "info!", "debug!", "trace!", "event!"] {
            for at in words(&code, level).filter(|at| code[..*at].ends_with("tracing::")) {
                events += 1;
                let line = line_of(&code, at);
                let length = call_length(&code[at..]);
                let lines = 1 + code[at..at + length].matches('\n').count();
                let written: String = source.lines().skip(line - 1).take(lines).collect();
                let braces = |text: &str| text.matches('{').count();
                let in_code: String = code.lines().skip(line - 1).take(lines).collect();
                if braces(&written) > braces(&in_code) {
                    faults
                        .push(format!("{path}:{line}: put the value into a field, and not into the message"));
                }
            }
        }
    }
    none(&faults, events);
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
