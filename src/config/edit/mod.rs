//! Edits of a config's text, as text: whatever an edit does not concern keeps its bytes.
//!
//! Pure. `layout` finds the statements, `section` adds and takes out whole sections, `pins` adds a pin.

mod layout;
mod pins;
mod section;

use similar::TextDiff;

pub use pins::{WrittenPin, pins};
pub use section::{Section, Table, section_line, section_names, without_section};

use super::raw::SECTIONS;
use super::redact::{self, Grammar};

/// Lines around a change that are shown with it.
const CONTEXT_LINES: usize = 3;

/// Shows the change from one valid config's text to another as a unified difference, with everything hidden
/// that may be secret.
#[must_use]
pub fn difference(old: &str, new: &str) -> String {
    let (old, new) = (visible(old), visible(new));
    let difference = TextDiff::from_lines(&old, &new);
    difference.unified_diff().context_radius(CONTEXT_LINES).missing_newline_hint(false).to_string()
}

/// Returns the lines of `text` as they may be shown, each hidden comment as one sign.
fn visible(text: &str) -> String {
    let redacted = redact::document(text, Grammar::Toml, SECTIONS);
    let line = |line: &str| match line.rsplit_once('#') {
        Some((before, hidden)) if before.trim_end() != before || before.is_empty() => {
            match hidden.chars().all(|c| matches!(c, '.' | '"' | '\'')) && !hidden.is_empty() {
                true => format!("{before}# …\n"),
                false => format!("{line}\n"),
            }
        }
        _ => format!("{line}\n"),
    };
    redacted.lines().map(line).collect()
}

#[cfg(test)]
mod tests;
