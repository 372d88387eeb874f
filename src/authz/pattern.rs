//! Patterns of commands and of whole requests, by which a client or a plugin may run commands.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::arguments::{Arguments, MAX_WORDS, Mismatch, literal};
use crate::text::{InvalidText, check_length};
use crate::wire::Request;

/// The longest pattern, in bytes: it has to be readable in a fault and in `@commands`.
const MAX_BYTES: usize = 1024;

/// The command that no `*` allows, as it shows what all others do: who writes `@*` may not think of that.
const BY_NAME_ALONE: &str = "@watch";

/// A pattern of commands: a command's name, or a prefix and a `*`. `*` alone is every plugin's command, `@*`
/// every built-in one but `@watch`, which has to be named. Cloning costs one increment.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandPattern(Arc<str>);

impl CommandPattern {
    /// Returns true if `command` matches. Only a pattern that begins with `@` allows a built-in command, so
    /// that a plain `*` never hands out `@drain`.
    #[must_use]
    pub fn allows(&self, command: &str) -> bool {
        match self.0.as_bytes() {
            b"*" => !command.is_empty() && !command.starts_with('@'),
            [start @ .., b'*'] => command.as_bytes().starts_with(start) && command != BY_NAME_ALONE,
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

/// A pattern of requests: a [`CommandPattern`], and perhaps a word for each argument. Without argument words
/// any arguments match. Cloning costs two increments.
#[derive(Clone)]
pub struct PermissionPattern {
    command: CommandPattern,
    /// `None` without argument words, which costs a request one comparison.
    arguments: Option<Arc<WithText>>,
}

/// A pattern of the request's command that does not allow its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near<'p> {
    /// The pattern.
    pub pattern: &'p PermissionPattern,
    /// Its first argument that does not match.
    pub mismatch: Mismatch,
}

impl fmt::Display for Near<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.pattern, self.mismatch)
    }
}

/// Argument words, and the whole pattern as written.
struct WithText {
    text: Box<str>,
    arguments: Arguments,
}

impl PermissionPattern {
    /// Returns true if the command and the arguments of `request` match.
    #[must_use]
    pub fn allows(&self, request: &Request) -> bool {
        self.command.allows(request.command()) && self.allows_arguments(request)
    }

    pub(super) fn allows_arguments(&self, request: &Request) -> bool {
        let Some(with) = &self.arguments else { return true };
        let mut arguments = request.arguments();
        arguments.next();
        with.arguments.match_all(arguments)
    }

    /// Returns the pattern with the argument that does not match, if it allows the command of `request` but
    /// not its arguments.
    #[must_use]
    pub fn near(&self, request: &Request) -> Option<Near<'_>> {
        let with = self.arguments.as_ref().filter(|_| self.command.allows(request.command()))?;
        let mut arguments = request.arguments();
        arguments.next();
        Some(Near { pattern: self, mismatch: with.arguments.mismatch(arguments)? })
    }

    /// Writes the narrowest pattern that allows `request`: its command, with a word for each argument. A
    /// request that is too long for a pattern has `...` in place of its last arguments.
    #[must_use]
    pub fn only(request: &Request) -> String {
        let mut arguments = request.arguments();
        let mut text = arguments.next().unwrap_or_default().to_owned();
        if arguments.len() == 0 {
            return text + " .";
        }
        for (number, argument) in arguments.enumerate() {
            let word = literal(argument);
            if number + 3 > MAX_WORDS || text.len() + word.len() + " ...".len() + 1 > MAX_BYTES {
                return text + " ...";
            }
            text = text + " " + &word;
        }
        text
    }

    /// The pattern of the command, the first word.
    #[must_use]
    pub fn command(&self) -> &CommandPattern {
        &self.command
    }

    /// The argument words as written; `None` if any arguments match.
    #[must_use]
    pub fn arguments(&self) -> Option<&str> {
        let with = self.arguments.as_ref().filter(|with| !with.arguments.are_free())?;
        with.text.split_once(' ').map(|(_, words)| words)
    }

    /// Returns true if `self` allows every request that `other` allows. May miss that, but never claims it
    /// wrongly.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.command.covers(&other.command)
            && match (&self.arguments, &other.arguments) {
                (None, _) => true,
                (Some(own), None) => own.arguments.are_free(),
                (Some(own), Some(other)) => own.arguments.covers(&other.arguments),
            }
    }
}

impl TryFrom<String> for PermissionPattern {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let Some((command, words)) = text.split_once(' ') else {
            return Ok(Self { command: text.try_into()?, arguments: None });
        };
        if text.len() > MAX_BYTES {
            let what = format!("a pattern has at most {MAX_BYTES} bytes, this has {}", text.len());
            return Err(InvalidText::new(what).advise("shorten it, with `*` for a part of an argument"));
        }
        if command.is_empty() {
            let advice = "write the command first, or its pattern, such as \"kv-*\"";
            return Err(InvalidText::new("the pattern begins with a space").advise(advice));
        }
        let before = command.chars().count() + 1;
        let command = CommandPattern::try_from(command.to_owned())?;
        let arguments = Arguments::parse(words, before)?;
        Ok(Self { command, arguments: Some(Arc::new(WithText { text: text.into(), arguments })) })
    }
}

impl FromStr for PermissionPattern {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::try_from(text.to_owned())
    }
}

impl AsRef<str> for PermissionPattern {
    fn as_ref(&self) -> &str {
        self.arguments.as_ref().map_or(self.command.as_ref(), |with| &with.text)
    }
}

impl PartialEq for PermissionPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for PermissionPattern {}

impl fmt::Display for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_ref())
    }
}

impl fmt::Debug for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_ref(), f)
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
            ("@*", "@watch", false),
            ("@w*", "@watch", false),
            ("@watch*", "@watch", false),
            ("@watch", "@watch", true),
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
    fn no_wildcard_covers_the_name_that_has_to_be_written() {
        let covers = |pattern: &str, other: &str| {
            let [pattern, other]: [CommandPattern; 2] = [pattern, other].map(|text| text.parse().unwrap());
            pattern.covers(&other)
        };
        assert!(!covers("@*", "@watch") && !covers("@w*", "@watch"));
        assert!(covers("@watch", "@watch") && covers("@*", "@w*") && covers("@*", "@status"));
    }

    #[test]
    fn a_wrong_pattern_is_refused() {
        for text in ["*kv", "k*v", "**", "k**", "a b*", "", "@a\"*"] {
            assert!(text.parse::<CommandPattern>().is_err(), "{text:?}");
        }
    }
}
