//! Hides what must not reach a terminal or a log with a fault: the values that plugins read, whatever is called a
//! password, PEM text, and URLs with a password. Each byte of them becomes a dot, so that every place in the text stays where it was.
//!
//! Knows the config file's form only as far as to find them.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Parts of a key that say that its value is nobody's business.
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "api_key", "apikey"];

/// `text` with the secrets of its parsed `root` hidden.
pub(super) fn document(text: &str, root: &DeTable<'_>) -> String {
    let mut secrets = Vec::new();
    for (key, value) in root {
        let plugins = key.get_ref() == "plugins";
        collect(key.get_ref(), value, if plugins { Within::Plugins } else { Within::File }, &mut secrets);
    }
    let mut bytes = text.as_bytes().to_vec();
    for secret in secrets {
        let end = secret.end + comment_after(text, secret.end);
        hide(&mut bytes, secret.start, end);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where a value stands, as far as its secrecy goes.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// Anywhere.
    File,
    /// The table of all plugins.
    Plugins,
    /// A plugin's table.
    Plugin,
    /// A place whose values are all secret.
    Secret,
}

fn collect(key: &str, value: &Spanned<DeValue<'_>>, within: Within, secrets: &mut Vec<Range<usize>>) {
    let within = if is_secret_word(key) { Within::Secret } else { within };
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                let inner = match within {
                    Within::Plugins => Within::Plugin,
                    Within::Plugin if key.get_ref() == "config" => Within::Secret,
                    Within::Plugin => Within::File,
                    outer => outer,
                };
                collect(key.get_ref(), value, inner, secrets);
            }
        }
        DeValue::Array(array) => {
            for element in array {
                collect(key, element, within, secrets);
            }
        }
        leaf if within == Within::Secret || leaf.as_str().is_some_and(is_secret_text) => {
            secrets.push(value.span());
        }
        _ => {}
    }
}

/// `text` with every line hidden that may hold a secret: for a text that can't be parsed.
pub(super) fn lines(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut offset = 0;
    let mut in_config = false;
    let mut in_pem = false;
    for line in text.split_inclusive('\n') {
        if is_header(line) {
            in_config = line.contains("config");
        }
        in_pem |= line.contains("-----BEGIN");
        let start = line.find('=').map_or(0, |position| position + 1);
        let named = line.contains("config") || is_secret_word(line) || line.contains("://");
        if in_pem || ((in_config || named) && !is_header(line)) {
            hide(&mut bytes, offset + start, offset + line.len());
        }
        in_pem &= !line.contains("-----END");
        offset += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// PEM text, or a URL with a password.
fn is_secret_text(text: &str) -> bool {
    let has_user =
        |(_, rest): (&str, &str)| rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'));
    text.contains("-----BEGIN") || text.split_once("://").is_some_and(has_user)
}

/// Whether a line is `[a.section]`, not part of a list.
fn is_header(line: &str) -> bool {
    line.trim_start().strip_prefix('[').is_some_and(|rest| {
        let name = rest.trim_start_matches('[').split(']').next().unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !name.contains([',', '='])
    })
}

fn is_secret_word(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// How far the comment reaches that follows a value which ends at `end`: it often holds the value's predecessor.
fn comment_after(text: &str, end: usize) -> usize {
    let rest = text.get(end..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let comment = rest.trim_start_matches([' ', '\t', ',', ']', '}']).starts_with('#');
    if comment { rest.len() } else { 0 }
}

/// Makes dots of a value, but for its lines and the quotes around it.
fn hide(bytes: &mut [u8], start: usize, end: usize) {
    let is_edge = |byte: &u8| matches!(*byte, b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n');
    let Some(value) = bytes.get_mut(start..end) else { return };
    let leading = value.iter().take_while(|byte| is_edge(byte)).count();
    let trailing = value.iter().rev().take_while(|byte| is_edge(byte)).count();
    let inside = value.len().saturating_sub(leading + trailing);
    for byte in value.iter_mut().skip(leading).take(inside) {
        if !matches!(*byte, b'\r' | b'\n') {
            *byte = b'.';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        document(text, DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn what_plugins_read_is_hidden_and_nothing_moves() {
        for text in [
            "[plugins.a.config]\nkey = \"hunter2é\" # was hunter2",
            "[plugins.a]\nconfig = { key = 'hunter2', list = [1, \"hunter2\"] } # hunter2",
            "plugins.a.config.key.deep = \"\"\"\nhunter2\nhunter2\"\"\"",
            "[plugins.a.grants]\nhttp = ['https://a:hunter2@b/c']",
            "[clients.a]\nAPI-key = \"hunter2\"",
            "[server]\nprivate_key = '''-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----'''",
        ] {
            let shown = redacted(text);
            assert!(!shown.contains("hunter"), "{shown}");
            assert_eq!(shown.len(), text.len());
            assert_eq!(shown.lines().count(), text.lines().count());
        }
        let plain = "[server]\nlisten = [\"127.0.0.1:1\"] # a\n[plugins.a]\ntimeout = \"1s\"";
        assert_eq!(redacted(plain), plain);
    }

    #[test]
    fn a_text_that_is_not_toml_is_hidden_by_lines() {
        for text in [
            "[plugins.a.config]\nkey = \"hunter2\n",
            "[plugins.a.config]\nkey = \"\"\"\nhunter2\n",
            "[plugins.a]\nconfig = { key = \"hunter2\n",
            "plugins.a.config.key = hunter2",
            "[plugins.a.config]\nkey = [\n [\"hunter2\"],\n hunter2",
            "password = hunter2",
            "private_key = \"-----BEGIN PRIVATE KEY-----\nhunter2\n",
        ] {
            let shown = lines(text);
            assert!(!shown.contains("hunter"), "{shown}");
            assert_eq!(shown.len(), text.len());
        }
        let plain = "[server]\nlisten = 127.0.0.1:1\n[plugins.a]\ntimeout = \"1s\n";
        assert_eq!(lines(plain), plain);
    }
}
