//! Advice for a text that is not TOML, based on the text around its first fault.
//!
//! Knows TOML's grammar only where people make mistakes. Shows nothing of the text but sizes, times and plain
//! keys, since any part of it may be a misplaced secret.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::moment;
use super::redact;
use super::sections::Sections;
use crate::units::{ByteSize, TimeSpan};

/// Advice for a syntax error.
#[derive(Default)]
pub(super) struct Advice {
    /// The first occurrence of a duplicate.
    pub(super) first: Option<Range<usize>>,
    /// Advice on what to write instead.
    pub(super) help: Option<String>,
}

impl Advice {
    fn of(help: impl Into<String>) -> Self {
        Self { first: None, help: Some(help.into()) }
    }
}

/// Advice for the first fault of `text`, at `span`; `message` is the parser's.
pub(super) fn advice(text: &str, span: &Range<usize>, message: &str, sections: Sections) -> Advice {
    let at = text.floor_char_boundary(span.start);
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let in_line = (at - begin).min(line.len());
    if message == "duplicate key" {
        return of_duplicate(text, begin, line);
    }
    if outside_strings(line).contains(CURLY) {
        return Advice::of("these quotes are curly: write straight ones, as in \"certs/server.pem\"");
    }
    if let Some(key) = key_before_colon(line) {
        let key = redact::key_of_broken(key, sections);
        return Advice::of(format!("write `=` between a key and its value, and not a colon: `{key} = …`"));
    }
    if message.contains("string, expected") || message.starts_with("invalid basic string") {
        return Advice::of("end the text with the quote that it begins with, on the same line");
    }
    let is_in_text = is_inside_text(line, in_line);
    if message.starts_with("missing comma") {
        let comma = "put a comma between two values of a list or two keys of a table in braces, or end it with its bracket";
        return Advice::of(match is_in_text {
            true => format!("{QUOTES}; or {comma}"),
            false => comma.to_owned(),
        });
    }
    if is_in_text {
        return Advice::of(QUOTES);
    }
    if message.starts_with("key with no value") || message.starts_with("missing value for key") {
        return Advice::of(
            "write `=` and a value after the key; a section is written in brackets, such as [server]",
        );
    }
    if message.starts_with("missing escaped value") {
        return Advice::of("a backslash begins an escape in double quotes: put the text in single quotes");
    }
    let closing = [("unclosed array", "]"), ("unclosed inline table", "}"), ("unclosed table", "]")];
    if let Some((_, bracket)) = closing.iter().find(|(unclosed, _)| message.starts_with(unclosed)) {
        return Advice::of(format!("end it with `{bracket}`"));
    }
    if line.split_once('=').is_some_and(|(key, _)| MOMENTS.contains(&key.trim())) {
        return Advice::of(moment::ADVICE);
    }
    bare_word(line, in_line).map(of_bare_word).unwrap_or_default()
}

/// Help for a text that a quote in it ends too early, or that lacks the quote before.
const QUOTES: &str = "if this belongs to a text, a quote is missing, or one in the text ends it: inside double quotes write \\\" for a \
                      quote, or put the text into single quotes";

/// Returns true if a quote ended right before `at`, and a word begins there.
fn is_inside_text(line: &str, at: usize) -> bool {
    let begin = line.get(..at).is_some_and(|before| before.ends_with(['"', '\'']));
    let word = line.get(at..).unwrap_or_default();
    begin && word.starts_with(|c: char| c.is_alphanumeric() || "@*.$/_-\\".contains(c))
}

/// Keys whose values are points in time.
const MOMENTS: [&str; 2] = ["expires", "report_until"];

/// Typographic quotes.
const CURLY: [char; 10] = ['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»'];

/// The part of a line outside quotes and comments. An unterminated string counts as outside: a curly quote
/// may be meant to end it.
fn outside_strings(line: &str) -> String {
    let (mut outside, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(['"', '\'', '#']) {
        outside.push_str(&rest[..at]);
        let (quote, behind) = rest[at..].split_at(1);
        rest = match behind.find(quote) {
            _ if quote == "#" => "",
            Some(end) => &behind[end + 1..],
            None => return outside + behind,
        };
    }
    outside + rest
}

/// The key at the start of a line that is followed by a colon, as in YAML.
fn key_before_colon(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    (!key.is_empty() && key.chars().all(is_key)).then(|| key.trim_matches('"'))
}

/// The unquoted value around `at` in a line.
fn bare_word(line: &str, at: usize) -> Option<&str> {
    let is_end = |c: char| c.is_whitespace() || "=,[]{}#\"'".contains(c);
    let end_before = line[..at].char_indices().rev().find(|(_, c)| is_end(*c));
    let begin = end_before.map_or(0, |(end, c)| end + c.len_utf8());
    let word = line[begin..].split(is_end).next()?;
    let is_value = line[..begin].contains(['=', '[']);
    (is_value && !word.is_empty()).then_some(word)
}

fn of_bare_word(word: &str) -> Advice {
    if ["true", "false", "yes", "no", "on", "off"].contains(&&*word.to_ascii_lowercase()) {
        return Advice::of("a boolean is `true` or `false`, in lower case and without quotes");
    }
    let owned = || word.to_owned();
    let is_amount = ByteSize::try_from(owned()).is_ok() || TimeSpan::try_from(owned()).is_ok();
    let example = if is_amount { word } else { "64MiB" };
    Advice::of(format!("strings, sizes and times are written in quotes: `\"{example}\"`"))
}

/// Advice for a duplicate key or section; the second one is on `line`, which starts at `begin`.
fn of_duplicate(text: &str, begin: usize, line: &str) -> Advice {
    let before = &text[..begin];
    let is_header = line.trim_start().starts_with('[');
    let mut path =
        if is_header { Vec::new() } else { before.lines().rev().find_map(header).unwrap_or_default() };
    let own = if is_header { header(line) } else { keys_of(line) };
    let help = match is_header {
        true => "a section may appear only once: move its lines there",
        false => "a key may appear only once: remove one of them",
    };
    let first = own.and_then(|own| {
        path.extend(own);
        place_of(before, &path)
    });
    Advice { first, help: Some(help.to_owned()) }
}

/// The path in a header such as `[plugins.echo]`.
fn header(line: &str) -> Option<Vec<String>> {
    line.trim_start().starts_with('[').then(|| keys_of(line)).flatten()
}

/// The keys of the header in a line, or the first part of the key before a value.
fn keys_of(line: &str) -> Option<Vec<String>> {
    let parsed = DeTable::parse(line).ok()?;
    let (is_header, mut keys) = (line.trim_start().starts_with('['), Vec::new());
    let mut table = parsed.get_ref();
    while let Some((key, value)) = table.iter().next() {
        keys.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) if is_header => table = inner,
            _ => break,
        }
    }
    Some(keys)
}

/// The position in `text` of the last key of `path`.
fn place_of(text: &str, path: &[String]) -> Option<Range<usize>> {
    let (root, _) = DeTable::parse_recoverable(text);
    let (last, outer) = path.split_last()?;
    let mut table = root.into_inner();
    for key in outer {
        let (_, value) = table.into_iter().find(|(name, _)| name.get_ref() == key)?;
        let DeValue::Table(inner) = value.into_inner() else { return None };
        table = inner;
    }
    table.iter().find(|(name, _)| name.get_ref() == last).map(|(name, _)| name.span())
}
