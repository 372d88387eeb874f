//! What a command's failure is called on the wire.
//!
//! Codes and outcomes are contract: clients decide by them whether to try again. Words may change, codes not.
//! Whoever refuses or runs a request makes a [`CommandError`]; only `reply` writes it.

use std::borrow::Cow;
use std::fmt;

/// The kind of a failure, the value of a framed reply's `Code` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The head breaks the grammar.
    BadRequest,
    /// The body is larger than the server takes.
    TooLarge,
    /// No plugin and no built-in has this name.
    UnknownCommand,
    /// The client may not run this command.
    Forbidden,
    /// The command can't work with these arguments.
    BadArguments,
    /// What the command was to work on does not exist.
    NotFound,
    /// What the command was to work on is in another state than expected.
    Conflict,
    /// The plugin refused.
    Denied,
    /// The deadline passed.
    Timeout,
    /// Cancelled by `@cancel` or because its connection ended.
    Cancelled,
    /// Too much is running already.
    Busy,
    /// The client sends more than it may.
    RateLimited,
    /// The plugin reports a failure of its own.
    PluginFailed,
    /// The plugin crashed.
    PluginTrapped,
    /// The plugin went over one of its limits.
    PluginLimit,
    /// The result cannot be told from two plain replies.
    ReplyUnframeable,
    /// Something that the command needs cannot be reached.
    Unavailable,
    /// The server is stopping.
    ShuttingDown,
    /// A fault of the server.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::TooLarge,
        Self::UnknownCommand,
        Self::Forbidden,
        Self::BadArguments,
        Self::NotFound,
        Self::Conflict,
        Self::Denied,
        Self::Timeout,
        Self::Cancelled,
        Self::Busy,
        Self::RateLimited,
        Self::PluginFailed,
        Self::PluginTrapped,
        Self::PluginLimit,
        Self::ReplyUnframeable,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::Internal,
    ];

    /// The code's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::TooLarge => "too-large",
            Self::UnknownCommand => "unknown-command",
            Self::Forbidden => "forbidden",
            Self::BadArguments => "bad-arguments",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::RateLimited => "rate-limited",
            Self::PluginFailed => "plugin-failed",
            Self::PluginTrapped => "plugin-trapped",
            Self::PluginLimit => "plugin-limit",
            Self::ReplyUnframeable => "reply-unframeable",
            Self::Unavailable => "unavailable",
            Self::ShuttingDown => "shutting-down",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the client may assume of a command that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was never started: safe to send again.
    NotRun,
    /// It ran, and said no.
    Failed,
    /// It was started and did not end: it may have had effects.
    Unknown,
}

impl Outcome {
    /// The outcome's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRun => "not-run",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command was not carried out, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The kind of failure.
    pub code: Code,
    /// What the client may assume.
    pub outcome: Outcome,
    /// One sentence for people. It is escaped and cut when it is written.
    pub message: Cow<'static, str>,
}

impl CommandError {
    /// A command that was never started.
    pub fn not_run(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, outcome: Outcome::NotRun, message: message.into() }
    }

    /// A command that ran and said no.
    pub fn failed(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, outcome: Outcome::Failed, message: message.into() }
    }

    /// A command that was started and may have had effects.
    pub fn unknown(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, outcome: Outcome::Unknown, message: message.into() }
    }
}
