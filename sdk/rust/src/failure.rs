//! Why a command was not carried out: what the client is told.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::num::{ParseFloatError, ParseIntError};
use std::str::{ParseBoolError, Utf8Error};
use std::string::FromUtf8Error;

use crate::bindings::lictor::plugin::types;

/// Why a command was not carried out. The client gets the code and the message.
///
/// Fail before anything was changed, or say in the message what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Cow<'static, str>,
    message: String,
}

impl Failure {
    /// The command can't work with these arguments, or with this body.
    pub fn bad_arguments(message: impl Into<String>) -> Self {
        Self::new("bad-arguments", message)
    }

    /// What the command was to work on does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("not-found", message)
    }

    /// What the command was to work on is in another state than expected.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new("conflict", message)
    }

    /// The plugin refuses this client.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new("denied", message)
    }

    /// Something that the command needs can't be reached now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new("unavailable", message)
    }

    /// All else.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", message)
    }

    /// A `failed` with the words of any error, for `map_err`.
    pub fn because(error: impl Display) -> Self {
        Self::failed(error.to_string())
    }

    /// A failure with any code, for instance one that was had from [`crate::call`]. The host reads a code that it does
    /// not know as `failed`.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// `bad-arguments` and its like.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// One sentence for whoever sent the command.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        formatter.write_str(" (")?;
        formatter.write_str(&self.code)?;
        formatter.write_str(")")
    }
}

impl std::error::Error for Failure {}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        Self { code: Cow::Owned(failure.code), message: failure.message }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code.into_owned(), message: failure.message }
    }
}

/// `failed` with this text.
impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::failed(message)
    }
}

/// `failed` with this text.
impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::failed(message)
    }
}

/// Text that can't be read is nearly always the client's: an argument or the body. Where it is not, say so by
/// [`Failure::because`].
macro_rules! blame_the_client {
    ($($error:ty),+) => {$(
        /// `bad-arguments`: what can't be read is taken to be the client's.
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::bad_arguments(error.to_string())
            }
        }
    )+};
}

blame_the_client!(ParseIntError, ParseFloatError, ParseBoolError, Utf8Error, FromUtf8Error);

/// `failed`.
impl From<fmt::Error> for Failure {
    fn from(error: fmt::Error) -> Self {
        Self::because(error)
    }
}

/// By its kind: `not-found`, `denied`, `conflict` (it exists already), `unavailable` (timed out, interrupted), else
/// `failed`.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, Interrupted, NotFound, PermissionDenied, TimedOut, WouldBlock,
        };
        let code = match error.kind() {
            NotFound => "not-found",
            PermissionDenied => "denied",
            AlreadyExists => "conflict",
            TimedOut | Interrupted | WouldBlock => "unavailable",
            _ => "failed",
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_turn_into_failures() {
        let code = |failure: Failure| failure.code.into_owned();
        assert_eq!(code("x".parse::<u8>().unwrap_err().into()), "bad-arguments");
        assert_eq!(code(String::from_utf8(vec![0xff]).unwrap_err().into()), "bad-arguments");
        assert_eq!(code("text".into()), "failed");
    }

    #[test]
    fn an_input_error_is_told_by_its_kind() {
        let code = |kind: std::io::ErrorKind| Failure::from(std::io::Error::from(kind)).code.into_owned();
        assert_eq!(code(std::io::ErrorKind::NotFound), "not-found");
        assert_eq!(code(std::io::ErrorKind::PermissionDenied), "denied");
        assert_eq!(code(std::io::ErrorKind::InvalidData), "failed");
    }

    #[test]
    fn a_failure_crosses_unchanged() {
        let failure = Failure::new(String::from("timeout"), "too late");
        assert_eq!(Failure::from(types::Failure::from(failure.clone())), failure);
        assert_eq!(failure.to_string(), "too late (timeout)");
    }
}
