//! The visible part of a config file in a fault: keys, and values known not to be secret. Every other byte
//! becomes a dot, so that positions in the text stay valid.
//!
//! Invariant: whatever is not recognised is hidden. In valid TOML, a value is shown if its path is one of
//! Lictor's own keys, and a command or a pattern as it stands. In any other text it must also be a number, an
//! address or a boolean. A key is shown if it is known, nearly so, or a name that the operator chooses; where
//! the place of a secret is expected, and in a text that is no TOML, only the first two. Comments are hidden:
//! they often hold the previous value.
//!
//! Knows only as much of the config file's form as it needs to find the path of each value. Uses the parser's
//! own tokens, so that both agree where a string ends.

use std::borrow::Cow;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use super::sections::{Sections, is_section};
use super::suggestions::is_near;
use crate::text::shown;

/// The kind of text to redact.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Valid TOML.
    Toml,
    /// Invalid TOML: any part of it may be anything.
    Broken,
    /// A script, or a text meant to be one: it holds nothing secret from the person who runs it.
    Script,
}

/// Returns `text` with everything hidden that may be secret.
pub(super) fn document(text: &str, grammar: Grammar, sections: Sections) -> String {
    if grammar == Grammar::Script {
        return text.to_owned();
    }
    let mut walk = Walk {
        text,
        grammar,
        sections,
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
        // A bare value such as `127.0.0.1:1` is several tokens.
        if is_bare(&token) && walk.place == Place::Value {
            while let Some(next) = tokens.next_if(is_bare) {
                end = next.span().end();
            }
        }
        walk.step(token.kind(), token.span().start(), end);
    }
    // Only whole tokens, or ranges between ASCII characters, were replaced, and with ASCII.
    String::from_utf8(walk.visible).unwrap_or_default()
}

/// The name in messages of `key` in the table `table`: the key itself, unless it may be a misplaced secret.
pub(super) fn key<'k>(table: &str, key: &'k str, sections: Sections) -> Cow<'k, str> {
    let table: Vec<_> = if table.is_empty() { Vec::new() } else { table.split('.').collect() };
    if is_plain_key(&table, key, sections) {
        shown(key, MOST_KEY_CHARS).to_string().into()
    } else {
        "…".into()
    }
}

/// The name in messages of `key` in a text that is no TOML, where it may be a part of anything.
pub(super) fn key_of_broken(key: &str, sections: Sections) -> &str {
    if is_known(key, sections) { key } else { "…" }
}

/// Hides user, password, query and fragment of every URL in a message's `text`, and of anything that may be a
/// damaged URL.
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

/// The longest key shown, in characters.
const MOST_KEY_CHARS: usize = 64;

/// Keys whose values are tables.
const TABLES: [&str; 4] = ["limits", "config", "grants", "directories"];

/// Returns true if `path` leads to a value of one of Lictor's own keys.
fn is_own_value(path: &[&str], sections: Sections) -> bool {
    let Some((key, table)) = path.split_last() else { return false };
    let is_folder = is_section("plugins.NAME.grants.directories", table);
    is_folder
        || path == ["include"]
        || (!table.is_empty() && !TABLES.contains(key) && sections.have_in(table, key))
}

/// Returns true if the value at `path` is a list of commands or of patterns. None holds a secret: `@commands`
/// shows them to clients.
fn is_commands(path: &[&str]) -> bool {
    path.last() == Some(&"commands")
}

/// Returns true if the value at `path` is a URL, and not a path or a name with such signs.
fn is_url(path: &[&str]) -> bool {
    matches!(path.last(), Some(&("http" | "url" | "otlp")))
}

/// Returns true if `key` of `table` is a name chosen by the operator, or a word.
fn is_plain_key(table: &[&str], key: &str, sections: Sections) -> bool {
    let is_name = ["clients", "plugins", "roles", "plugins.NAME.grants.directories"]
        .iter()
        .any(|it| is_section(it, table));
    is_name || (!is_in_setting(table) && is_word(key)) || is_known(key, sections)
}

/// Returns true if `table` is a plugin's setting, or in one: its keys name the place of a secret, and one
/// that does not may be the secret.
fn is_in_setting(table: &[&str]) -> bool {
    // A name in `table` may have dots, and so take several elements.
    let config = table.iter().skip(2).position(|key| *key == "config");
    table.first() == Some(&"plugins") && config.is_some_and(|at| table.len() > at + 3)
}

/// Returns true if `key` is known, or a slip of a known one.
fn is_known(key: &str, sections: Sections) -> bool {
    sections.have(key) || is_near(key, sections.keys().map(|(_, known)| known))
}

/// Returns true if `key` is made only of letters, as names of settings mostly are, and most secrets are not.
fn is_word(key: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-');
    key.len() <= MOST_KEY_CHARS && key.bytes().all(is_letter)
}

/// A walk over the tokens of a text.
struct Walk<'t> {
    text: &'t str,
    grammar: Grammar,
    sections: Sections,
    visible: Vec<u8>,
    /// The path of the last header.
    table: Vec<&'t str>,
    /// The path of the next key or value.
    path: Vec<&'t str>,
    /// The number of path elements before the key's own parts.
    key_start: usize,
    open: Vec<Open>,
    place: Place,
}

/// An open bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    /// A table, and the length of its path.
    Table(usize),
}

/// The element expected next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A key, or its next part.
    Key,
    /// The element after a part of a key: a dot, or `=` and the value.
    AfterKey,
    /// A part of a header.
    Header,
    AfterHeader,
    Value,
    /// The element after a value or a complete header.
    Done,
    /// Position lost: all further text is hidden.
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
            // A header of an array of tables.
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
        // A key written with escapes never matches a known one.
        let quote = ['"', '\''].into_iter().find(|quote| written.starts_with(*quote));
        let part =
            quote.and_then(|quote| written.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(written);
        let is_shown = match self.grammar {
            Grammar::Toml | Grammar::Script => is_plain_key(&self.path, part, self.sections),
            Grammar::Broken => {
                let is_name = matches!(self.path[..], ["clients" | "plugins" | "roles"]);
                (is_name && self.place == Place::Header && is_word(part)) || is_known(part, self.sections)
            }
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

    /// Handles the tokens between keys and values.
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
            // Date and time are separated by a space.
            (T::Atom | T::Dot, _) if self.place == Place::Done && self.grammar == Grammar::Toml => {
                self.hide(start, end);
            }
            _ => self.lose(start, end),
        }
    }

    /// Starts a line with a key or a header.
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
        let (written, path) = (&self.text[start..end], &self.path);
        let is_shown = is_own_value(path, self.sections)
            && match self.grammar {
                Grammar::Toml | Grammar::Script => is_commands(path) || is_plain(written),
                Grammar::Broken => is_harmless(written),
            };
        if !is_shown {
            self.hide(start, end);
        } else if !is_commands(path) && (is_url(path) || written.contains("//")) {
            hide_in_url(&mut self.visible[start..end], written);
        }
        self.place = Place::Done;
    }

    fn lose(&mut self, start: usize, end: usize) {
        self.place = Place::Lost;
        self.hide(start, end);
    }

    /// Replaces a token with dots, except for its line breaks and the quotes around it.
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

/// Returns true if a token is part of a key, or a value.
fn is_text(kind: TokenKind) -> bool {
    use TokenKind as T;
    matches!(kind, T::Atom | T::BasicString | T::LiteralString | T::MlBasicString | T::MlLiteralString)
}

/// Returns true if a value is on one line, without escapes that hide its characters, and contains neither PEM
/// nor other keys and values.
fn is_plain(written: &str) -> bool {
    const HIDING: [&str; 5] = ["\\u", "\\U", "\\x", "\\n", "\\r"];
    let has_others = written.contains(['=', ',']) && !written.contains("//");
    let is_hiding = written.contains('\n') || HIDING.iter().any(|escape| written.contains(escape));
    !has_others && !written.contains("-----BEGIN") && !is_hiding
}

/// Returns true if a value reveals nothing wherever it belongs: a number with or without a unit, an address,
/// a boolean.
fn is_harmless(written: &str) -> bool {
    const UNITS: [&str; 11] = ["", "ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB", "%"];
    let bare = written.trim_matches(['"', '\'', ']']);
    let number = bare.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '['));
    bare == "true" || bare == "false" || UNITS.contains(&number)
}

/// Iterates over the words of a text, each with its offset.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive(char::is_whitespace).scan(0, |start, word| {
        let at = *start;
        *start += word.len();
        Some((at, word))
    })
}

/// Replaces with dots whatever may be a user, a query or a fragment in `written`, whose bytes are `visible`.
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

#[cfg(test)]
mod tests;
