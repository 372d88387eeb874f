//! Sections of clients and plugins, added to a config's text and taken out of it.
//!
//! Invariant: all other bytes stay, with their comments, order, and line ends. Taking out a section that was
//! added gives back the text as it was.

use std::ops::Range;

use super::layout::{Form, Lines, Statement, statements};
use crate::config::written::key_text;

/// A section to be added, as written.
#[derive(Clone, Debug)]
pub struct Section {
    /// The table of all such sections: `clients` or `plugins`.
    pub table: &'static str,
    /// Its name in the table.
    pub name: String,
    /// Its keys, each with the text of its value.
    pub rows: Vec<(String, String)>,
    /// The tables in it.
    pub tables: Vec<Table>,
}

/// A table in a section: its key, and its own keys, each with the text of its value.
pub type Table = (String, Vec<(String, String)>);

impl Section {
    /// Returns `text` with this section after the last of the same table, or else at the end.
    #[must_use]
    pub fn added_to(&self, text: &str) -> String {
        let statements = statements(text);
        let inline = statements.iter().find_map(|statement| match &statement.form {
            Form::Table { inside, entries } if statement.path == [self.table] => Some((*inside, entries)),
            _ => None,
        });
        if let Some((inside, entries)) = inline {
            // No header can extend an inline table.
            let (at, before) = entries.last().map_or((inside, " "), |last| (last.span.end, ", "));
            return spliced(text, at..at, &format!("{before}{}", self.inline()));
        }
        let at = self.place(text, &statements);
        let newline = newline(text);
        let lines = self.lines().join(newline);
        // A text without a newline at its end stays so.
        let (before, after) = match text.get(..at).unwrap_or_default() {
            "" => (String::new(), newline),
            before if before.ends_with('\n') => (newline.to_owned(), newline),
            _ => (newline.repeat(2), ""),
        };
        spliced(text, at..at, &format!("{before}{lines}{after}"))
    }

    fn place(&self, text: &str, statements: &[Statement]) -> usize {
        let lines = Lines::of(text);
        let is_own = |statement: &Statement| statement.path.first().is_some_and(|key| key == self.table);
        let Some(last) = statements.iter().rposition(is_own) else {
            let content = (0..lines.count()).rev().find(|line| !lines.is_blank(*line));
            return content.map_or(text.len(), |line| lines.start(line + 1));
        };
        // Keys that follow belong to the header before them.
        let is_header = |statement: &Statement| matches!(statement.form, Form::Header);
        let keys = statements[last + 1..].iter().take_while(|statement| !is_header(statement)).count();
        lines.start(lines.after(lines.at(statements[last + keys].last_byte())))
    }

    fn lines(&self) -> Vec<String> {
        let key = format!("{}.{}", self.table, key_text(&self.name));
        let row = |(key, value): &(String, String)| format!("{} = {value}", key_text(key));
        let mut lines = vec![format!("[{key}]")];
        lines.extend(self.rows.iter().map(row));
        for (table, rows) in &self.tables {
            lines.extend([String::new(), format!("[{key}.{}]", key_text(table))]);
            lines.extend(rows.iter().map(row));
        }
        lines
    }

    fn inline(&self) -> String {
        let tables = self.tables.iter().map(|(table, rows)| (table.clone(), inline(rows)));
        let rows: Vec<_> = self.rows.iter().cloned().chain(tables).collect();
        format!("{} = {}", key_text(&self.name), inline(&rows))
    }
}

fn inline(rows: &[(String, String)]) -> String {
    let rows: Vec<_> = rows.iter().map(|(key, value)| format!("{} = {value}", key_text(key))).collect();
    if rows.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", rows.join(", ")) }
}

/// Returns `text` without the section `name` of `table`, all tables in it, and the comments directly above
/// them; `None` if there is no such section.
#[must_use]
pub fn without_section(text: &str, table: &str, name: &str) -> Option<String> {
    let cuts = cuts(text, &[table, name]);
    let cut = |text: String, range: &Range<usize>| spliced(&text, range.clone(), "");
    (!cuts.is_empty()).then(|| cuts.iter().rev().fold(text.to_owned(), cut))
}

/// Returns the line, from 1, on which the section `name` of `table` begins.
#[must_use]
pub fn section_line(text: &str, table: &str, name: &str) -> Option<usize> {
    let statements = statements(text);
    let first = with_entries(&statements).find(|statement| statement.is_below(&[table, name]));
    first.map(|statement| Lines::of(text).at(statement.span.start) + 1)
}

/// Returns the names of all sections of `table`, in the order of the text.
#[must_use]
pub fn section_names(text: &str, table: &str) -> Vec<String> {
    let mut names = Vec::new();
    for statement in with_entries(&statements(text)).filter(|statement| statement.is_below(&[table])) {
        names.extend(statement.path.get(1).filter(|name| !names.contains(*name)).cloned());
    }
    names
}

/// Iterates over all statements, each with the entries that it has as an inline table.
fn with_entries(statements: &[Statement]) -> impl Iterator<Item = &Statement> {
    statements.iter().flat_map(|statement| {
        let entries = match &statement.form {
            Form::Table { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        std::iter::once(statement).chain(entries)
    })
}

/// The ranges that make up the section at `path`, in order.
fn cuts(text: &str, path: &[&str]) -> Vec<Range<usize>> {
    let lines = Lines::of(text);
    let mut cuts = Vec::new();
    let mut previous = None;
    for run in statements(text).chunk_by(|one, other| one.is_below(path) == other.is_below(path)) {
        if run.iter().any(|statement| statement.is_below(path)) {
            cuts.extend(whole_lines(text, &lines, run, previous));
        } else {
            cuts.extend(run.iter().flat_map(|statement| entries(text, statement, path)));
        }
        previous = run.last().map(|last| lines.at(last.last_byte()));
    }
    cuts
}

/// The lines of consecutive statements with what belongs to them. `previous` is the last line before them
/// that is of something else.
fn whole_lines(
    text: &str,
    lines: &Lines<'_>,
    run: &[Statement],
    previous: Option<usize>,
) -> Option<Range<usize>> {
    let (first, last) = (run.first()?, run.last()?);
    let least = previous.map_or(0, |line| line + 1);
    let mut from = lines.at(first.span.start);
    while from > least && lines.is_comment(from - 1) {
        from -= 1;
    }
    let has_header = run.iter().any(|statement| matches!(statement.form, Form::Header));
    let last = lines.at(last.last_byte());
    let mut to = if has_header { lines.after(last) } else { last + 1 };
    if from > least && lines.is_blank(from - 1) {
        // One of the blank lines around the section goes with it.
        from -= usize::from(has_header || lines.is_blank(to));
    } else if from == 0 && to < lines.count() && lines.is_blank(to) {
        to += 1;
    }
    let (mut start, end) = (lines.start(from), lines.start(to));
    if end == text.len() && !text.ends_with('\n') {
        let before = text.get(..start).unwrap_or_default();
        start = before.strip_suffix('\n').map_or(start, |line| line.strip_suffix('\r').unwrap_or(line).len());
    }
    let mark = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    Some(start.max(mark)..end)
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The entries at `path` in the inline table that `statement` may be, with the commas that go with them.
fn entries(text: &str, statement: &Statement, path: &[&str]) -> Vec<Range<usize>> {
    let Form::Table { inside, entries } = &statement.form else { return Vec::new() };
    let mut cuts = Vec::new();
    let mut kept = None;
    let mut left = entries.as_slice();
    for run in entries.chunk_by(|one, other| one.is_below(path) == other.is_below(path)) {
        left = &left[run.len()..];
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        if !first.is_below(path) {
            kept = Some(last.span.end);
            continue;
        }
        let rest = text.get(last.span.end..).unwrap_or_default();
        cuts.push(match (kept, left.first()) {
            (Some(kept), _) => kept..last.span.end,
            (None, Some(next)) => first.span.start..next.span.start,
            (None, None) => {
                let comma = rest.trim_start().strip_prefix(',');
                *inside..comma.map_or(last.span.end, |after| text.len() - after.len())
            }
        });
    }
    cuts
}

impl Statement {
    /// Returns true if it is the section at `path`, or in it.
    fn is_below(&self, path: &[&str]) -> bool {
        self.path.len() >= path.len() && self.path.iter().zip(path).all(|(key, wanted)| key == wanted)
    }

    fn last_byte(&self) -> usize {
        self.span.end.saturating_sub(1)
    }
}

/// The line end that `text` uses.
fn newline(text: &str) -> &'static str {
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    if first.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// Returns `text` with `insertion` in place of `range`.
pub(super) fn spliced(text: &str, range: Range<usize>, insertion: &str) -> String {
    let (before, after) = (text.get(..range.start), text.get(range.end..));
    format!("{}{insertion}{}", before.unwrap_or_default(), after.unwrap_or_default())
}
