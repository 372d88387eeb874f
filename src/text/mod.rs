//! Foreign text: text influenced by a client, a certificate, a plugin, a server or another's file, made safe
//! to show.
//!
//! Such text reaches a reply, the log or a terminal only through the types of this module. Knows nothing of
//! its sender or destination.

mod glob;
mod invalid;

use std::borrow::Cow;
use std::fmt::{self, Write};

pub(crate) use glob::Glob;
pub use invalid::InvalidText;
pub(crate) use invalid::check_length;

/// Foreign text on one line: hidden and control characters are escaped; beyond `max_chars` characters it is
/// truncated and marked with `…`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    text: &'a str,
    max_chars: usize,
}

/// Shows `text` on one line, at most `max_chars` characters of it.
#[must_use]
pub fn shown(text: &str, max_chars: usize) -> Shown<'_> {
    Shown { text, max_chars }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, character) in self.text.chars().enumerate() {
            if position == self.max_chars {
                return f.write_char('…');
            }
            write_visible(character, f)?;
        }
        Ok(())
    }
}

/// Foreign text of several lines, such as a backtrace. Each line is escaped, and all but the first are marked
/// to distinguish them from surrounding lines.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a>(&'a str);

/// Maximum lines, characters of a line, and total characters that a [`Block`] shows.
const MAX_BLOCK_LINES: usize = 200;
const MAX_LINE_CHARS: usize = 1024;
const MAX_BLOCK_CHARS: usize = 16 << 10;

/// Prefix of a [`Block`]'s lines, so that none can pass for a line from another source.
const SET_APART: &str = "\n  | ";

/// Shows `text` line by line.
#[must_use]
pub fn block(text: &str) -> Block<'_> {
    Block(text.trim_end())
}

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = MAX_BLOCK_CHARS;
        for (number, line) in self.0.lines().enumerate() {
            if number > 0 {
                f.write_str(SET_APART)?;
            }
            if number == MAX_BLOCK_LINES || left == 0 {
                return f.write_char('…');
            }
            let most = left.min(MAX_LINE_CHARS);
            write!(f, "{}", shown(line, most))?;
            left -= line.chars().take(most).count();
        }
        Ok(())
    }
}

/// Foreign text that is stored, such as the reason why a component does not load. Can only be shown, as a
/// [`Block`].
#[derive(Clone, PartialEq, Eq)]
pub struct Foreign(String);

impl Foreign {
    /// The same text with a further line.
    #[must_use]
    pub fn with_line(self, line: &str) -> Self {
        Self(format!("{}\n{line}", self.0))
    }
}

impl<T: Into<String>> From<T> for Foreign {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", block(&self.0))
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", block(&self.0).to_string())
    }
}

/// Foreign bytes for a terminal, in pieces as they arrive. Line ends and tabs stay; bytes that are not text
/// are written as `\xHH`.
#[derive(Debug, Default)]
pub struct Terminal {
    /// An incomplete character or line end.
    begun: Vec<u8>,
}

impl Terminal {
    /// Converts the next piece.
    pub fn piece(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let pieces = std::mem::take(&mut self.begun);
        let mut visible = String::with_capacity(pieces.len());
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let (text, fault) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(error) => {
                    let (text, _) = rest.split_at(error.valid_up_to());
                    (std::str::from_utf8(text).unwrap_or_default(), Some(error.error_len()))
                }
            };
            rest = &rest[text.len()..];
            let is_end = rest.is_empty();
            let cut = text.strip_suffix('\r').filter(|_| is_end);
            push_lines(cut.unwrap_or(text), &mut visible);
            match fault {
                None if cut.is_some() => self.begun.push(b'\r'),
                None => {}
                Some(None) => {
                    self.begun.extend_from_slice(rest);
                    break;
                }
                Some(Some(length)) => {
                    let (broken, after) = rest.split_at(length);
                    push_bytes(broken, &mut visible);
                    rest = after;
                }
            }
        }
        visible
    }

    /// Converts the rest once no more bytes follow.
    pub fn end(&mut self) -> String {
        let mut visible = String::new();
        push_bytes(&std::mem::take(&mut self.begun), &mut visible);
        visible
    }
}

/// Escapes `text` for a terminal: all hidden and control characters except line ends and tabs.
#[must_use]
pub fn lines(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    push_lines(text, &mut visible);
    visible
}

/// Writes hidden characters in `json` as JSON's own escapes, which changes no value: in a JSON document only
/// strings contain such characters.
#[must_use]
pub fn json(json: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| c != '\n' && is_hidden(c);
    if !json.contains(is_hidden) {
        return Cow::Borrowed(json);
    }
    let mut visible = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(visible, "\\u{unit:04x}");
            }
        } else {
            visible.push(c);
        }
    }
    Cow::Owned(visible)
}

/// Replaces each hidden character of `text` by another of the same length in bytes, so that positions stay
/// valid; keeps line ends and tabs.
#[must_use]
pub fn stand_ins(text: &str) -> Cow<'_, str> {
    let is_replaced = |c: char| !matches!(c, '\n' | '\t') && is_hidden(c);
    if !text.contains(is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c.len_utf8() {
            _ if !is_replaced(c) => visible.push(c),
            // A CR LF line end.
            1 if c == '\r' && rest.peek() == Some(&'\n') => visible.push(c),
            1 => visible.push('?'),
            2 => visible.push('¿'),
            3 => visible.push(char::REPLACEMENT_CHARACTER),
            _ => visible.extend([char::REPLACEMENT_CHARACTER, '?']),
        }
    }
    Cow::Owned(visible)
}

/// Quotes `text` so that a shell reads it as exactly one word, for printed commands that users paste.
#[must_use]
pub fn shell_word(text: &str) -> String {
    // Plain anywhere in a word, in any shell.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn push_lines(text: &str, visible: &mut String) {
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' | '\t' => visible.push(c),
            // A CR LF line end.
            '\r' if characters.peek() == Some(&'\n') => {}
            // Writing to a string cannot fail.
            c => drop(write_visible(c, visible)),
        }
    }
}

fn push_bytes(bytes: &[u8], visible: &mut String) {
    for &byte in bytes {
        // Writing to a string cannot fail.
        let _ = if byte == b'\r' { visible.write_str("\\r") } else { write!(visible, "\\x{byte:02x}") };
    }
}

fn write_visible(c: char, out: &mut impl Write) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if !is_hidden(c) => out.write_char(c),
        c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// Returns true if `c` is invisible, changes how the text around it is read, or controls a terminal.
fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&c)) || is_noncharacter(c)
}

/// Non-ASCII characters that are hidden, by Unicode 17: the control characters (`Cc`);
/// `Default_Ignorable_Code_Point` of `DerivedCoreProperties.txt`, which includes `Bidi_Control` of
/// `PropList.txt`, zero-width characters, variation selectors and tags; line and paragraph separators (`Zl`,
/// `Zp`); and the marks of interlinear annotation.
const HIDDEN: &[(char, char)] = &[
    ('\u{80}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Code points that are no characters, by definition: nothing shows them.
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_line_or_hides_is_escaped() {
        let text = "a\r\nb\tc\0d\x1b[31m\u{85}\u{2028}\u{202e}é";
        assert_eq!(shown(text, 100).to_string(), "a\\r\\nb\\tc\\x00d\\x1b[31m\\u{85}\\u{2028}\\u{202e}é");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shown("ééé", 2).to_string(), "éé…");
        assert_eq!(shown("ééé", 3).to_string(), "ééé");
    }

    /// The properties, written out: each range by its ends, and the visible characters next to it.
    #[test]
    fn every_hidden_character_is_known_and_no_other() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            assert!(is_hidden(c), "{:x}", u32::from(c));
        }
        let bidi_control = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}";
        let zero_width = "\u{200b}\u{200c}\u{200d}\u{2060}\u{2064}\u{feff}\u{180e}\u{34f}";
        let fillers = "\u{115f}\u{1160}\u{3164}\u{ffa0}\u{17b4}\u{17b5}";
        let selectors = "\u{fe00}\u{fe0f}\u{180b}\u{180f}\u{e0100}\u{e01ef}";
        let others =
            "\u{ad}\u{2028}\u{2029}\u{fff9}\u{fffb}\u{1bca0}\u{1d17a}\u{e0001}\u{e0020}\u{e007f}\u{e0fff}";
        let nothing = "\u{fffe}\u{ffff}\u{fdd0}\u{fdef}\u{1fffe}\u{10ffff}";
        for c in [bidi_control, zero_width, fillers, selectors, others, nothing].concat().chars() {
            assert!(is_hidden(c), "{:x}", u32::from(c));
            assert_eq!(shown(&c.to_string(), 9).to_string(), format!("\\u{{{:x}}}", u32::from(c)));
        }
        let beside = "\u{a0}\u{ae}\u{61b}\u{61d}\u{200a}\u{2010}\u{2027}\u{202f}\u{205f}\u{2070}\u{fdcf}\u{fdf0}\u{fffc}";
        let seen = "azAZ09 ~é漢字🦀\u{e000}\u{f8ff}\u{600}\u{fffd}\u{1d172}\u{1d17b}";
        for c in [beside, seen].concat().chars() {
            assert!(!is_hidden(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn lines_of_a_block_are_set_apart() {
        let text = "trapped\n  0: x\n2026-11-29 INFO \x1b]0;y\x07\r\n\n";
        assert_eq!(block(text).to_string(), "trapped\n  |   0: x\n  | 2026-11-29 INFO \\x1b]0;y\\x07");
        let many = "x\n".repeat(MAX_BLOCK_LINES + 5);
        assert_eq!(block(&many).to_string().lines().count(), MAX_BLOCK_LINES + 1);
        assert!(block(&many).to_string().ends_with("\n  | …"));
        let long = format!("{}\n", "\u{202e}".repeat(MAX_LINE_CHARS)).repeat(MAX_BLOCK_LINES);
        assert_eq!(block(&long).to_string().matches("\\u{202e}").count(), MAX_BLOCK_CHARS);
    }

    #[test]
    fn a_terminal_is_given_lines_and_nothing_that_it_obeys() {
        for (bytes, visible) in [
            (&b"a\tb\r\nc\n"[..], "a\tb\nc\n"),
            (b"x\x1b]0;PWNED\x07\x1b]52;c;eA==\x07y", "x\\x1b]0;PWNED\\x07\\x1b]52;c;eA==\\x07y"),
            (b"over\rwritten\x08\x7f", "over\\rwritten\\x08\\x7f"),
            // CSI of one byte and of two.
            (b"\x9b31m\xc2\x9b31m", "\\x9b31m\\u{9b}31m"),
            ("é\u{202e}".as_bytes(), "é\\u{202e}"),
            (b"cut \xe2\x82", "cut \\xe2\\x82"),
            (b"end\r", "end\\r"),
            (b"\xff\xfe", "\\xff\\xfe"),
        ] {
            for size in 1..=bytes.len() {
                let mut terminal = Terminal::default();
                let mut seen: String = bytes.chunks(size).map(|piece| terminal.piece(piece)).collect();
                seen += &terminal.end();
                assert_eq!(seen, visible, "{bytes:?} by {size}");
            }
        }
        assert_eq!(lines("a\r\n\tb\x1b"), "a\n\tb\\x1b");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = "a\u{9b}\u{202e}\u{e0041}é\u{7f}\n\x1b";
        let document = serde_json::to_string(value).unwrap();
        let visible = json(&document);
        assert_eq!(visible, r#""a\u009b\u202e\udb40\udc41é\u007f\n\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&visible).unwrap(), value);
        assert!(matches!(json("{}\n"), Cow::Borrowed("{}\n")));
    }

    #[test]
    fn stand_ins_leave_places_as_they_are() {
        let text = "a\x1b\tb\r\nc\rd\u{9b}\u{202e}\u{e0041}é";
        let visible = stand_ins(text);
        assert_eq!(visible, "a?\tb\r\nc?d¿\u{fffd}\u{fffd}?é");
        assert_eq!(visible.len(), text.len());
    }
}
