//! Patterns of commands, by which a client or a plugin is granted commands.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::text::{InvalidText, check_length};

/// A pattern of commands: a command's name, or a prefix and a `*`. `*` alone is every plugin's command, `@*`
/// every built-in one. Cloning costs one increment.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandPattern(Arc<str>);

impl CommandPattern {
    /// Returns true if `command` matches. Only a pattern that begins with `@` allows a built-in command, so
    /// that a plain `*` never hands out `@drain`.
    #[must_use]
    pub fn allows(&self, command: &str) -> bool {
        match self.0.as_bytes() {
            b"*" => !command.is_empty() && !command.starts_with('@'),
            [start @ .., b'*'] => command.as_bytes().starts_with(start),
            name => command.as_bytes() == name,
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

impl TryFrom<String> for CommandPattern {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        check_length(&text, "a command pattern")?;
        if text.find('*').is_some_and(|position| position + 1 != text.len()) {
            let what = "`*` may stand only at the end of a pattern";
            let advice = "write the start of the names and one `*`, such as \"kv-*\"; or list the names";
            return Err(InvalidText::new(what).advise(advice));
        }
        check_command_text(&text)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for CommandPattern {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::try_from(text.to_owned())
    }
}

impl AsRef<str> for CommandPattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Checks the characters of a command's name, or of a pattern.
pub(crate) fn check_command_text(text: &str) -> Result<(), InvalidText> {
    match text.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic() || *c == '"') {
        None => Ok(()),
        Some((position, c)) => {
            let what = format!("{c:?} at position {} can't stand in a command's name", position + 1);
            Err(InvalidText::new(what)
                .advise("use visible ASCII characters without spaces and double quotes"))
        }
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
    fn a_wrong_pattern_is_refused() {
        for text in ["*kv", "k*v", "**", "k**", "a b*", "", "@a\"*"] {
            assert!(text.parse::<CommandPattern>().is_err(), "{text:?}");
        }
    }
}
