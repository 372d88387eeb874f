//! Faults of a config file, shown as rustc shows its errors: the line, a caret, and the fix.
//!
//! Knows a text and positions in it, not its meaning.
//!
//! Invariant: nothing is shown that did not go through `redact`. A [`Source`] holds redacted text, and a
//! [`Draft`] holds messages without the possibly secret parts of URLs.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::redact::{self, Grammar};
use super::sections::Sections;
use crate::files::Sightings;
use crate::text::{shown, stand_ins};

/// The most faults shown: a file of another kind has thousands, and nobody reads that far.
const MOST_SHOWN: usize = 100;
/// The longest message, label or advice, in characters.
const MOST_CHARS: usize = 600;

/// The severity of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Prevents serving.
    Error,
    /// Does not prevent serving, but needs an operator's attention.
    Warning,
}

/// The appearance of rendered faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// Text with a terminal's colours.
    Colored,
}

/// A fault in a config file.
#[derive(Debug, Clone)]
pub struct Fault {
    severity: Severity,
    message: String,
    marks: Vec<Mark>,
    help: Vec<String>,
    source: Arc<Source>,
}

/// A span of the text and its label. A fault's first mark is its position.
#[derive(Debug, Clone)]
struct Mark {
    span: Range<usize>,
    label: String,
}

/// The redacted text that faults are shown in.
#[derive(Debug)]
pub(super) struct Source {
    path: String,
    text: String,
}

/// All faults of a config file: at least one error, and the warnings.
#[derive(Debug, Clone)]
pub struct Faults {
    faults: Vec<Fault>,
    sightings: Sightings,
}

impl Faults {
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        if faults.len() > MOST_SHOWN {
            faults.sort_by_key(Fault::severity); // no error is cut off for a warning before it
        }
        Self { faults, sightings: Sightings::default() }
    }

    /// Attaches `sightings`: the state of the files the faults were found in.
    pub(super) fn found_in(self, sightings: Sightings) -> Self {
        Self { sightings, ..self }
    }

    /// The state of the config file and of every file it names, taken before they were read. As long as this
    /// state holds, so do the faults.
    #[must_use]
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// Iterates over the faults in line order; errors first if there are more than can be shown.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// Renders all faults, separated by empty lines.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut parts: Vec<_> =
            self.faults.iter().take(MOST_SHOWN).map(|fault| fault.render(style)).collect();
        if let Some(more) = self.faults.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
            parts.push(format!("and {more} more that are not shown"));
        }
        parts.join("\n\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl std::error::Error for Faults {}

impl Fault {
    /// A warning about something the config at `path` names, where no line is to blame.
    #[must_use]
    pub fn warning(path: &Path, message: &str, help: Option<&str>) -> Self {
        let clean = |text: &str| redact::urls(text).into_owned();
        Self {
            severity: Severity::Warning,
            message: clean(message),
            marks: Vec::new(),
            help: help.map(clean).into_iter().collect(),
            source: Arc::new(Source::empty(path)),
        }
    }

    /// The severity: whether the fault prevents serving.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The message, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Advice on what to write instead.
    #[must_use]
    pub fn help(&self) -> &[String] {
        &self.help
    }

    /// The line and column of the fault, both from 1; `None` if it concerns the whole file.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        let start = self.marks.first()?.span.start;
        let before = self.source.text.get(..start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((line, column))
    }

    /// The fault in one line, without the text of the file: `FILE:LINE: MESSAGE; ADVICE`.
    #[must_use]
    pub fn line(&self) -> String {
        let place = self.position().map(|(line, _)| format!(":{line}")).unwrap_or_default();
        let words: Vec<_> = [&self.message]
            .into_iter()
            .chain(&self.help)
            .map(|words| shown(words, MOST_CHARS).to_string())
            .collect();
        format!("{}{place}: {}", self.source.path, words.join("; "))
    }

    /// The fault's offset, for sorting: faults of the whole file come first.
    pub(super) fn offset(&self) -> Option<usize> {
        self.marks.first().map(|mark| mark.span.start)
    }

    /// Renders the fault with its source lines.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colored => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = level.primary_title(shown(&self.message, MOST_CHARS).to_string());
        let group = match self.window() {
            Some((window, line)) => group.element(self.snippet(window, line)),
            None => group.element(Origin::path(self.source.path.as_str())),
        };
        let help = self.help.iter().map(|help| Level::HELP.message(shown(help, MOST_CHARS).to_string()));
        let report: [Group<'_>; 1] = [group.elements(help)];
        renderer.render(&report)
    }

    /// The lines from the first mark to the last, and the number of the first of them. Only these go to the
    /// renderer, which scans all its input for each fault.
    fn window(&self) -> Option<(Range<usize>, usize)> {
        let text = &self.source.text;
        let first = self.marks.iter().map(|mark| mark.span.start).min()?;
        let last = self.marks.iter().map(|mark| mark.span.end).max()?;
        let start = text.get(..first)?.rfind('\n').map_or(0, |position| position + 1);
        let end = text.get(last..)?.find('\n').map_or(text.len(), |position| last + position);
        Some((start..end, text.get(..start)?.matches('\n').count() + 1))
    }

    fn snippet(&self, window: Range<usize>, line: usize) -> Snippet<'_, Annotation<'_>> {
        let mark = |(number, mark): (usize, &Mark)| {
            let kind = if number == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let span = mark.span.start - window.start..mark.span.end - window.start;
            kind.span(span).label(shown(&mark.label, MOST_CHARS).to_string())
        };
        let annotations: Vec<_> = self.marks.iter().enumerate().map(mark).collect();
        let text = self.source.text.get(window.clone()).unwrap_or_default();
        Snippet::source(text).line_start(line).path(self.source.path.as_str()).annotations(annotations)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl Source {
    pub(super) fn new(path: &Path, text: &str, grammar: Grammar, sections: Sections) -> Self {
        let text = stand_ins(&redact::document(text, grammar, sections)).into_owned();
        Self { text, ..Self::empty(path) }
    }

    /// Returns the source of faults that are not in the file's text.
    fn empty(path: &Path) -> Self {
        Self { path: shown(&path.to_string_lossy(), MOST_CHARS).to_string(), text: String::new() }
    }

    /// The part of `span` that carets can underline: its first line, clamped to the text and to character
    /// boundaries.
    fn caret(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end.max(start));
        let line = self.text.get(start..end).unwrap_or_default().lines().next().unwrap_or_default();
        start..start + line.trim_end().len()
    }
}

/// A fault being built; [`Draft::done`] adds it to the faults found.
#[must_use]
pub(super) struct Draft<'f> {
    fault: Fault,
    found: &'f mut Vec<Fault>,
}

impl<'f> Draft<'f> {
    pub(super) fn new(
        severity: Severity,
        message: String,
        source: &Arc<Source>,
        found: &'f mut Vec<Fault>,
    ) -> Self {
        let message = redact::urls(&message).into_owned();
        let fault =
            Fault { severity, message, marks: Vec::new(), help: Vec::new(), source: Arc::clone(source) };
        Self { fault, found }
    }

    /// Marks a span: the first call sets the fault's position, later ones mark related places.
    pub(super) fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        let span = self.fault.source.caret(span);
        let label = redact::urls(&label.into()).into_owned();
        self.fault.marks.push(Mark { span, label });
        self
    }

    /// Adds advice on what to write instead.
    pub(super) fn help(mut self, advice: impl Into<String>) -> Self {
        self.fault.help.push(redact::urls(&advice.into()).into_owned());
        self
    }

    /// Adds several pieces of advice.
    pub(super) fn helps(self, advice: impl IntoIterator<Item = String>) -> Self {
        advice.into_iter().fold(self, Self::help)
    }

    /// Adds the fault to the faults found.
    pub(super) fn done(self) {
        self.found.push(self.fault);
    }
}
