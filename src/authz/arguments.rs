//! The argument words of a permission pattern.

use std::fmt;

use crate::text::{Glob, InvalidText};
use crate::wire::unescape;

/// The most words of a pattern, its command among them.
pub(super) const MAX_WORDS: usize = 32;

/// The first argument by which a request does not match a pattern, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// This one differs from its word.
    Argument(usize),
    /// This one is missing.
    Missing(usize),
    /// This one is one too many.
    Further(usize),
}

impl Mismatch {
    /// The number of arguments that matched before it.
    #[must_use]
    pub fn matched(self) -> usize {
        let (Self::Argument(number) | Self::Missing(number) | Self::Further(number)) = self;
        number - 1
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(number) => write!(f, "argument {number} differs"),
            Self::Missing(number) => write!(f, "argument {number} is missing"),
            Self::Further(1) => f.write_str("no argument is allowed"),
            Self::Further(number) => write!(f, "argument {number} is one too many"),
        }
    }
}

/// A pattern of all arguments after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// A word for each of the first arguments.
    words: Vec<Glob>,
    further: Further,
}

/// Arguments beyond the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Further {
    /// None may follow.
    Refused,
    /// Any may follow.
    Allowed,
}

impl Arguments {
    /// Parses the words after the command and its space. `before` is the number of characters before `text`.
    ///
    /// # Errors
    ///
    /// The fault and its position in the pattern.
    pub(super) fn parse(text: &str, before: usize) -> Result<Self, InvalidText> {
        if text == "." {
            return Ok(Self { words: Vec::new(), further: Further::Refused });
        }
        let mut parsed = Self { words: Vec::new(), further: Further::Refused };
        let mut rest = text;
        loop {
            let position = before + chars(text) - chars(rest) + 1;
            if parsed.words.len() + 1 == MAX_WORDS {
                return Err(too_many());
            }
            let (word, length) =
                if rest.starts_with('"') { quoted(rest, position) } else { plain(rest, position) }?;
            let is_last = length == rest.len();
            if rest.get(..length) == Some("...") {
                if !is_last {
                    return Err(dots_inside(position));
                }
                parsed.further = Further::Allowed;
                return Ok(parsed);
            }
            parsed.words.push(word);
            if is_last {
                return Ok(parsed);
            }
            rest = rest.get(length + 1..).unwrap_or_default();
        }
    }

    /// Returns true if the `arguments` after a command match.
    pub(super) fn match_all<'a>(&self, arguments: impl ExactSizeIterator<Item = &'a str>) -> bool {
        let fits = match self.further {
            Further::Refused => arguments.len() == self.words.len(),
            Further::Allowed => arguments.len() >= self.words.len(),
        };
        fits && self.words.iter().zip(arguments).all(|(word, argument)| word.matches(argument))
    }

    /// Returns the first part in which the `arguments` after a command do not match; `None` if they do.
    pub(super) fn mismatch<'a>(&self, arguments: impl ExactSizeIterator<Item = &'a str>) -> Option<Mismatch> {
        let (words, given) = (self.words.len(), arguments.len());
        let differs = self.words.iter().zip(arguments).position(|(word, argument)| !word.matches(argument));
        match (differs, self.further) {
            (Some(place), _) => Some(Mismatch::Argument(place + 1)),
            (None, _) if given < words => Some(Mismatch::Missing(given + 1)),
            (None, Further::Refused) if given > words => Some(Mismatch::Further(words + 1)),
            (None, _) => None,
        }
    }

    /// Returns true if `self` matches everything that `other` matches, as [`Glob::covers`] does.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let fits = match self.further {
            Further::Refused => other.further == Further::Refused && other.words.len() == self.words.len(),
            Further::Allowed => other.words.len() >= self.words.len(),
        };
        fits && self.words.iter().zip(&other.words).all(|(word, other)| word.covers(other))
    }

    /// Returns true if any arguments match.
    pub(super) fn are_free(&self) -> bool {
        self.words.is_empty() && self.further == Further::Allowed
    }
}

/// Writes the word that matches `argument` alone.
pub(super) fn literal(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '*');
    // These quotes would leave a reader in doubt.
    let is_quote = argument.starts_with(['\'', '`']);
    if !argument.is_empty()
        && !is_quote
        && argument.chars().all(is_plain)
        && !argument.chars().all(|c| c == '.')
    {
        return argument.to_owned();
    }
    let mut word = String::from("\"");
    for c in argument.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '\r' => word.push_str("\\r"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            '*' => word.push_str("\\x2a"),
            c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                word.push_str(&format!("\\x{byte:02x}"));
            }),
            c => word.push(c),
        }
    }
    word + "\""
}

/// Reads the unquoted word at the start of `text`; returns it and its length.
fn plain(text: &str, position: usize) -> Result<(Glob, usize), InvalidText> {
    let length = text.find(' ').unwrap_or(text.len());
    let word = text.get(..length).unwrap_or_default();
    if word.is_empty() {
        let what = format!("a word is missing at position {position}");
        let advice = r#"write one space between words and none at the end; an empty argument is `""`"#;
        return Err(InvalidText::new(what).advise(advice));
    }
    check_visible(word, position)?;
    let mut glob = Glob::default();
    glob.push_wild(word);
    Ok((glob, length))
}

/// Reads the quoted word at the start of `text`; returns it and its length. `position` is that of its opening
/// quote.
fn quoted(text: &str, position: usize) -> Result<(Glob, usize), InvalidText> {
    let mut glob = Glob::default();
    let mut rest = text.get(1..).unwrap_or_default();
    loop {
        let Some(length) = rest.find(['"', '\\']) else {
            let what = format!("the quote at position {position} is not closed");
            return Err(InvalidText::new(what).advise(r#"close it with another `"`"#));
        };
        let at = |rest: &str| position + chars(text) - chars(rest);
        let (plain, end) = rest.split_at(length);
        check_visible(plain, at(rest))?;
        glob.push_wild(plain);
        if let Some(after) = end.strip_prefix('"') {
            if !after.is_empty() && !after.starts_with(' ') {
                let what = format!("a space is missing at position {}", at(after));
                return Err(InvalidText::new(what).advise(r#"quote the whole word; inside, a quote is `\"`"#));
            }
            break finished(glob, text.len() - after.len(), position);
        }
        let Some((byte, length)) = unescape(end.as_bytes().get(1..).unwrap_or_default()) else {
            let what = format!("the `\\` at position {} begins no escape", at(end));
            let advice = r#"escapes are `\"` `\\` `\r` `\n` `\t` `\xHH`"#;
            return Err(InvalidText::new(what).advise(advice));
        };
        glob.push_byte(byte);
        rest = end.get(1 + length..).unwrap_or_default();
    }
}

/// Checks a quoted word, whose escapes may be any bytes.
fn finished(glob: Glob, length: usize, position: usize) -> Result<(Glob, usize), InvalidText> {
    if glob.is_utf8() {
        return Ok((glob, length));
    }
    let what = format!("the word at position {position} is not UTF-8, which every argument is");
    Err(InvalidText::new(what).advise(r"write its characters instead of `\xHH`"))
}

/// Refuses control characters, which a head can't hold. `text` begins at `position`.
fn check_visible(text: &str, position: usize) -> Result<(), InvalidText> {
    match text.chars().enumerate().find(|(_, c)| c.is_control()) {
        None => Ok(()),
        Some((number, c)) => {
            let what = format!("{c:?} at position {} can't stand in a pattern", position + number);
            Err(InvalidText::new(what).advise(r"write it as `\r`, `\n`, `\t` or `\xHH`, in a quoted word"))
        }
    }
}

fn too_many() -> InvalidText {
    let what = format!("a pattern has at most {MAX_WORDS} words");
    InvalidText::new(what).advise("write `...` as the last word: it allows any further arguments")
}

fn dots_inside(position: usize) -> InvalidText {
    let what = format!("`...` at position {position} is not the last word");
    InvalidText::new(what).advise(r#"leave out the words after it; an argument of three dots is `"..."`"#)
}

fn chars(text: &str) -> usize {
    text.chars().count()
}
