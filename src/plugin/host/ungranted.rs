//! A resource that a plugin asks for without a grant, and the config line that would grant it.

use crate::text::shown;

/// Characters logged of the name of something not granted.
const MAX_NAME_CHARS: usize = 256;

/// A resource that a plugin asks for and its grants do not cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ungranted<'a> {
    /// Its kind, as "the store".
    pub(super) kind: &'static str,
    /// Its name, by which the plugin asks for it.
    pub(super) name: &'a str,
    /// The key of the table of grants whose list lacks it.
    pub(super) key: &'static str,
    /// Words before its name in that list.
    pub(super) verb: &'static str,
    /// The option of the command line that grants it too.
    pub(super) option: Option<&'static str>,
}

impl Ungranted<'_> {
    /// Describes the missing grant.
    pub(super) fn describe(self) -> String {
        let name = shown(self.name, MAX_NAME_CHARS).to_string();
        format!("{} {name:?} is not granted", self.kind)
    }

    /// Returns the advice to add it to the config of `plugin`, if the plugin is to have it.
    pub(super) fn advice(self, plugin: &str) -> String {
        let value = format!("{}{}", self.verb, self.name);
        let value = shown(&value, MAX_NAME_CHARS).to_string();
        let option = self.option.map(|option| format!(", or `{option}` of the command line"));
        let option = option.unwrap_or_default();
        format!("add {value:?} to `{}` of [plugins.{plugin}.grants]{option}", self.key)
    }
}
