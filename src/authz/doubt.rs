//! Doubts about a valid pattern: characters that quote or escape elsewhere, and are plain in a pattern.

use super::pattern::PermissionPattern;

/// A doubt about a pattern, and the patterns that leave none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The doubt, in one sentence.
    pub what: String,
    /// The pattern that was probably meant.
    pub meant: Option<String>,
    /// The pattern as it is understood, written so that it raises no doubt.
    pub as_is: String,
}

/// Returns the first doubt about `pattern`.
#[must_use]
pub fn doubt(pattern: &PermissionPattern) -> Option<Doubt> {
    let words = words(pattern.as_ref());
    let (place, mark) =
        words.iter().enumerate().skip(1).find_map(|(place, word)| Some((place, doubtful(word)?)))?;
    let what = match mark {
        '\\' => "`\\` is no escape outside double quotes".to_owned(),
        '"' => "`\"` quotes only at the start of a word".to_owned(),
        '`' => "a backtick does not quote".to_owned(),
        quote => format!("`{quote}` does not quote"),
    };
    let unquoted = |word: &&str| doubtful(word).map_or_else(|| (*word).to_owned(), |_| in_quotes(word));
    let as_is = words.iter().take(1).map(|word| (*word).to_owned()).chain(words.iter().skip(1).map(unquoted));
    let as_is = as_is.collect::<Vec<_>>().join(" ");
    let meant = meant(&words, place, mark).filter(|text| *text != as_is);
    let meant =
        meant.filter(|text| text.parse::<PermissionPattern>().is_ok_and(|meant| doubt(&meant).is_none()));
    Some(Doubt { what, meant, as_is })
}

/// Splits a valid pattern into its words as written.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let length = if text.starts_with('"') { quoted_length(text) } else { text.find(' ') };
        let (word, after) = text.split_at(length.unwrap_or(text.len()));
        words.push(word);
        rest = after.strip_prefix(' ');
    }
    words
}

/// Returns the length of the quoted word at the start of `text`.
fn quoted_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map(|end| end + 2)
}

/// Returns the character that makes the meaning of an unquoted word doubtful.
fn doubtful(word: &str) -> Option<char> {
    let first = word.chars().next().filter(|first| *first != '"')?;
    let inner = word.chars().find(|c| matches!(c, '"' | '\\'));
    Some(first).filter(|first| closing(*first).is_some()).or(inner)
}

/// Returns the characters that end what `quote` begins in other languages; `None` if it is no quote there.
fn closing(quote: char) -> Option<&'static [char]> {
    Some(match quote {
        '\'' => &['\''],
        '`' => &['`', '\''],
        '"' => &['"'],
        '“' | '”' | '„' | '‟' => &['“', '”'],
        '‘' | '’' | '‚' | '‛' => &['‘', '’'],
        '«' | '»' => &['«', '»'],
        _ => return None,
    })
}

/// Quotes a word in which `*` stays a wildcard.
fn in_quotes(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Guesses the pattern of which the word at `place` shows the `mark`.
fn meant(words: &[&str], place: usize, mark: char) -> Option<String> {
    let first = words.get(place)?;
    let (last, word) = if mark == '\\' {
        (place, format!("\"{}\"", first.replace("\\*", "\\x2a")))
    } else {
        let begin = first.find(mark)? + mark.len_utf8();
        let ends = closing(mark)?;
        let is_last = |(number, word): &(usize, &&str)| {
            word.ends_with(ends) && (*number > 0 || first.get(begin..).is_some_and(|rest| !rest.is_empty()))
        };
        let (number, _) = words.get(place..)?.iter().enumerate().find(is_last)?;
        let text = words.get(place..=place + number)?.join(" ");
        let (before, inside) = (text.get(..begin - mark.len_utf8())?, text.get(begin..)?);
        (place + number, in_quotes(&format!("{before}{}", inside.strip_suffix(ends)?)))
    };
    let (before, after) = (words.get(..place)?.iter().copied(), words.get(last + 1..)?.iter().copied());
    Some(before.chain([&*word]).chain(after).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Request;

    #[test]
    fn a_doubt_names_the_pattern_that_was_meant_and_the_one_that_is_written() {
        let quote = "`'` does not quote";
        let (escape, late) =
            ("`\\` is no escape outside double quotes", "`\"` quotes only at the start of a word");
        for (pattern, what, meant, as_is) in [
            ("echo 'a b'", quote, r#"echo "a b""#, r#"echo "'a" b'"#),
            ("echo x 'a b c' y", quote, r#"echo x "a b c" y"#, r#"echo x "'a" b c' y"#),
            ("echo 'a*'", quote, r#"echo "a*""#, r#"echo "'a*'""#),
            ("echo ''", quote, r#"echo """#, r#"echo "''""#),
            ("echo 'a", quote, "", r#"echo "'a""#),
            ("echo '", quote, "", r#"echo "'""#),
            ("echo `a b`", "a backtick does not quote", r#"echo "a b""#, r#"echo "`a" b`"#),
            ("echo “a b”", "`“` does not quote", r#"echo "a b""#, r#"echo "“a" b”"#),
            ("echo \\x2a", escape, r#"echo "\x2a""#, r#"echo "\\x2a""#),
            ("echo \\* ...", escape, r#"echo "\x2a" ..."#, r#"echo "\\*" ..."#),
            ("echo C:\\Users", escape, "", r#"echo "C:\\Users""#),
            ("echo a\\ b", escape, "", r#"echo "a\\" b"#),
            (r#"echo to="a b" c"#, late, r#"echo "to=a b" c"#, r#"echo "to=\"a" "b\"" c"#),
            (r#"echo "ok" 5""#, late, "", r#"echo "ok" "5\"""#),
        ] {
            let found = doubt(&pattern.parse().unwrap()).unwrap_or_else(|| panic!("{pattern}"));
            let expected = (what, meant, as_is);
            assert_eq!((&*found.what, found.meant.as_deref().unwrap_or_default(), &*found.as_is), expected);
            let as_is: PermissionPattern = found.as_is.parse().unwrap();
            assert_eq!(doubt(&as_is), None);
        }
    }

    #[test]
    fn most_patterns_are_in_no_doubt() {
        for pattern in [
            "echo",
            "kv-*",
            "'x",
            "echo .",
            "echo ...",
            "echo don't a*",
            r#"echo "'a b'" "\x2a" "\"" "" x"#,
            r#"echo "\\" "a \" b""#,
        ] {
            assert_eq!(doubt(&pattern.parse().unwrap()), None, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_in_doubt_means_the_same_as_it_is(word in "['`\"“\\\\ab*]{1,4}", argument in "['`\"“\\\\ab*]{0,4}") {
            let Ok(pattern) = format!("echo {word}").parse::<PermissionPattern>() else { return Ok(()) };
            let request = Request::composed(&["echo".to_owned(), argument], bytes::Bytes::new()).unwrap();
            let only: PermissionPattern = PermissionPattern::only(&request).parse().unwrap();
            prop_assert_eq!(doubt(&only), None);
            if let Some(doubt) = doubt(&pattern) {
                let as_is: PermissionPattern = doubt.as_is.parse().unwrap();
                prop_assert_eq!(as_is.allows(&request), pattern.allows(&request));
            }
        }
    }
}
