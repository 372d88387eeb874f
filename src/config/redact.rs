//! What a fault shows of a config file: keys, and values that are known to be no secret. Each byte of all else is a dot, so that
//! every place in the text stays where it was.
//!
//! Invariant: what is not recognised is hidden. In a text that is TOML, a value is shown if its path is that of a key of Lictor's
//! own. In any other text it also has to be a number, an address or a boolean. Comments are hidden: they often hold the previous
//! value.
//!
//! Knows the config file's form only as far as to find the path of each value. Goes by the parser's own tokens, so that both take
//! the same bytes for a string.

use std::borrow::Cow;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use super::raw::SECTIONS;
use crate::text::shown;

/// Whether a text was found to be TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// It is.
    Toml,
    /// It is not: what stands where may be anything.
    Broken,
    /// It is a script, or is to be one: of it nothing is secret to the one who runs it.
    Script,
}

/// `text` with all hidden that may be secret.
pub(super) fn document(text: &str, grammar: Grammar) -> String {
    if grammar == Grammar::Script {
        return text.to_owned();
    }
    let mut walk = Walk {
        text,
        grammar,
        visible: text.as_bytes().to_vec(),
        table: Vec::new(),
        path: Vec::new(),
        key_start: 0,
        open: Vec::new(),
        place: Place::Key,
    };
    let mut tokens = Source::new(text).lex().peekable();
    while let Some(token) = tokens.next() {
        let mut end = token.span().end();
        // A bare value is several tokens: `127.0.0.1:1`.
        if is_bare(&token) && walk.place == Place::Value {
            while let Some(next) = tokens.next_if(is_bare) {
                end = next.span().end();
            }
        }
        walk.step(token.kind(), token.span().start(), end);
    }
    // Only whole tokens and what stands between ASCII characters was replaced, by ASCII.
    String::from_utf8(walk.visible).unwrap_or_default()
}

/// What messages call `key` of the table that they call `table`: the key, unless that may be a secret in the wrong place.
pub(super) fn key<'k>(table: &str, key: &'k str) -> Cow<'k, str> {
    let table: Vec<_> = if table.is_empty() { Vec::new() } else { table.split('.').collect() };
    if is_plain_key(&table, key) { shown(key, MOST_KEY_CHARS).to_string().into() } else { "…".into() }
}

/// `text` of a message with every URL in it, and what may be a damaged one, shown without a user, a password, a query and a
/// fragment.
#[must_use]
pub fn urls(text: &str) -> Cow<'_, str> {
    let is_url = |word: &str| word.find([':', '/']).is_some_and(|at| word[at..].contains(['@', '?', '#']));
    if !is_url(text) {
        return text.into();
    }
    let mut visible = text.as_bytes().to_vec();
    for (start, word) in words(text).filter(|(_, word)| is_url(word)) {
        hide_in_url(&mut visible[start..start + word.len()], word);
    }
    String::from_utf8(visible).map_or_else(|_| "…".into(), Cow::Owned)
}

/// The longest key that is shown.
const MOST_KEY_CHARS: usize = 64;

/// Keys whose values are tables.
const TABLES: [&str; 3] = ["config", "grants", "directories"];

/// Whether `path` leads to a value of Lictor's own.
fn is_own_value(path: &[&str]) -> bool {
    let Some((key, table)) = path.split_last() else { return false };
    let is_known = |(section, keys): &(&str, &[&str])| is_section(section, table) && keys.contains(key);
    let is_folder = is_section("plugins.NAME.grants.directories", table);
    is_folder || (!table.is_empty() && !TABLES.contains(key) && SECTIONS.iter().any(is_known))
}

fn is_section(section: &str, table: &[&str]) -> bool {
    let parts = || section.split('.');
    parts().count() == table.len() && parts().zip(table).all(|(part, key)| part == "NAME" || part == *key)
}

/// Whether `key` of `table` is a name that the operator gave, or a word.
fn is_plain_key(table: &[&str], key: &str) -> bool {
    let is_name =
        ["clients", "plugins", "plugins.NAME.grants.directories"].iter().any(|it| is_section(it, table));
    is_name || is_word(key)
}

/// Whether `key` is known, or of letters alone: a secret has a digit, at the least.
fn is_word(key: &str) -> bool {
    let is_known = SECTIONS.iter().any(|(_, keys)| keys.contains(&key));
    let is_letter = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-');
    is_known || (key.len() <= MOST_KEY_CHARS && key.bytes().all(is_letter))
}

/// The tokens of a text, one after the other.
struct Walk<'t> {
    text: &'t str,
    grammar: Grammar,
    visible: Vec<u8>,
    /// The path of the last header.
    table: Vec<&'t str>,
    /// The path of the key or value that comes.
    path: Vec<&'t str>,
    /// How much of the path stood before the key's own parts.
    key_start: usize,
    open: Vec<Open>,
    place: Place,
}

/// A bracket that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    /// A table, and the length of its own path.
    Table(usize),
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A key, or its next part.
    Key,
    /// What follows a part of a key: a dot, or its value.
    AfterKey,
    /// A part of a header.
    Header,
    AfterHeader,
    Value,
    /// What follows a value or a whole header.
    Done,
    /// Nothing is known any more.
    Lost,
}

impl<'t> Walk<'t> {
    fn step(&mut self, kind: TokenKind, start: usize, end: usize) {
        use TokenKind as T;
        match (self.place, kind) {
            (_, T::Whitespace | T::Eof) => {}
            (Place::Lost, T::Newline) => {}
            (Place::Lost, _) => self.hide(start, end),
            (_, T::Comment) => self.hide(start + 1, end),
            (Place::Key | Place::Header, _) if is_text(kind) => self.key(start, end),
            (Place::Key, T::LeftSquareBracket) if self.open.is_empty() && self.is_key_start() => {
                self.path.clear();
                self.place = Place::Header;
            }
            // Of a list of tables.
            (Place::Header, T::LeftSquareBracket) if self.path.is_empty() => {}
            (Place::AfterHeader, T::Dot) => self.place = Place::Header,
            (Place::AfterHeader, T::RightSquareBracket) => {
                self.table.clone_from(&self.path);
                self.place = Place::Done;
            }
            (Place::Done, T::RightSquareBracket)
                if self.text[..start].ends_with(']') && self.open.is_empty() => {}
            (Place::AfterKey, T::Dot) => self.place = Place::Key,
            (Place::AfterKey, T::Equals) => self.place = Place::Value,
            (Place::Value, _) => self.value(kind, start, end),
            (Place::Key | Place::Done, _) => self.between(kind, start, end),
            _ => self.lose(start, end),
        }
    }

    fn is_key_start(&self) -> bool {
        self.path.len() == self.key_start
    }

    fn key(&mut self, start: usize, end: usize) {
        let written = &self.text[start..end];
        // Written with escapes it is no key that is known.
        let quote = ['"', '\''].into_iter().find(|quote| written.starts_with(*quote));
        let part =
            quote.and_then(|quote| written.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(written);
        let is_shown = match self.grammar {
            Grammar::Toml | Grammar::Script => is_plain_key(&self.path, part),
            Grammar::Broken => is_word(part),
        };
        if !is_shown {
            self.hide(start, end);
        }
        self.path.push(part);
        self.place = if self.place == Place::Header { Place::AfterHeader } else { Place::AfterKey };
    }

    fn value(&mut self, kind: TokenKind, start: usize, end: usize) {
        use TokenKind as T;
        match (kind, self.open.last()) {
            (T::LeftSquareBracket, _) => self.open.push(Open::Array),
            (T::LeftCurlyBracket, _) => {
                self.key_start = self.path.len();
                self.open.push(Open::Table(self.key_start));
                self.place = Place::Key;
            }
            (T::RightSquareBracket, Some(Open::Array)) => self.close(),
            (T::Newline, Some(Open::Array)) => {}
            (T::Dot, _) => self.scalar(start, end),
            _ if is_text(kind) => self.scalar(start, end),
            _ => self.lose(start, end),
        }
    }

    /// What stands between keys and values.
    fn between(&mut self, kind: TokenKind, start: usize, end: usize) {
        use TokenKind as T;
        match (kind, self.open.last().copied()) {
            (T::Newline, None) if self.place == Place::Done || self.is_key_start() => self.begin(),
            (T::Newline, Some(_)) if self.place == Place::Done || self.is_key_start() => {}
            (T::Comma, Some(Open::Array)) if self.place == Place::Done => self.place = Place::Value,
            (T::Comma, Some(Open::Table(length))) if self.place == Place::Done => {
                self.path.truncate(length);
                self.key_start = length;
                self.place = Place::Key;
            }
            (T::RightSquareBracket, Some(Open::Array)) if self.place == Place::Done => self.close(),
            (T::RightCurlyBracket, Some(Open::Table(_)))
                if self.place == Place::Done || self.is_key_start() =>
            {
                self.close();
            }
            // A date and a time have a space between them.
            (T::Atom | T::Dot, _) if self.place == Place::Done && self.grammar == Grammar::Toml => {
                self.hide(start, end);
            }
            _ => self.lose(start, end),
        }
    }

    /// Begins a line with a key or a header.
    fn begin(&mut self) {
        self.path.clone_from(&self.table);
        self.key_start = self.path.len();
        self.place = Place::Key;
    }

    fn close(&mut self) {
        if let Some(Open::Table(length)) = self.open.pop() {
            self.path.truncate(length);
        }
        self.place = Place::Done;
    }

    fn scalar(&mut self, start: usize, end: usize) {
        let written = &self.text[start..end];
        let is_shown = is_own_value(&self.path)
            && match self.grammar {
                Grammar::Toml | Grammar::Script => is_plain(written),
                Grammar::Broken => is_harmless(written),
            };
        if is_shown {
            hide_in_url(&mut self.visible[start..end], written);
        } else {
            self.hide(start, end);
        }
        self.place = Place::Done;
    }

    fn lose(&mut self, start: usize, end: usize) {
        self.place = Place::Lost;
        self.hide(start, end);
    }

    /// Makes dots of a token, but for its lines and the quotes around it.
    fn hide(&mut self, start: usize, end: usize) {
        let is_edge = |byte: &u8| matches!(*byte, b'"' | b'\'');
        let token = &mut self.visible[start..end];
        let leading = token.iter().take_while(|byte| is_edge(byte)).count();
        let trailing = token.iter().rev().take_while(|byte| is_edge(byte)).count();
        let inside = token.len().saturating_sub(leading + trailing);
        make_dots(token.iter_mut().skip(leading).take(inside));
    }
}

fn is_bare(token: &Token) -> bool {
    matches!(token.kind(), TokenKind::Atom | TokenKind::Dot)
}

/// Whether a token is a key's part, or a value.
fn is_text(kind: TokenKind) -> bool {
    use TokenKind as T;
    matches!(kind, T::Atom | T::BasicString | T::LiteralString | T::MlBasicString | T::MlLiteralString)
}

/// Whether a value is written in one line without escapes, and neither PEM nor other keys and values are in it.
fn is_plain(written: &str) -> bool {
    let has_others = written.contains(['=', ',']) && !written.contains("//");
    !has_others && !written.contains("-----BEGIN") && !written.contains(['\\', '\n'])
}

/// Whether a value says nothing wherever it belongs: a number with or without its unit, an address, a boolean.
fn is_harmless(written: &str) -> bool {
    const UNITS: [&str; 10] = ["", "ms", "s", "m", "h", "B", "KiB", "MiB", "GiB", "%"];
    let bare = written.trim_matches(['"', '\'', ']']);
    let number = bare.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '['));
    bare == "true" || bare == "false" || UNITS.contains(&number)
}

/// The words of a text, each with its place.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive(char::is_whitespace).scan(0, |start, word| {
        let at = *start;
        *start += word.len();
        Some((at, word))
    })
}

/// Makes dots of what may be a user, a query and a fragment in `written`, whose bytes are `visible`.
fn hide_in_url(visible: &mut [u8], written: &str) {
    let is_edge = |c: char| matches!(c, '"' | '\'' | '`' | ' ' | '\n');
    let quote = written.len() - written.trim_start_matches(is_edge).len();
    let start = written.find("//").map_or(quote, |scheme| scheme + "//".len());
    let end = written.trim_end_matches(is_edge).len().max(start);
    let user = written[start..end].rfind('@').map_or(start, |at| start + at);
    let query = written[start..end].find(['?', '#']).map_or(end, |at| start + at + 1);
    make_dots(visible[start..user].iter_mut());
    make_dots(visible[query..end].iter_mut());
}

fn make_dots<'b>(bytes: impl Iterator<Item = &'b mut u8>) {
    bytes.filter(|byte| !matches!(**byte, b'\r' | b'\n')).for_each(|byte| *byte = b'.');
}
