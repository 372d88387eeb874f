//! Names that a config file gives to things, and the patterns that grant commands.
//!
//! Each type can only be built from a valid text. Knows nothing of files, spans or the rest of the config.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::edit::key_text;

/// The server's built-in commands; plugins' commands can't begin with `@`.
pub const BUILT_INS: [&str; 11] = [
    "@ping",
    "@whoami",
    "@commands",
    "@cancel",
    "@status",
    "@clients",
    "@slowlog",
    "@plugins",
    "@reload",
    "@kick",
    "@drain",
];

/// The one of [`BUILT_INS`] that no version answers yet: a config may grant it in advance.
pub(super) const NOT_YET: &str = "@slowlog";

/// The longest name of any kind, in bytes: names appear in every log line and in `@status`.
const NAME_BYTES: usize = 64;

/// The reason why a text is not the value that was wanted, and advice. Never holds the text itself, which may
/// be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// The fault in the text.
    pub what: String,
    /// Advice on what to write instead.
    pub advice: Option<String>,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The fault and its remedy.
    #[must_use]
    pub fn in_full(self) -> String {
        match self.advice {
            Some(advice) => format!("{}; {advice}", self.what),
            None => self.what,
        }
    }
}

/// A newtype over shared text, built only through `$check`. Cloning costs one increment.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl TryFrom<String> for $name {
            type Error = Refusal;

            fn try_from(text: String) -> Result<Self, Refusal> {
                $check(&text)?;
                Ok(Self(text.into()))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<Self, Refusal> {
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
name! {
    /// A pattern of commands: a command's name, or a prefix and a `*`. `*` alone is every plugin's command,
    /// `@*` every built-in one.
    CommandPattern, command_pattern
}

impl CommandPattern {
    /// Returns true if `command` matches. Only a pattern that begins with `@` allows a built-in command, so
    /// that a plain `*` never hands out `@drain`.
    #[must_use]
    pub fn allows(&self, command: &str) -> bool {
        match self.0.strip_suffix('*') {
            None => command == &*self.0,
            Some("") => !command.is_empty() && !command.starts_with('@'),
            Some(start) => command.starts_with(start),
        }
    }

    /// The pattern of the commands that both `self` and `other` allow, if any: one of the two, since each is
    /// a name or a prefix.
    #[must_use]
    pub fn both<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        match (self.covers(other), other.covers(self)) {
            (true, _) => Some(other),
            (_, true) => Some(self),
            _ => None,
        }
    }

    /// Returns true if `self` allows every command that `other` allows.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (_, None) => self.allows(&other.0),
            (None, Some(_)) => false,
            (Some(""), Some(start)) => !start.starts_with('@'),
            (Some(start), Some(of_other)) => of_other.starts_with(start),
        }
    }

    /// Returns true if the pattern concerns the server's built-in commands.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Returns true if the pattern may match several commands.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.0.ends_with('*')
    }
}

impl ClientName {
    /// The key of the client's section in the config.
    #[must_use]
    pub fn key(&self) -> String {
        format!("clients.{}", key_text(&self.0))
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

fn plain_name(text: &str) -> Result<(), Refusal> {
    const ADVICE: &str = "use letters, digits, `.`, `_` and `-`, beginning with a letter or a digit";
    length(text, "a name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((position, c)) = text.chars().enumerate().find(|(_, c)| !fits(*c)) {
        let what = format!("{c:?} at position {} can't stand in a name", position + 1);
        return Err(Refusal::new(what).advise(ADVICE));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Refusal::new("a name begins with a letter or a digit").advise(ADVICE));
    }
    Ok(())
}

/// Checks a name that begins lines of `@clients` and `@plugins`.
fn listed_name(text: &str) -> Result<(), Refusal> {
    begins_no_head(text)?;
    plain_name(text)
}

/// Refuses the words that begin a reply's head: a list that began with one would read as a head, and could
/// not be sent plainly.
fn begins_no_head(text: &str) -> Result<(), Refusal> {
    match text {
        "OK" | "ERR" | "PART" => {
            let what = "`OK`, `ERR` and `PART` begin the heads of replies, so nothing is called so";
            Err(Refusal::new(what).advise("write it in small letters, or choose another"))
        }
        _ => Ok(()),
    }
}

fn command_name(text: &str) -> Result<(), Refusal> {
    length(text, "a command's name")?;
    begins_no_head(text)?;
    if text.starts_with('@') {
        let what = "names that begin with `@` are the server's own commands";
        return Err(Refusal::new(what).advise("leave out the `@`"));
    }
    if text.contains('*') {
        let what = "a plugin's command is one name, not a pattern";
        return Err(Refusal::new(what).advise("list each command by its full name"));
    }
    command_characters(text)
}

fn command_pattern(text: &str) -> Result<(), Refusal> {
    length(text, "a command pattern")?;
    if text.find('*').is_some_and(|position| position + 1 != text.len()) {
        let what = "`*` may stand only at the end of a pattern";
        let advice = "write the start of the names and one `*`, such as \"kv-*\"; or list the names";
        return Err(Refusal::new(what).advise(advice));
    }
    command_characters(text)
}

fn command_characters(text: &str) -> Result<(), Refusal> {
    match text.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic() || *c == '"') {
        None => Ok(()),
        Some((position, c)) => {
            let what = format!("{c:?} at position {} can't stand in a command's name", position + 1);
            Err(Refusal::new(what).advise("use visible ASCII characters without spaces and double quotes"))
        }
    }
}

fn length(text: &str, kind: &str) -> Result<(), Refusal> {
    match text.len() {
        0 => Err(Refusal::new(format!("{kind} can't be empty"))),
        bytes if bytes > NAME_BYTES => {
            let what =
                format!("{kind} has at most {NAME_BYTES} characters, this has {}", text.chars().count());
            Err(Refusal::new(what).advise("shorten it"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_just_what_it_says() {
        for (pattern, command, allowed) in [
            ("echo", "echo", true),
            ("echo", "echo2", false),
            ("echo", "ech", false),
            ("kv-*", "kv-get", true),
            ("kv-*", "kv-", true),
            ("kv-*", "kv", false),
            ("kv-*", "@kv-get", false),
            ("*", "echo", true),
            ("*", "@ping", false),
            ("*", "", false),
            ("@*", "@drain", true),
            ("@*", "drain", false),
            ("@ping", "@ping", true),
            ("@ping", "ping", false),
            ("@pi*", "@ping", true),
            ("@pi*", "@plugins", false),
            ("Echo", "echo", false),
        ] {
            let parsed: CommandPattern = pattern.parse().unwrap();
            assert_eq!(parsed.allows(command), allowed, "{pattern} on {command}");
        }
    }

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
    fn wrong_commands_and_patterns_are_refused_with_words() {
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
        for text in ["*kv", "k*v", "**", "k**", "a b*", "", "@a\"*"] {
            assert!(text.parse::<CommandPattern>().is_err(), "{text:?}");
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
