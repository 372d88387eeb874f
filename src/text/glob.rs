//! Text in which `*` stands for any characters: a word of a permission pattern, or a file's name.

use std::fmt;

use memchr::memmem;

/// The byte that stands for a `*`. UTF-8 has no such byte, so no text is mistaken for it.
const ANY: u8 = 0xFF;

/// A text with wildcards, matched against one argument.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Glob(Vec<u8>);

impl Glob {
    /// Appends text in which each `*` stands for any characters.
    pub(crate) fn push_wild(&mut self, text: &str) {
        for (number, piece) in text.split('*').enumerate() {
            if number > 0 {
                self.0.push(ANY);
            }
            self.0.extend_from_slice(piece.as_bytes());
        }
    }

    /// Appends a byte that must occur as it is. UTF-8 has neither 0xFF nor 0xFE, so [`Glob::is_utf8`] finds
    /// both, and an escape makes no wildcard.
    pub(crate) fn push_byte(&mut self, byte: u8) {
        self.0.push(if byte == ANY { 0xFE } else { byte });
    }

    /// Returns true if the text between the wildcards is UTF-8, as every argument is.
    pub(crate) fn is_utf8(&self) -> bool {
        self.pieces().all(|piece| std::str::from_utf8(piece).is_ok())
    }

    /// Returns true if `argument` matches.
    pub(crate) fn matches(&self, argument: &str) -> bool {
        self.matches_bytes(argument.as_bytes())
    }

    /// Returns true if `self` matches everything that `other` matches. May miss that, but never claims it
    /// wrongly: a wildcard of `other` has to fall to one of `self`, since no text holds its byte.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.matches_bytes(&other.0)
    }

    /// Matches the first piece at the start, the last at the end, and each one between at its leftmost place.
    /// No place needs to be tried again: any match can be moved to the leftmost places, which leave the most
    /// text for the pieces that follow (Russ Cox, "Glob Matching Can Be Simple And Fast Too"). Each search is
    /// linear (Two-Way, Crochemore and Perrin, in `memmem`) and begins where the last one ended, so the time
    /// is in O(pattern + argument).
    fn matches_bytes(&self, argument: &[u8]) -> bool {
        let mut pieces = self.pieces();
        let Some(rest) = argument.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        for piece in pieces {
            let Some(place) = memmem::find(rest, piece) else { return false };
            rest = &rest[place + piece.len()..];
        }
        true
    }

    fn pieces(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == ANY)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.escape_ascii().to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a glob in which `*` is a wildcard.
    fn glob(text: &str) -> Glob {
        let mut glob = Glob::default();
        glob.push_wild(text);
        glob
    }

    #[test]
    fn a_glob_matches_the_whole_argument() {
        for (pattern, argument, matches) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "a b", true),
            ("a", "a", true),
            ("a", "A", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*ab*ab*", "aab-ab", true),
            ("*ab*ab*", "aab-a", false),
            ("*ab*b", "ab", false),
            ("ä*", "äö", true),
            ("*ö", "äö", true),
        ] {
            assert_eq!(glob(pattern).matches(argument), matches, "{pattern} on {argument}");
        }
    }

    #[test]
    fn a_glob_covers_another_only_if_it_matches_all_that_the_other_does() {
        for (pattern, other, covers) in [
            ("*", "", true),
            ("*", "a*b", true),
            ("a*", "a*", true),
            ("a*", "ab*", true),
            ("ab*", "a*", false),
            ("a", "*", false),
            ("*b*", "a*b*c", true),
            ("*b", "a*", false),
            ("a*", "a", true),
            ("a", "a*", false),
        ] {
            assert_eq!(glob(pattern).covers(&glob(other)), covers, "{pattern} and {other}");
        }
    }

    #[test]
    fn many_wildcards_cost_no_more_than_the_text() {
        let hard = glob(&"*a".repeat(500));
        let text = "a".repeat(8000);
        for _ in 0..1000 {
            assert!(!hard.matches(&format!("{text}b")));
        }
        assert!(hard.matches(&text));
    }
}
