//! Names that a config file gives to things.
//!
//! Each type can only be built from a valid text. Knows nothing of files, spans or the rest of the config.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::written::key_text;
use crate::authz::check_command_text;
use crate::text::{InvalidText, check_length};

/// The server's built-in commands; plugins' commands can't begin with `@`.
pub const BUILT_INS: [&str; 14] = [
    "@ping",
    "@whoami",
    "@commands",
    "@cancel",
    "@status",
    "@metrics",
    "@clients",
    "@slowlog",
    "@errors",
    "@watch",
    "@plugins",
    "@reload",
    "@kick",
    "@drain",
];

/// A newtype over shared text, built only through `$check`. Cloning costs one increment.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                $check(&text)?;
                Ok(Self(text.into()))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::try_from(text.to_owned())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// A client's name in the config: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
    ClientName, listed_name
}
name! {
    /// A role's name in the config: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
    RoleName, listed_name
}
name! {
    /// A plugin's name in the config: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
    PluginName, listed_name
}
name! {
    /// The name by which plugins open a key-value store: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter
    /// or a digit.
    StoreName, plain_name
}
name! {
    /// A plugin's command: 1 to 64 visible ASCII characters without `"` and `*`, the first not `@`.
    CommandName, command_name
}
impl ClientName {
    /// The key of the client's section in the config.
    #[must_use]
    pub fn key(&self) -> String {
        format!("clients.{}", key_text(&self.0))
    }
}

impl RoleName {
    /// The key of the role's section in the config.
    #[must_use]
    pub fn key(&self) -> String {
        format!("roles.{}", key_text(&self.0))
    }
}

impl PluginName {
    /// The key of the plugin's section in the config.
    #[must_use]
    pub fn key(&self) -> String {
        format!("plugins.{}", key_text(&self.0))
    }
}

impl From<&PluginName> for CommandName {
    /// Every valid plugin name is a valid command name.
    fn from(plugin: &PluginName) -> Self {
        Self(Arc::clone(&plugin.0))
    }
}

fn plain_name(text: &str) -> Result<(), InvalidText> {
    const ADVICE: &str = "use letters, digits, `.`, `_` and `-`, beginning with a letter or a digit";
    check_length(text, "a name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((position, c)) = text.chars().enumerate().find(|(_, c)| !fits(*c)) {
        let what = format!("{c:?} at position {} can't stand in a name", position + 1);
        return Err(InvalidText::new(what).advise(ADVICE));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(InvalidText::new("a name begins with a letter or a digit").advise(ADVICE));
    }
    Ok(())
}

/// Checks a name that begins lines of `@clients` and `@plugins`.
fn listed_name(text: &str) -> Result<(), InvalidText> {
    begins_no_head(text)?;
    plain_name(text)
}

/// Refuses the words that begin a reply's head: a list that began with one would read as a head, and could
/// not be sent plainly.
fn begins_no_head(text: &str) -> Result<(), InvalidText> {
    match text {
        "OK" | "ERR" | "PART" => {
            let what = "`OK`, `ERR` and `PART` are reserved: they begin the heads of replies";
            Err(InvalidText::new(what).advise("write it in lower case, or choose another"))
        }
        _ => Ok(()),
    }
}

fn command_name(text: &str) -> Result<(), InvalidText> {
    check_length(text, "a command's name")?;
    begins_no_head(text)?;
    if text.starts_with('@') {
        let what = "names that begin with `@` are the server's own commands";
        return Err(InvalidText::new(what).advise("leave out the `@`"));
    }
    if text.contains('*') {
        let what = "a plugin's command is one name, not a pattern";
        return Err(InvalidText::new(what).advise("list each command by its full name"));
    }
    check_command_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::CommandPattern;

    #[test]
    fn only_an_at_pattern_ever_allows_a_built_in() {
        for built_in in BUILT_INS {
            for pattern in ["*", "p*", "ping", "-*"] {
                assert!(!pattern.parse::<CommandPattern>().unwrap().allows(built_in));
            }
        }
    }

    #[test]
    fn wrong_names_are_refused_with_words() {
        let long = "a".repeat(65);
        for (text, words) in [
            ("", "can't be empty"),
            (".a", "begins with a letter"),
            ("a b", "' ' at position 2"),
            ("é", "'é' at position 1"),
            (&long, "at most 64"),
        ] {
            let error = text.parse::<ClientName>().unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert!("a".repeat(64).parse::<PluginName>().is_ok());
        assert!("Web-01.lan_2".parse::<StoreName>().is_ok());
    }

    #[test]
    fn wrong_commands_are_refused_with_words() {
        for (text, words) in [
            ("@ping", "server's own"),
            ("kv-*", "not a pattern"),
            ("a\"b", "position 2"),
            ("a b", "position 2"),
            ("a\u{7f}", "position 2"),
        ] {
            let error = text.parse::<CommandName>().unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn serde_makes_only_what_try_from_makes() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let from = |text: &'static str| -> Result<ClientName, Error> {
            let text: StrDeserializer<'_, Error> = text.into_deserializer();
            ClientName::deserialize(text)
        };
        assert_eq!(from("laptop").unwrap().as_ref(), "laptop");
        assert!(from("lap top").is_err());
    }
}
