//! The texts of a config: its own file, and those it includes, in one range of offsets.
//!
//! Invariant: an offset belongs to one file. So the span of a value tells its file, and nothing else has to
//! record it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::redact::{self, Grammar};
use super::sections::Sections;
use crate::text::{shown, stand_ins};

/// The longest path shown, in characters.
const MOST_PATH_CHARS: usize = 600;

/// The redacted texts that faults are shown in, at least one.
#[derive(Clone, Debug)]
pub(super) struct Source {
    files: Vec<Arc<SourceFile>>,
}

/// A file of the config.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// The path as shown.
    shown: Arc<str>,
    path: PathBuf,
    /// The offset of its first byte.
    start: usize,
    text: String,
    /// The position of the first byte of each line.
    lines: OnceLock<Vec<usize>>,
}

/// A line of a config. All places are equal: a config whose lines only moved is the same config.
#[derive(Clone)]
pub struct Place {
    file: Arc<str>,
    line: usize,
}

/// A value, and its place in the config. Equal if the values are.
#[derive(Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl Source {
    /// A source of faults that no line is to blame for.
    pub(super) fn of(path: &Path) -> Self {
        Self { files: vec![Arc::new(SourceFile::new(path, String::new(), 0))] }
    }

    /// The source whose first file is `text`, at `path`.
    pub(super) fn new(path: &Path, text: &str, grammar: Grammar, sections: Sections) -> Self {
        Self { files: vec![Arc::new(SourceFile::new(path, visible(text, grammar, sections), 0))] }
    }

    /// Adds `text`, the file at `path`; returns the offset of its first byte.
    pub(super) fn add(&mut self, path: &Path, text: &str, grammar: Grammar, sections: Sections) -> usize {
        // The byte between belongs to the file before: its end can be marked.
        let start = self.files.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.files.push(Arc::new(SourceFile::new(path, visible(text, grammar, sections), start)));
        start
    }

    /// Returns the file that `offset` belongs to.
    pub(super) fn file_at(&self, offset: usize) -> &SourceFile {
        let after = self.files.partition_point(|file| file.start <= offset);
        &self.files[after.saturating_sub(1)]
    }

    /// Returns the line that `offset` belongs to.
    pub(super) fn place(&self, offset: usize) -> Place {
        let file = self.file_at(offset);
        Place { file: Arc::clone(&file.shown), line: file.line_at(offset) }
    }

    /// The part of `span` that carets can underline: its first line, clamped to the text and to character
    /// boundaries.
    pub(super) fn caret(&self, span: &Range<usize>) -> Range<usize> {
        let file = self.file_at(span.start);
        let start = file.text.floor_char_boundary(span.start - file.start);
        let end = file.text.floor_char_boundary(span.end.saturating_sub(file.start).max(start));
        let line = file.text.get(start..end).unwrap_or_default().lines().next().unwrap_or_default();
        let start = file.start + start;
        start..start + line.trim_end().len()
    }
}

fn visible(text: &str, grammar: Grammar, sections: Sections) -> String {
    stand_ins(&redact::document(text, grammar, sections)).into_owned()
}

impl SourceFile {
    fn new(path: &Path, text: String, start: usize) -> Self {
        let shown = shown(&path.to_string_lossy(), MOST_PATH_CHARS).to_string().into();
        Self { shown, path: path.to_owned(), start, text, lines: OnceLock::new() }
    }

    /// Returns `path` relative to the file's folder.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Its path as shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns true if `other` is the same file of one source.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.start == other.start
    }

    /// The line of `offset`, from 1.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        let lines = self.lines.get_or_init(|| {
            let ends = memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|end| end + 1);
            std::iter::once(0).chain(ends).collect()
        });
        lines.partition_point(|line| *line <= offset - self.start)
    }

    /// The column of `offset` in its line, in characters, from 1.
    pub(super) fn column_at(&self, offset: usize) -> usize {
        let before = self.text.get(..offset - self.start).unwrap_or_default();
        before.rsplit('\n').next().unwrap_or_default().chars().count() + 1
    }

    /// The whole lines of `span`, where it begins in the source, and the number of the first line.
    pub(super) fn lines(&self, span: Range<usize>) -> Option<(&str, usize, usize)> {
        let (first, last) = (span.start - self.start, span.end - self.start);
        let start = self.text.get(..first)?.rfind('\n').map_or(0, |position| position + 1);
        let end = self.text.get(last..)?.find('\n').map_or(self.text.len(), |position| last + position);
        Some((self.text.get(start..end)?, self.start + start, self.line_at(span.start)))
    }
}

impl Place {
    /// The path of the file, as shown.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows the value alone.
impl<T: fmt::Debug> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Returns `table` with all its spans moved by `start`.
pub(super) fn moved(table: DeTable<'_>, start: usize) -> DeTable<'_> {
    if start == 0 {
        return table;
    }
    let entries = table.into_iter().map(|(key, value)| {
        let span = key.span();
        (Spanned::new(span.start + start..span.end + start, key.into_inner()), moved_value(value, start))
    });
    entries.collect()
}

fn moved_value(value: Spanned<DeValue<'_>>, start: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved(table, start)),
        DeValue::Array(mut array) => {
            for item in array.iter_mut() {
                let taken = std::mem::replace(item, Spanned::new(0..0, DeValue::Boolean(false)));
                *item = moved_value(taken, start);
            }
            DeValue::Array(array)
        }
        scalar => scalar,
    };
    Spanned::new(span.start + start..span.end + start, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::SECTIONS;

    #[test]
    fn each_offset_belongs_to_one_line_of_one_file() {
        let mut source = Source::new(Path::new("a"), "[server]\n\n", Grammar::Toml, SECTIONS);
        let second = source.add(Path::new("b/b"), "", Grammar::Toml, SECTIONS);
        let third = source.add(Path::new("c"), "[log]\nlevel = \"info\"", Grammar::Toml, SECTIONS);
        assert_eq!((second, third), (11, 12));
        let places = [0, 8, 9, 10, 11, 12, 18, 30, 32, 99].map(|offset| source.place(offset).to_string());
        assert_eq!(places, ["a:1", "a:1", "a:2", "a:3", "b/b:1", "c:1", "c:2", "c:2", "c:2", "c:2"]);
        assert_eq!(source.caret(&(18..40)), 18..32);
        assert_eq!(source.caret(&(12..25)), 12..17, "one line");
        assert_eq!(source.caret(&(11..11)), 11..11);
    }

    #[test]
    fn every_span_moves() {
        let text = "a.b = [1, { c = \"x\" }]\n[[d]]\ne = 1\n";
        let table = moved(DeTable::parse(text).unwrap().into_inner(), 100);
        fn walk(table: &DeTable<'_>, text: &str, seen: &mut usize) {
            for (key, value) in table {
                assert_eq!(&text[key.span().start - 100..key.span().end - 100], key.get_ref());
                walk_value(value, text, seen);
            }
        }
        fn walk_value(value: &Spanned<DeValue<'_>>, text: &str, seen: &mut usize) {
            let written = &text[value.span().start - 100..value.span().end - 100];
            *seen += 1;
            match value.get_ref() {
                DeValue::Table(table) => walk(table, text, seen),
                DeValue::Array(array) => array.iter().for_each(|item| walk_value(item, text, seen)),
                DeValue::String(string) => assert_eq!(written.trim_matches('"'), string.as_ref()),
                DeValue::Integer(integer) => assert_eq!(written, integer.as_str()),
                _ => panic!("{written}"),
            }
        }
        let mut seen = 0;
        walk(&table, text, &mut seen);
        assert_eq!(seen, 8);
    }
}
