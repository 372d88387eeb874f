//! The layout of a TOML text: its statements and its lines, with their positions.
//!
//! Knows nothing of what the keys mean. The text must be valid TOML; of another text, a part is read.

use std::iter::Peekable;
use std::ops::Range;
use std::vec;

use toml_parser::decoder::Encoding;
use toml_parser::parser::{Event, EventKind, parse_document};
use toml_parser::{Raw, Source, Span};

/// A header, or a key with its value.
#[derive(Debug)]
pub(super) struct Statement {
    /// The keys that lead to it from the top of the text.
    pub(super) path: Vec<String>,
    /// Its bytes, from the first bracket or key to the end of the header or value.
    pub(super) span: Range<usize>,
    pub(super) form: Form,
}

/// The form of a statement.
#[derive(Debug)]
pub(super) enum Form {
    Header,
    Value,
    /// An inline table.
    Table {
        /// The position after its opening brace.
        inside: usize,
        entries: Vec<Statement>,
    },
}

/// Lists the statements of `text`, in order.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let tokens = Source::new(text).lex().into_vec();
    let mut events = Vec::new();
    parse_document(&tokens, &mut events, &mut ());
    let is_space = |kind| matches!(kind, EventKind::Whitespace | EventKind::Comment | EventKind::Newline);
    events.retain(|event| !is_space(event.kind()));
    Reader { text, events: events.into_iter().peekable() }.statements()
}

struct Reader<'t> {
    text: &'t str,
    events: Peekable<vec::IntoIter<Event>>,
}

impl Reader<'_> {
    fn statements(mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut section = Vec::new();
        while let Some(event) = self.events.next() {
            match event.kind() {
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    let mut path = Vec::new();
                    self.keys(&mut path);
                    section.clone_from(&path);
                    let end = self.events.next().map_or(self.text.len(), |close| close.span().end());
                    let span = event.span().start()..end;
                    statements.push(Statement { path, span, form: Form::Header });
                }
                EventKind::SimpleKey => statements.push(self.entry(&event, &section)),
                _ => {}
            }
        }
        statements
    }

    /// Reads the keys up to anything else.
    fn keys(&mut self, path: &mut Vec<String>) {
        let is_of_keys = |event: &Event| matches!(event.kind(), EventKind::SimpleKey | EventKind::KeySep);
        while let Some(event) = self.events.next_if(is_of_keys) {
            if event.kind() == EventKind::SimpleKey {
                path.push(key(self.text, event.span(), event.encoding()));
            }
        }
    }

    /// Reads a key, whose first part is `first`, and its value.
    fn entry(&mut self, first: &Event, table: &[String]) -> Statement {
        let mut path = table.to_vec();
        path.push(key(self.text, first.span(), first.encoding()));
        self.keys(&mut path);
        self.events.next_if(|event| event.kind() == EventKind::KeyValSep);
        let (end, form) = self.value(&path);
        Statement { path, span: first.span().start()..end, form }
    }

    /// Reads a value; returns its end and form.
    fn value(&mut self, path: &[String]) -> (usize, Form) {
        let Some(event) = self.events.next() else { return (self.text.len(), Form::Value) };
        let inside = event.span().end();
        match event.kind() {
            EventKind::ArrayOpen => (self.array_end(), Form::Value),
            EventKind::InlineTableOpen => {
                let mut entries = Vec::new();
                while let Some(event) = self.events.next() {
                    match event.kind() {
                        EventKind::SimpleKey => entries.push(self.entry(&event, path)),
                        EventKind::InlineTableClose => {
                            return (event.span().end(), Form::Table { inside, entries });
                        }
                        _ => {}
                    }
                }
                (self.text.len(), Form::Table { inside, entries })
            }
            _ => (inside, Form::Value),
        }
    }

    /// Reads to the end of an array that has been opened.
    fn array_end(&mut self) -> usize {
        let mut open = 1_usize;
        for event in self.events.by_ref() {
            match event.kind() {
                EventKind::ArrayOpen => open += 1,
                EventKind::ArrayClose if open == 1 => return event.span().end(),
                EventKind::ArrayClose => open -= 1,
                _ => {}
            }
        }
        self.text.len()
    }
}

/// Decodes a part of a key.
fn key(text: &str, span: Span, encoding: Option<Encoding>) -> String {
    let written = text.get(span.start()..span.end()).unwrap_or_default();
    let mut key = String::new();
    Raw::new_unchecked(written, encoding, span).decode_key(&mut key, &mut ());
    key
}

/// The lines of a text, counted from 0.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// The start of each line; the last is the end of the text.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.split_inclusive('\n').scan(0, |start, line| {
            *start += line.len();
            Some(*start)
        }));
        Self { text, starts }
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The line that contains the byte at `position`.
    pub(super) fn at(&self, position: usize) -> usize {
        self.starts.partition_point(|start| *start <= position).saturating_sub(1)
    }

    /// The position of the start of `line`; the end of the text if there is no such line.
    pub(super) fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.text.len())
    }

    fn text(&self, line: usize) -> &'t str {
        self.text.get(self.start(line)..self.start(line + 1)).unwrap_or_default()
    }

    /// Returns true if `line` is empty or beyond the end.
    pub(super) fn is_blank(&self, line: usize) -> bool {
        self.text(line).trim().is_empty()
    }

    /// Returns true if `line` holds only a comment.
    pub(super) fn is_comment(&self, line: usize) -> bool {
        self.text(line).trim_start().starts_with('#')
    }

    /// The line after `line` and the comments that directly follow it, unless these stand directly above
    /// something else.
    pub(super) fn after(&self, line: usize) -> usize {
        let next = line + 1;
        let behind = (next..).find(|line| !self.is_comment(*line)).unwrap_or(next);
        if self.is_blank(behind) { behind } else { next }
    }
}
