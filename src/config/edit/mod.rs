//! Edits of a config's text, as text: whatever an edit does not concern keeps its bytes.
//!
//! Pure. `layout` finds the statements, `section` adds and takes out whole sections, `pins` reads pins and
//! adds one.

mod layout;
mod pins;
mod section;

use similar::TextDiff;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

pub use pins::{WrittenPin, pins, server_files};
pub use section::{Section, Table, section_line, section_names, without_section};

use super::raw::SECTIONS;
use super::redact::{self, Grammar};

/// Lines around a change that are shown with it.
const CONTEXT_LINES: usize = 3;

/// Shows the change from one valid config's text to another as a unified difference, with everything hidden
/// that may be secret.
#[must_use]
pub fn difference(old: &str, new: &str) -> String {
    let (shown_old, shown_new) = (visible(old), visible(new));
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    // Of the texts themselves: a line that changes only in what is hidden has changed all the same.
    let difference = TextDiff::from_slices(&old, &new);
    let mut shown = String::new();
    for hunk in difference.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        shown.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            let line = match change.new_index() {
                Some(index) => shown_new.get(index),
                None => change.old_index().and_then(|index| shown_old.get(index)),
            };
            shown.push_str(&format!("{}{}\n", change.tag(), line.map_or("", String::as_str)));
        }
    }
    shown
}

/// Returns the lines of `text` as they may be shown, each hidden comment as one sign.
fn visible(text: &str) -> Vec<String> {
    let mut visible = redact::document(text, Grammar::Toml, SECTIONS);
    let comments: Vec<_> =
        Source::new(text).lex().filter(|token| token.kind() == TokenKind::Comment).collect();
    for comment in comments.iter().rev().map(|token| token.span()).filter(|span| span.len() > 1) {
        visible.replace_range(comment.start()..comment.end(), "# …");
    }
    visible.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
