//! Names of command failures on the wire.
//!
//! Codes and outcomes are contract: clients use them to decide about a retry. Messages may change, codes may
//! not. The code that refuses or runs a request makes a [`CommandError`]; only `reply` writes it.

use std::borrow::Cow;
use std::fmt;

/// Maximum characters of a message; longer messages are truncated.
pub(super) const MAX_MESSAGE_CHARS: usize = 1024;

/// The kind of a failure, the value of a framed reply's `Code` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The head breaks the grammar.
    BadRequest,
    /// The body is larger than the server accepts.
    TooLarge,
    /// No plugin and no built-in has this name.
    UnknownCommand,
    /// The client may not run this command.
    Forbidden,
    /// The command cannot work with these arguments.
    BadArguments,
    /// The object of the command does not exist.
    NotFound,
    /// The object of the command is not in the expected state.
    Conflict,
    /// The plugin refused.
    Denied,
    /// The deadline passed.
    Timeout,
    /// Cancelled by `@cancel` or because its connection ended.
    Cancelled,
    /// Too much is running already.
    Busy,
    /// The client exceeds its rate limit.
    RateLimited,
    /// The plugin reports a failure of its own.
    PluginFailed,
    /// The plugin crashed.
    PluginTrapped,
    /// The plugin exceeded one of its limits.
    PluginLimit,
    /// A plain reply cannot carry the result.
    ReplyUnframeable,
    /// A resource that the command needs is unreachable.
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

/// Assumptions that the client may make about a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Never started: safe to send again.
    NotRun,
    /// Ran, and reported failure.
    Failed,
    /// Started and not completed: may have had effects.
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

/// A failed command, as reported to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The kind of failure.
    pub code: Code,
    /// The assumption that the client may make.
    pub outcome: Outcome,
    /// One sentence for people. Escaped and truncated when written.
    pub message: Cow<'static, str>,
}

/// The reply to a command: its bytes, or its failure.
pub type Reply = Result<Vec<u8>, CommandError>;

impl CommandError {
    /// A command that was never started.
    pub fn not_run(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Outcome::NotRun, message.into())
    }

    /// A command that ran and reported failure.
    pub fn failed(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Outcome::Failed, message.into())
    }

    /// A command that was started and may have had effects.
    pub fn unknown(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Outcome::Unknown, message.into())
    }

    /// Truncates a message longer than is ever written: it may be a plugin's, and as large as a reply.
    fn new(code: Code, outcome: Outcome, mut message: Cow<'static, str>) -> Self {
        if message.len() > MAX_KEPT_BYTES {
            message = message[..message.floor_char_boundary(MAX_KEPT_BYTES)].to_owned().into();
        }
        Self { code, outcome, message }
    }
}

/// Bytes of a message that are kept: more than the longest characters of a written message take, so that
/// writing it truncates it visibly.
const MAX_KEPT_BYTES: usize = 4 * (MAX_MESSAGE_CHARS + 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_what_is_written_and_little_more() {
        let long = "\u{1f980}".repeat(MAX_KEPT_BYTES);
        let kept = CommandError::failed(Code::Denied, long.clone()).message.into_owned();
        assert!(kept.chars().count() > MAX_MESSAGE_CHARS && kept.capacity() <= MAX_KEPT_BYTES);
        assert!(long.starts_with(&kept));
        let odd = CommandError::failed(Code::Denied, "é".to_owned() + &long).message;
        assert!(odd.len() <= MAX_KEPT_BYTES && odd.ends_with('\u{1f980}'));
        assert_eq!(CommandError::unknown(Code::Denied, "short").message, "short");
    }
}
