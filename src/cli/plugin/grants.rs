//! The grants of a plugin that is added to a config: what each gives away, asked for or given by options.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::{Failure, output};
use crate::author::Inspection;
use crate::cli::question;
use crate::config::{Table, key_text, quoted, quoted_list};

/// A grant that a config can give.
struct Grant {
    /// Its key in `[plugins.NAME.grants]`; or `config`, for `[plugins.NAME.config]`.
    key: &'static str,
    /// The access that the plugin gets by it.
    gives: &'static str,
    values: Values,
}

/// The values of a grant.
enum Values {
    /// It is given or not.
    None,
    /// A list, with the words for its items, and those that are written if none are given.
    List { items: &'static str, default: &'static [&'static str] },
    /// Folders by the names under which the plugin sees them.
    Folders,
}

const GRANTS: &[Grant] = &[
    Grant {
        key: "config",
        gives: "it reads the settings that you write into its section `config`",
        values: Values::None,
    },
    Grant { key: "logging", gives: "it writes events into the server's log", values: Values::None },
    Grant {
        key: "keyvalue",
        gives: "it keeps values in stores of the server's state; in a store of another plugin (PLUGIN/STORE) it reads and \
                changes what that keeps",
        values: Values::List { items: "stores", default: &["default"] },
    },
    Grant {
        key: "commands",
        gives: "it runs these commands on behalf of its client, within what that client may run",
        values: Values::List { items: "patterns of commands", default: &[] },
    },
    Grant {
        key: "files",
        gives: "it reads these files, with the rights of the server",
        values: Values::List { items: "paths of files", default: &[] },
    },
    Grant {
        key: "directories",
        gives: "it reads everything in these folders, with the rights of the server",
        values: Values::Folders,
    },
    Grant {
        key: "events",
        gives: "it publishes to these topics and subscribes to them, and so exchanges data with other plugins and clients",
        values: Values::List { items: "topics", default: &[] },
    },
    Grant {
        key: "http",
        gives: "it sends requests to these URLs, and can send anything there that it learns",
        values: Values::List { items: "URLs", default: &[] },
    },
];

/// A grant as given by an option: a key, and a value if there is one.
#[derive(Clone, Debug)]
pub(super) struct GrantOption {
    key: &'static str,
    value: Option<String>,
}

impl FromStr for GrantOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        let Some(grant) = GRANTS.iter().find(|grant| grant.key == key) else {
            let keys: Vec<_> = GRANTS.iter().map(|grant| grant.key).collect();
            return Err(format!("there is no grant {key}; there are {}", keys.join(", ")));
        };
        match (&grant.values, &value) {
            (Values::None, Some(_)) => Err(format!("{key} has no value; write --grant {key}")),
            (Values::Folders, value) if value.as_ref().is_none_or(|value| !value.contains('=')) => {
                Err(format!("write --grant {key}=/SEEN=FOLDER"))
            }
            _ => Ok(Self { key: grant.key, value }),
        }
    }
}

/// The grants of a plugin: the values of each, by its key.
#[derive(Debug, Default)]
pub(super) struct Granted(BTreeMap<&'static str, Vec<String>>);

impl Granted {
    /// The grants that options give.
    pub(super) fn by(options: &[GrantOption]) -> Self {
        let mut granted = Self::default();
        for GrantOption { key, value } in options {
            let values = granted.0.entry(key).or_default();
            values.extend(value.iter().filter(|value| !value.is_empty()).cloned());
            if value.is_none() && values.is_empty() {
                let grant = GRANTS.iter().find(|grant| grant.key == *key);
                values.extend(grant.into_iter().flat_map(Grant::default_values));
            }
        }
        granted
    }

    /// Adds those that the component needs and the options do not give: asks for each, and for its values
    /// until `takes`, which reports their faults, returns true.
    ///
    /// # Errors
    ///
    /// The user refuses one, or gives no values where the default is faulty.
    pub(super) fn ask_for(
        &mut self,
        needed: &[Needed],
        mut takes: impl FnMut(&Self) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        for Needed { grant, imports } in self.missing(needed) {
            let key = grant.key;
            let question =
                format!("grant `{key}`: {}\n(imported as {})\nGrant it?", grant.gives, imports.join(", "));
            if !question::confirm(&question)? {
                let without = match grant.values {
                    Values::List { .. } => {
                        format!("; with `--grant {key}=` it loads, and reaches nothing by it")
                    }
                    _ => String::new(),
                };
                return Err(Failure::failed(format!(
                    "nothing was written: the plugin does not load without `{key}`{without}"
                )));
            }
            loop {
                let answer = grant.values.ask()?;
                let is_default = answer.is_none();
                self.0.insert(key, answer.unwrap_or_else(|| grant.default_values()));
                if takes(self)? {
                    break;
                }
                if is_default {
                    return Err(Failure::usage(format!(
                        "nothing was written: `{key}` would be faulty; give its values by --grant {key}=VALUE"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses a component that needs other grants.
    ///
    /// # Errors
    ///
    /// Each missing grant with the option that gives it.
    pub(super) fn want(&self, needed: &[Needed]) -> Result<(), Failure> {
        let missing = self.missing(needed);
        let lines: Vec<_> = missing
            .iter()
            .map(|needed| format!("{}\n  {}", needed.grant.option(), needed.grant.gives))
            .collect();
        match lines.is_empty() {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "nothing was written: the plugin does not load without these grants. Give them if it is to have them:\n{}",
                lines.join("\n")
            ))),
        }
    }

    fn missing<'n>(&self, needed: &'n [Needed]) -> Vec<&'n Needed> {
        needed.iter().filter(|needed| !self.0.contains_key(needed.grant.key)).collect()
    }

    /// The tables of the plugin's section that give these grants.
    pub(super) fn tables(&self) -> Vec<Table> {
        let config = self.0.contains_key("config").then(|| ("config".to_owned(), Vec::new()));
        let rows = GRANTS.iter().filter(|grant| grant.key != "config").filter_map(|grant| {
            let values = self.0.get(grant.key)?;
            Some((grant.key.to_owned(), grant.values.written(values)))
        });
        let rows: Vec<_> = rows.collect();
        let grants = (!rows.is_empty()).then(|| ("grants".to_owned(), rows));
        config.into_iter().chain(grants).collect()
    }
}

impl Grant {
    fn default(&self) -> &'static [&'static str] {
        match self.values {
            Values::List { default, .. } => default,
            Values::None | Values::Folders => &[],
        }
    }

    fn default_values(&self) -> Vec<String> {
        self.default().iter().map(|item| (*item).to_owned()).collect()
    }

    /// The option that gives it.
    fn option(&self) -> String {
        let value = match self.values {
            Values::None => String::new(),
            Values::Folders => "=/SEEN=FOLDER".to_owned(),
            Values::List { items, default: [] } => {
                let last = items.split(' ').next_back().unwrap_or_default();
                format!("={}", last.trim_end_matches('s').to_uppercase())
            }
            Values::List { default: [first, ..], .. } => format!("={first}"),
        };
        format!("--grant {}{value}", self.key)
    }
}

impl Values {
    /// Asks for the values; returns `None` if there is nothing to ask or no answer.
    fn ask(&self) -> Result<Option<Vec<String>>, Failure> {
        let Self::List { items, default } = self else { return Ok(None) };
        let otherwise = if default.is_empty() { "none".to_owned() } else { default.join(", ") };
        let answer = question::ask(&format!("Which {items}, separated by commas? [{otherwise}] "))?;
        let given: Vec<_> =
            answer.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
        Ok((!given.is_empty()).then_some(given))
    }

    fn written(&self, values: &[String]) -> String {
        match self {
            Self::None => "true".to_owned(),
            Self::List { .. } => quoted_list(values),
            Self::Folders => {
                let folders = values.iter().filter_map(|value| value.split_once('='));
                let folders: Vec<_> = folders
                    .map(|(seen, folder)| format!("{} = {}", key_text(seen), quoted(folder)))
                    .collect();
                format!("{{ {} }}", folders.join(", "))
            }
        }
    }
}

/// A grant that a component needs, and its imports that need it.
pub(super) struct Needed {
    grant: &'static Grant,
    imports: Vec<String>,
}

impl Needed {
    /// The grants that the component needs, in the order of the list.
    pub(super) fn of(inspection: &Inspection) -> Vec<Self> {
        let needed = GRANTS.iter().map(|grant| {
            let imports = inspection.imports.iter();
            let imports = imports.filter(|(_, standing)| standing.grant_key() == Some(grant.key));
            Self { grant, imports: imports.map(|(import, _)| import.clone()).collect() }
        });
        needed.filter(|needed| !needed.imports.is_empty()).collect()
    }
}

/// Says of options that give more than the component can use.
pub(super) fn note_unused(options: &[GrantOption], needed: &[Needed]) {
    let is_unused = |option: &&GrantOption| {
        option.key != "directories" && !needed.iter().any(|it| it.grant.key == option.key)
    };
    let unused: BTreeSet<_> = options.iter().filter(is_unused).map(|option| option.key).collect();
    for key in unused {
        output::note(&format!(
            "the component imports nothing that `{key}` grants; it is written all the same"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(options: &[&str]) -> Vec<Table> {
        let options: Vec<_> = options.iter().map(|option| option.parse().unwrap()).collect();
        Granted::by(&options).tables()
    }

    #[test]
    fn options_become_tables() {
        let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let grants = |rows: Vec<(String, String)>| ("grants".to_owned(), rows);
        assert!(tables(&[]).is_empty());
        assert_eq!(tables(&["config"]), [("config".to_owned(), vec![])]);
        assert_eq!(
            tables(&["http=https://a", "logging", "http=https://b", "keyvalue"]),
            [grants(vec![
                row("logging", "true"),
                row("keyvalue", "[\"default\"]"),
                row("http", "[\"https://a\", \"https://b\"]")
            ])]
        );
        assert_eq!(
            tables(&["http=", "keyvalue=", "directories=/data=a=b"]),
            [grants(vec![
                row("keyvalue", "[]"),
                row("directories", "{ \"/data\" = \"a=b\" }"),
                row("http", "[]")
            ])]
        );
        for wrong in ["logging=true", "https://a", "directories", "directories=data", ""] {
            assert!(wrong.parse::<GrantOption>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_grant_is_told_with_its_option() {
        let options: Vec<_> = GRANTS.iter().map(Grant::option).collect();
        assert_eq!(
            options,
            [
                "--grant config",
                "--grant logging",
                "--grant keyvalue=default",
                "--grant commands=COMMAND",
                "--grant files=FILE",
                "--grant directories=/SEEN=FOLDER",
                "--grant events=TOPIC",
                "--grant http=URL",
            ]
        );
    }
}
