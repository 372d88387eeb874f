//! Failures of commands, as the client sees them.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::num::{ParseFloatError, ParseIntError};
use std::str::{ParseBoolError, Utf8Error};
use std::string::FromUtf8Error;

use crate::bindings::lictor::plugin::types;

/// Reason why a command was not carried out. The client receives the code and the message.
///
/// Fail before changing anything, or say in the message what was changed.
///
/// A failure of the host that a command does not handle but passes on with `?` does not blame the client: if
/// its code is `bad-arguments`, `not-found` or `denied`, the client receives `failed`, and the words go to
/// the log. [`Failure::as_is`] sends the client the host's own code and words.
#[derive(Clone, Debug)]
pub struct Failure {
    code: Cow<'static, str>,
    message: String,
    /// Set if the host made the failure, and not the author.
    is_of_host: bool,
}

/// Equal if a client would receive the same.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.message == other.message
    }
}

impl Eq for Failure {}

/// Message to the client for a failure that is not the client's fault.
const UNEXPECTED: &str = "the plugin met an error that it did not expect";

impl Failure {
    /// The command can't work with these arguments, or with this body.
    pub fn bad_arguments(message: impl Into<String>) -> Self {
        Self::new("bad-arguments", message)
    }

    /// The thing that the command was to work on does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("not-found", message)
    }

    /// The thing that the command was to work on is in another state than expected.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new("conflict", message)
    }

    /// The plugin refuses this client.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new("denied", message)
    }

    /// Something the command needs can't be reached now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new("unavailable", message)
    }

    /// Any other failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", message)
    }

    /// Makes a `failed` with the words of any error, for `map_err`.
    pub fn because(error: impl Display) -> Self {
        Self::failed(error.to_string())
    }

    /// Makes a failure with any code, for instance one returned by [`crate::call`]. The host treats an
    /// unknown code as `failed`.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), is_of_host: false }
    }

    /// Makes a failure that the host reported.
    pub(crate) fn of_host(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { is_of_host: true, ..Self::new(code, message) }
    }

    /// Sends the client this failure's code and words, even if the host made it: for instance when the client
    /// chose the key, the file or the URL. `STORE.get(key).map_err(Failure::as_is)?`.
    pub fn as_is(self) -> Self {
        Self { is_of_host: false, ..self }
    }

    /// Returns the client's version of a failure that ends a command; logs anything withheld from the client.
    #[cold]
    pub(crate) fn told(self) -> Self {
        if !self.is_of_host || !matches!(&*self.code, "bad-arguments" | "not-found" | "denied") {
            return self;
        }
        // Not `output::print`, for the same reason as in a panic.
        crate::host::output::print(
            &["uncaught failure of the host: ", &self.message, " (", &self.code, ")"].concat(),
        );
        Self::failed(UNEXPECTED)
    }

    /// Returns the code, such as `bad-arguments`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the message: one sentence for the client.
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
        Self::of_host(failure.code, failure.message)
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

/// Unreadable text nearly always comes from the client, as an argument or the body. If it does not, use
/// [`Failure::because`].
macro_rules! blame_the_client {
    ($($error:ty),+) => {$(
        /// `bad-arguments`: unreadable text is taken to be the client's.
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

/// By the error's kind: `not-found`, `denied`, `conflict` (already exists), `unavailable` (timed out,
/// interrupted), else `failed`.
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
        Self::of_host(code, error.to_string())
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
    fn a_failure_of_the_host_does_not_blame_the_client_unless_the_author_says_so() {
        let of_host = |code: &str| Failure::of_host(code.to_owned(), "no");
        for code in ["bad-arguments", "not-found", "denied"] {
            assert_eq!(of_host(code).code(), code, "the author can tell it");
            assert_eq!(of_host(code).told(), Failure::failed(UNEXPECTED));
            assert_eq!(of_host(code).as_is().told(), Failure::new(code.to_owned(), "no"));
            assert_eq!(Failure::new(code.to_owned(), "no").told().code(), code);
        }
        for code in ["conflict", "unavailable", "failed", "timeout"] {
            assert_eq!(of_host(code).told(), of_host(code));
        }
    }

    #[test]
    fn a_failure_crosses_unchanged() {
        let failure = Failure::new(String::from("timeout"), "too late");
        assert_eq!(Failure::from(types::Failure::from(failure.clone())), failure);
        assert_eq!(failure.to_string(), "too late (timeout)");
    }
}
