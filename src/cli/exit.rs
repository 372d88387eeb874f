//! Exit codes.

use std::process::ExitCode;

/// An exit code. Scripts rely on it, so a number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// The command failed.
    Failed = 1,
    /// The command line or the config is faulty.
    Usage = 2,
    /// No connection, or one end does not accept the other.
    Unreachable = 3,
    /// A component takes more memory to compile than allowed; used only by `lictor compile`, for its parent
    /// process.
    NoMemory = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reason why a subcommand ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    exit: Exit,
    message: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: String) -> Self {
        Self { exit, message: Some(message) }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: Some(message.into()) }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: Some(message.into()) }
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, message: Some(message.into()) }
    }

    /// A failure that has been reported, or need not be.
    pub(super) fn told(exit: Exit) -> Self {
        Self { exit, message: None }
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// The message for the user, unless it has been reported, or need not be.
    pub(super) fn report(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

#[cfg(test)]
impl Failure {
    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}
