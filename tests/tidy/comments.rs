//! Comments: the first word of their documentation is a noun or a verb, and no question word; their lines are
//! no wider than those of code.

use super::{none, rust_files, text};

/// Words that name a thing by a clause instead of by a noun.
const QUESTION_WORDS: [&str; 9] = ["What", "Whether", "How", "Where", "When", "Why", "Who", "Whom", "Which"];

/// One comment in so many may begin with one: the help texts of the command line, which say what an option
/// means.
const ONE_IN: usize = 20;

#[test]
fn documentation_comments_begin_with_a_noun_or_a_verb() {
    let mut comments = 0;
    let mut faults = Vec::new();
    for path in rust_files() {
        let text = text(&path);
        for (number, first) in first_lines(&text) {
            comments += 1;
            if begins_with_a_question(first) {
                faults.push(format!("{path}:{number}: {first}"));
            }
        }
    }
    assert!(comments > 1_000, "{comments} comments: are they still found?");
    let count = faults.len();
    assert!(count * ONE_IN < comments, "{count} of {comments} do not:\n  {}", faults.join("\n  "));
}

#[test]
fn comments_are_no_wider_than_code() {
    let format: toml::Table = text("rustfmt.toml").parse().unwrap();
    let width = format["max_width"].as_integer().and_then(|width| usize::try_from(width).ok()).unwrap();
    let mut comments = 0;
    let mut faults = Vec::new();
    for path in rust_files() {
        for (number, line) in (1..).zip(text(&path).lines()).filter(|(_, line)| is_comment(line)) {
            comments += 1;
            let columns = line.chars().count();
            if columns > width && !is_unbreakable(line) {
                faults.push(format!("{path}:{number}: {columns} columns, at most {width}: wrap the comment"));
            }
        }
    }
    none(&faults, comments);
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Returns true for a line of a comment that can't be wrapped: a URL, a row of a table, or indented code.
fn is_unbreakable(line: &str) -> bool {
    let words = line.trim_start().trim_start_matches(['/', '!']);
    words.contains("://") || words.trim_start().starts_with('|') || words.starts_with("     ")
}

/// The first line of each documentation comment, with its number.
fn first_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        let words = words_of(line);
        let begins = !std::mem::replace(&mut is_inside, words.is_some());
        words.filter(|_| begins).map(|words| (number, words))
    })
}

/// The text of a line of a documentation comment.
fn words_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim_start)
}

fn begins_with_a_question(line: &str) -> bool {
    let first = line.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    QUESTION_WORDS.contains(&first)
}
