//! Forms of values as JSON Schema has them. A form may allow more than the reader does, and never less.

use serde_json::{Map, Value, json};

/// The texts that a type may be written as.
pub(super) enum Written {
    /// Any text.
    Freely,
    /// Texts that this regular expression matches, in a syntax that Rust and ECMAScript have in common.
    Like(&'static str),
    /// The same, apart from the words that begin the heads of replies.
    Named(&'static str),
    /// A choice of words.
    OneOf(&'static [&'static str]),
}

impl Written {
    pub(super) fn schema(&self) -> Value {
        match self {
            Self::Freely => json!({ "type": "string" }),
            Self::Like(pattern) => json!({ "type": "string", "pattern": pattern }),
            Self::Named(pattern) => {
                json!({ "type": "string", "pattern": pattern, "not": { "enum": ["OK", "ERR", "PART"] } })
            }
            Self::OneOf(words) => json!({ "enum": words }),
        }
    }
}

/// A table of these keys and no others.
pub(super) fn table(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let keys: Map<_, _> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({ "type": "object", "properties": keys, "additionalProperties": false })
}

/// A table whose keys are `names` and whose values are `values`.
pub(super) fn named(names: &Value, values: Value) -> Value {
    json!({ "type": "object", "propertyNames": names, "additionalProperties": values })
}

/// Patterns of texts.
pub(super) mod like {
    pub(in crate::config) const ADDRESS: &str = r"^(\[[0-9A-Fa-f:.]+(%[0-9]+)?\]|[0-9.]+):[0-9]{1,5}$";
    pub(in crate::config) const ADMIN_ADDRESS: &str = r"^(unix:[^~@]|(\[::1\]|127[0-9.]+):[0-9]{1,5}$)";
    pub(in crate::config) const COMMAND: &str = "^[!#-)+-?A-~][!#-)+-~]{0,63}$";
    pub(in crate::config) const CREDENTIAL: &str = "^[^/]+$";
    pub(in crate::config) const DIGEST: &str = "([0-9A-Fa-f]:?){63}[0-9A-Fa-f]";
    pub(in crate::config) const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$";
    pub(in crate::config) const FOLDER: &str = "^(/[^/]+)+$";
    pub(in crate::config) const INCLUDE: &str = r"^(([^~*][^*]*)?/)?([^/]*[^/.][^/]*|\.{3,})$";
    pub(in crate::config) const MOMENT: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";
    pub(in crate::config) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    pub(in crate::config) const NETWORK: &str = "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$";
    pub(in crate::config) const PATH: &str = "^[^~]";
    pub(in crate::config) const PERMISSION: &str = r"^([!#-)+-~]+\*?|\*)( .+)?$";
    pub(in crate::config) const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$";
    pub(in crate::config) const SIZE_OR_PART: &str = "^([0-9]+(B|KiB|MiB|GiB)|0*([1-9][0-9]?|100)%)$";
    pub(in crate::config) const STORE: &str =
        "^([A-Za-z0-9][A-Za-z0-9._-]{0,63}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    pub(in crate::config) const THUMBPRINT: &str = "([0-9A-Fa-f]:?){39}[0-9A-Fa-f]";
    pub(in crate::config) const TOPIC: &str = r"^((publish|subscribe) )?([A-Za-z0-9._/:-]+\*?|\*)$";
    pub(in crate::config) const URI: &str = r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$";
    pub(in crate::config) const URL: &str = r"^https?://[^\s@?#*]+$";
    pub(in crate::config) const VARIABLE: &str = "^[^=]+$";
}
