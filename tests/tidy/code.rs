//! Rust source as text: stripped of comments and literals, and the names in it.
//!
//! Not a parser: rustfmt's output is regular enough.

#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

/// Lists the top-level modules that a file names, through `crate::`, through `lictor::` or through more
/// `super::` than it is deep.
pub fn named_modules(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for root in ["crate", "lictor"] {
        for at in words(code, root) {
            let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
            let name = if rest.starts_with('{') { "{" } else { identifier(rest) };
            named.push((line_of(code, at), name.to_owned()));
        }
    }
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    for (number, line) in (1..).zip(code.lines()) {
        // In a module within the file, one more `super` stays inside.
        let inner = usize::from(line.starts_with([' ', '\t']));
        if line.contains(&"super::".repeat((depth + inner).max(1))) {
            named.push((number, "super".to_owned()));
        }
    }
    named
}

/// Returns true if the word at `at` is a crate's name: the beginning of a path, or of a `use`.
pub fn names_a_crate(code: &str, at: usize, name: &str) -> bool {
    let (before, after) = (code[..at].trim_end(), &code[at + name.len()..]);
    let goes_on = after.starts_with("::") || (before.ends_with("use") && after.starts_with([';', ' ']));
    let is_inner = |path: &str| path.ends_with(|c: char| c.is_alphanumeric() || "_>".contains(c));
    goes_on && !before.strip_suffix("::").is_some_and(is_inner)
}

/// Finds `word` in `code` as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !code[..*at].ends_with(is_part)
            && (word.ends_with(|c: char| !is_part(c)) || !code[at + word.len()..].starts_with(is_part))
    })
}

fn identifier(code: &str) -> &str {
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(code.len());
    &code[..end]
}

pub fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// Returns `source` with spaces in place of comments and the contents of literals; line ends stay.
pub fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let blank = |c: char| if c == '\n' { c } else { ' ' };
        code.extend(rest[..length].chars().map(blank));
        rest = &rest[length..];
    }
    code
}

/// Returns the length of the comment or literal at the beginning of `rest`; 0 if there is none.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    let begins_word = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r').filter(|_| begins_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = rest.len() - raw.len() + hashes + 1;
            return rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len());
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let mut characters = rest.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('\''), Some('\\'), _) => quoted(rest, '\''),
        (Some('\''), Some(c), Some('\'')) => c.len_utf8() + 2,
        // A lifetime.
        _ => 0,
    }
}

/// Returns the length of a literal with escapes, its quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Returns `code` without the items marked `#[cfg(test)]`; line ends stay.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let end = at + item_length(&rest[at..]).unwrap_or(rest.len() - at);
        kept.extend(rest[at..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// Lists the names of all functions.
pub fn functions(code: &str) -> Vec<&str> {
    words(code, "fn").map(|at| identifier(code[at + 2..].trim_start())).collect()
}

/// Returns the length up to the parenthesis that closes the first one.
pub fn call_length(code: &str) -> usize {
    let mut open = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 1 => return at + 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// Returns the length up to the `;` or the closing brace that ends the item at the beginning of `code`.
fn item_length(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn the_checks_read_code_as_code() {
    let source = "//! crate::a\nuse crate::b; // crate::c\nfn f() -> [u8; 2] {\n  let _ = (\"fn g() {\", r#\"}\"#, '}', b'{');\n}\n";
    let code = code_of(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert_eq!(named_modules("src/x/y.rs", &code), [(2, "b".to_owned())]);
    assert_eq!(functions(&code), ["f"]);
    assert_eq!(functions(&code_of("fn a<'l>(x: &'l str);\nfn b() { '\\'' }")), ["a", "b"]);
    assert_eq!(named_modules("src/x/y.rs", "use super::super::z;")[0].1, "super");
    assert!(named_modules("src/x/y.rs", "use super::z;").is_empty());
    assert_eq!(call_length("f(g(), h()) i()"), 11);
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests { b }\nc"), "a\n\n\nc");
    assert!(names_a_crate("use tokio::x;", 4, "tokio") && names_a_crate("use ::tokio::x;", 6, "tokio"));
    assert!(!names_a_crate("a::tokio::x", 3, "tokio"));
}
