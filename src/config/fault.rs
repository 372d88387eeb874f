//! Faults of a config file, shown as rustc shows its errors: the line, a caret, and the fix.
//!
//! Knows texts and positions in them, not their meaning.
//!
//! Invariant: nothing is shown that did not go through `redact`. A [`Source`] holds redacted texts, and a
//! [`Draft`] holds messages without the possibly secret parts of URLs.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::redact;
use super::source::{Place, Source, SourceFile};
use crate::files::Sightings;
use crate::text::shown;

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
    /// The line of a fault without marks.
    place: Option<Place>,
}

/// A span of the source and its label. A fault's first mark is its position.
#[derive(Debug, Clone)]
struct Mark {
    span: Range<usize>,
    label: String,
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

    /// The first fault that prevents serving, in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let first = self.faults.iter().find(|fault| fault.severity == Severity::Error);
        first.map(Fault::line).unwrap_or_default()
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
            source: Arc::new(Source::of(path)),
            place: None,
        }
    }

    /// Makes it a fault of the section that stands at `place`.
    #[must_use]
    pub fn of(self, place: &Place) -> Self {
        Self { place: Some(place.clone()), ..self }
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

    /// The line and column of the fault in its file, both from 1; `None` if it concerns the whole file.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        if let Some(place) = &self.place {
            return Some((place.line(), 1));
        }
        let start = self.offset()?;
        let file = self.source.file_at(start);
        Some((file.line_at(start), file.column_at(start)))
    }

    /// The path of the fault's file, as shown.
    fn path(&self) -> &str {
        let of_source = || self.source.file_at(self.offset().unwrap_or_default()).shown();
        self.place.as_ref().map_or_else(of_source, Place::file)
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
        format!("{}{place}: {}", self.path(), words.join("; "))
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
        let snippets = self.snippets();
        let origin = || Origin::path(self.path());
        let group = match (&self.place, snippets.is_empty()) {
            (Some(place), _) => group.element(origin().line(place.line())),
            (None, true) => group.element(origin()),
            (None, false) => group.elements(snippets),
        };
        let help = self.help.iter().map(|help| Level::HELP.message(shown(help, MOST_CHARS).to_string()));
        let report: [Group<'_>; 1] = [group.elements(help)];
        renderer.render(&report)
    }

    /// The marked lines of each file, the fault's own file first.
    fn snippets(&self) -> Vec<Snippet<'_, Annotation<'_>>> {
        let mut of_files: Vec<(&SourceFile, Vec<(AnnotationKind, &Mark)>)> = Vec::new();
        for (number, mark) in self.marks.iter().enumerate() {
            let kind = if number == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let file = self.source.file_at(mark.span.start);
            match of_files.iter_mut().find(|(other, _)| other.is(file)) {
                Some((_, marks)) => marks.push((kind, mark)),
                None => of_files.push((file, vec![(kind, mark)])),
            }
        }
        of_files.into_iter().filter_map(|(file, marks)| snippet(file, &marks)).collect()
    }
}

/// The lines of `file` from the first of `marks` to the last. Only these go to the renderer, which scans all
/// its input for each fault.
fn snippet<'f>(
    file: &'f SourceFile,
    marks: &[(AnnotationKind, &'f Mark)],
) -> Option<Snippet<'f, Annotation<'f>>> {
    let spans = || marks.iter().map(|(_, mark)| &mark.span);
    let span = spans().map(|span| span.start).min()?..spans().map(|span| span.end).max()?;
    let (text, start, line) = file.lines(span)?;
    let annotations = marks.iter().map(|(kind, mark)| {
        let span = mark.span.start - start..mark.span.end - start;
        kind.span(span).label(shown(&mark.label, MOST_CHARS).to_string())
    });
    Some(Snippet::source(text).line_start(line).path(file.shown()).annotations(annotations))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
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
        let (marks, help, source) = (Vec::new(), Vec::new(), Arc::clone(source));
        Self { fault: Fault { severity, message, marks, help, source, place: None }, found }
    }

    /// Marks a span: the first call sets the fault's position, later ones mark related places.
    pub(super) fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        let span = self.fault.source.caret(&span);
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
