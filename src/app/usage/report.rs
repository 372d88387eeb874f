//! The entries of the config that nobody uses, each with the way to take it away.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::{Entry, Owner, TimeSpan};

/// The entries that were not used for some time.
pub struct Unused {
    pub(super) period: TimeSpan,
    /// The entries to take away, in the order of the config.
    pub(super) unused: Vec<Line>,
    /// The clients and plugins all of whose entries are among these.
    pub(super) idle: HashSet<Owner>,
    /// The entries that were not used either, and are observed for less than the period.
    pub(super) undecided: Vec<Line>,
}

/// An entry, with the minutes in which its observation began and in which it was last used.
pub(super) struct Line {
    pub(super) entry: Entry,
    pub(super) since: u32,
    pub(super) last: Option<u32>,
}

impl Unused {
    /// Returns the same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let lines = |lines: &[Line]| lines.iter().map(Line::to_json).collect::<Vec<_>>();
        json!({
            "period": self.period.to_string(),
            "unused": lines(&self.unused),
            "undecided": lines(&self.undecided),
        })
    }

    /// Returns the section to which `lines` belong, if nothing of it was used.
    fn idle(&self, lines: &[Line]) -> Option<&Owner> {
        self.idle.get(lines.first()?.entry.owner.as_ref()?)
    }
}

/// A line for each idle client and plugin, each entry of others, and all those of which nothing can be said
/// yet.
impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period;
        if self.unused.is_empty() {
            write!(f, "nothing was unused for {period}")?;
        } else {
            write!(f, "not used for {period}:")?;
        }
        for lines in self.unused.chunk_by(|one, next| one.entry.owner == next.entry.owner) {
            match self.idle(lines) {
                Some(owner) => idle_owner(owner, lines, f)?,
                None => lines.iter().try_for_each(|line| write!(f, "\n{line}"))?,
            }
        }
        let first = self.undecided.iter().map(|line| line.since).min();
        match first {
            None => Ok(()),
            Some(first) => write!(
                f,
                "\n{} more not used yet, and observed for less than {period}: since {} at the earliest",
                self.undecided.len(),
                date(first)
            ),
        }
    }
}

fn idle_owner(owner: &Owner, lines: &[Line], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(first) = lines.first() else { return Ok(()) };
    let last = lines.iter().map(|line| line.last.unwrap_or(line.since)).max().unwrap_or_default();
    let (place, verb, removal, since) = (&first.entry.place, owner.use_verb(), owner.removal(), date(last));
    write!(f, "\n{place}: {owner}: nothing {verb} since {since}: `{removal}` removes it")
}

impl Line {
    fn to_json(&self) -> Value {
        json!({
            "file": self.entry.place.file(),
            "line": self.entry.place.line(),
            "list": &*self.entry.list,
            "entry": self.entry.written(),
            "removal": self.entry.removal(),
            "last_used": self.last.map(|last| time(last).to_string()),
            "observed_since": time(self.since).to_string(),
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, subject, verb) = (&self.entry.place, self.entry.subject(), self.entry.use_verb());
        let (when, since) = match self.last {
            Some(last) => ("not", date(last)),
            None => ("never", date(self.since)),
        };
        write!(f, "{place}: {subject}: {when} {verb} since {since}: {}", self.entry.removal())
    }
}

fn time(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or_default()
}

fn date(minute: u32) -> String {
    time(minute).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_by_the_text_to_delete() {
        let minute = |text: &str| u32::try_from(text.parse::<Timestamp>().unwrap().as_second() / 60).unwrap();
        let (since, last) = (minute("2026-10-01T08:30:00Z"), Some(minute("2026-11-01T00:00:00Z")));
        let line = |text: &str, last| Line { entry: Entry::item("clients.a.commands", text), since, last };
        let period = TimeSpan::try_from("720h".to_owned()).unwrap();
        let mut told = Unused { period, unused: Vec::new(), idle: HashSet::new(), undecided: Vec::new() };
        assert_eq!(told.to_string(), "nothing was unused for 30d");
        told.undecided = vec![line("kv-*", None), line("x", None)];
        assert_eq!(
            told.to_string(),
            "nothing was unused for 30d\n\
             2 more not used yet, and observed for less than 30d: since 2026-10-01 at the earliest"
        );
        told.unused = vec![line("a \"b c\"", None), line("echo", last)];
        told.undecided.clear();
        assert_eq!(
            told.to_string(),
            "not used for 30d:\n\
             server.toml:1: pattern 'a \"b c\"': never used since 2026-10-01: delete it from clients.a.commands\n\
             server.toml:1: pattern \"echo\": not used since 2026-11-01: delete it from clients.a.commands"
        );
        assert_eq!(
            told.to_json()["unused"][1],
            json!({
                "file": "server.toml",
                "line": 1,
                "list": "clients.a.commands",
                "entry": "\"echo\"",
                "removal": "delete it from clients.a.commands",
                "last_used": "2026-11-01T00:00:00Z",
                "observed_since": "2026-10-01T08:30:00Z",
            })
        );
    }
}
