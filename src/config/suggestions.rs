//! Unknown words, and the known word that was probably meant.

use super::sections::Sections;
use crate::text::{InvalidText, shown};

/// Former keys, and what to write now.
const FORMER: [(&str, &str); 1] = [(
    "http_networks",
    "write the networks with the URL that may lead there: http = [{ url = \"https://db.internal\", networks = \
     [\"10.1.0.0/16\"] }]",
)];

/// Advice for the unknown `key` in a table that allows `known`.
pub(super) fn instead_of(key: &str, known: &[&str], sections: Sections) -> Vec<String> {
    if let Some((_, now)) = FORMER.iter().find(|(former, _)| *former == key) {
        return vec![(*now).to_owned()];
    }
    let mut advice = Vec::new();
    if let Some(meant) = closest(key, known.iter().copied()) {
        advice.push(format!("did you mean `{meant}`?"));
    } else if let Some((section, _)) =
        sections.keys().find(|(section, name)| *name == key && !section.is_empty())
    {
        advice.push(format!("`{key}` is a key of [{section}]"));
    }
    advice.push(format!("known keys: {}", list(known)));
    advice
}

/// Refuses `text` where one of `words` is wanted.
pub(super) fn no_such_choice(text: &str, words: &[&str]) -> InvalidText {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let all = format!("write one of {}", quoted.join(", "));
    InvalidText::new("this is none of the choices").advise(match closest(text, words.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"? {all}"),
        None => all,
    })
}

/// Advice for `command`, which a plugin that describes `described` does not have.
#[must_use]
pub fn instead_of_command(command: &str, described: &[&str]) -> String {
    let all = match described {
        [] => "it describes no command".to_owned(),
        _ => format!("it describes {}", list(described)),
    };
    match closest(command, described.iter().copied()) {
        Some(meant) => format!("did you mean `{}`? {all}", shown(meant, 64)),
        None => all,
    }
}

/// Joins `words`, each quoted.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{}`", shown(word, 64))).collect::<Vec<_>>().join(", ")
}

/// Returns the word of `known` that `word` most likely misspells, if any: few letters differ, or one of the
/// two is a prefix of the other.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64; // the distance takes time by the product of the lengths
    const SHORTEST: usize = 4; // everything is close to a shorter one
    let plain = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    if word.len() > LONGEST {
        return None;
    }
    let word = plain(word);
    let likely = |candidate: &'a str| {
        let other = plain(candidate);
        let (distance, shorter) = (distance(&word, &other), word.len().min(other.len()));
        let is_slip = distance <= shorter / 3 || word.starts_with(&other) || other.starts_with(&word);
        (distance == 0 || (shorter >= SHORTEST && is_slip)).then_some((distance, candidate))
    };
    known.into_iter().filter_map(likely).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Returns true if `word` is one of `known`, written with a slip or cut short: it shows nothing else.
pub(super) fn is_near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> bool {
    const MORE: usize = 2; // a longer one may begin with a known word and go on with anything
    closest(word, known).is_some_and(|meant| word.len() <= meant.len() + MORE)
}

/// The edit distance: letters to add, remove, change or swap with their neighbour to turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(from != to)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant() {
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("litsen", Some("listen")),
            ("LISTEN", Some("listen")),
            ("private-key", Some("private_key")),
            ("certificates", Some("certificate")),
            ("cert", Some("certificate")),
            ("zebra", None),
            ("1.1", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, ["listen", "certificate", "private_key", "y", "1.2"]), meant, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        let count =
            |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("ab", "ba"), 1);
        assert_eq!(count("abc", "abc"), 0);
    }
}
