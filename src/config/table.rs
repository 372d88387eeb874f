//! Tables of a config file: a struct for each, the list of its keys, and the faults of unknown keys.

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::fields::Findings;
use super::redact;
use super::sections::Sections;
use super::suggestions::{closest, instead_of};

/// Generates a struct with a `Field` for each key, the list of its keys, and the code that reads it.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name { $(pub(super) $key: $crate::config::fields::Field<$type>,)* }

        impl $name {
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
        }

        impl $crate::config::fields::Shape for $name {
            fn read(
                at: &str,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                findings: &mut $crate::config::fields::Findings,
            ) -> Option<Self> {
                let table = $crate::config::fields::as_table(at, value, findings)?;
                let mut raw = Self::default();
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        $(stringify!($key) => {
                            let at = findings.name(at, stringify!($key));
                            raw.$key = $crate::config::fields::Field::read(&at, value, findings);
                        })*
                        _ => $crate::config::table::unknown_key(at, (key, value), Self::KEYS, findings),
                    }
                }
                Some(raw)
            }

            fn schema() -> serde_json::Value {
                use $crate::config::fields::Shape;
                $crate::config::form::table([$((stringify!($key), <$type as Shape>::schema()),)*])
            }
        }
    };
}
pub(super) use table;

/// Reports `key`, which is not in `known`.
pub(super) fn unknown_key(
    at: &str,
    (key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>),
    known: &[&str],
    findings: &mut Findings,
) {
    let name = key.get_ref();
    let in_quotes = match closest(name, known.iter().copied()) {
        None => dotted_name(at, (name, value), findings),
        Some(meant) => {
            findings.note_misspelt(at, meant);
            None
        }
    };
    let advice = match (!at.is_empty()).then(|| of_top(name, value, findings.sections())).flatten() {
        Some(advice) => vec![advice],
        None => instead_of(name, known, findings.sections()),
    };
    let shown = redact::key(at, name, findings.sections());
    let fault = findings.error(format!("unknown key `{shown}`")).at(key.span(), "this is not a known key");
    fault.helps(in_quotes).helps(advice).done();
}

/// Advice for a key of the top level that stands in a section: it was appended to the file.
fn of_top(name: &str, value: &Spanned<DeValue<'_>>, sections: Sections) -> Option<String> {
    let is_top = sections.keys().any(|(section, key)| section.is_empty() && key == name);
    let is_top = is_top && value.get_ref().as_table().is_none();
    is_top.then(|| "move it above the first section: keys at the top belong before any [section]".to_owned())
}

/// Suggests quotes around a section name with dots: `key` of the section `at` is a table, so it may be part
/// of the name.
fn dotted_name(at: &str, (key, value): (&str, &Spanned<DeValue<'_>>), findings: &Findings) -> Option<String> {
    let (section, name) = at.split_once('.')?;
    if !matches!(section, "clients" | "plugins" | "roles") || name.contains('.') {
        return None;
    }
    let mut table = value.get_ref().as_table()?;
    let mut name = format!("{name}.{}", findings.name("", key));
    while let (1, Some((key, value))) = (table.len(), table.iter().next())
        && let Some(inner) = value.get_ref().as_table()
    {
        name = format!("{name}.{}", findings.name("", key.get_ref()));
        table = inner;
    }
    Some(format!("a name with dots must be quoted: [{section}.\"{name}\"]"))
}
