//! The sections of a config file and their keys, as its faults name them.

/// Every section with its keys: `""` is the top level, and `NAME` stands for a name that the operator
/// chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections(pub(super) &'static [(&'static str, &'static [&'static str])]);

impl Sections {
    /// Iterates over all keys, each with its section.
    pub(super) fn keys(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)))
    }

    /// Returns true if `key` is a key of any section.
    pub(super) fn have(self, key: &str) -> bool {
        self.keys().any(|(_, known)| known == key)
    }

    /// Returns true if `key` is a key of the section that `table` leads to.
    pub(super) fn have_in(self, table: &[&str], key: &str) -> bool {
        self.keys().any(|(section, known)| known == key && is_section(section, table))
    }
}

/// Returns true if the keys of `table` lead to `section`.
pub(super) fn is_section(section: &str, table: &[&str]) -> bool {
    let parts = || section.split('.');
    parts().count() == table.len() && parts().zip(table).all(|(part, key)| part == "NAME" || part == *key)
}
