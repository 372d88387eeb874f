//! Text from a peer, a certificate or a plugin, made safe to show in a reply or a log line.
//!
//! Knows nothing of who sent it or where it goes.

use std::fmt::{self, Write};

/// Shows `text` on one line: control characters and those that turn the direction of writing are escaped, and
/// what comes after `max_chars` characters is cut and marked with `…`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    text: &'a str,
    max_chars: usize,
}

/// `text` on one line, at most `max_chars` characters of it.
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
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if u32::from(c) < 0x20 || c == '\u{7f}' => write!(f, "\\x{:02x}", u32::from(c))?,
                c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// C1 controls, line and paragraph separators, bidirectional controls and the byte order mark: characters that
/// change how the text around them is read without being seen.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::shown;

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
}
