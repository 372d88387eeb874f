//! Names and values as a config file writes them.

use toml::Value;

/// Writes a name as a config key: quoted unless made only of letters, digits, `_` and `-`.
#[must_use]
pub fn key_text(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// Writes a text as a config value.
#[must_use]
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Writes texts as a list.
#[must_use]
pub fn quoted_list<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}
