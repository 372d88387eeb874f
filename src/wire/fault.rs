//! Faults in a request's bytes, and their positions.

use super::{MAX_ARGUMENTS, MAX_HEAD_BYTES, MAX_HEADERS, Sequence};

/// A fault in the framing. The start of the next request is then unknown, so the connection ends.
///
/// `at` counts bytes of the head from 1; `line` its lines from 1, the line of arguments being the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// LF without CR before it.
    #[error("bare LF at byte {at}; a line ends with CR LF")]
    BareLf {
        /// Its place.
        at: usize,
    },
    /// CR without LF after it.
    #[error("bare CR at byte {at}; a line ends with CR LF")]
    BareCr {
        /// Its place.
        at: usize,
    },
    /// A control byte, NUL and tab among them.
    #[error("control byte 0x{byte:02x} at byte {at}; write \\x{byte:02x} in a quoted argument")]
    Control {
        /// The byte.
        byte: u8,
        /// Its place.
        at: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8 at byte {at}; send other bytes as a body, with a Size header")]
    NotUtf8 {
        /// The first wrong byte's place.
        at: usize,
    },
    /// No terminating empty line within the limit.
    #[error("the head is longer than {MAX_HEAD_BYTES} bytes; send large data as a body, with a Size header")]
    HeadTooLong,
    /// The command's name is empty.
    #[error("the first argument is empty at byte {at}")]
    EmptyCommand {
        /// Its expected place.
        at: usize,
    },
    /// More arguments than a request may have.
    #[error("argument {} begins at byte {at}, and a request has {MAX_ARGUMENTS} at most; send many as a body, with a Size header", MAX_ARGUMENTS + 1)]
    TooManyArguments {
        /// Place of the first excess argument.
        at: usize,
    },
    /// More headers than a request may have.
    #[error(
        "the header in line {line} is one more than the {MAX_HEADERS} that a request may have; send many as a body, with a Size header"
    )]
    TooManyHeaders {
        /// Its line.
        line: usize,
    },
    /// A quoted argument without its closing quote.
    #[error("argument {argument} has no closing quote; it opens at byte {at}")]
    UnclosedQuote {
        /// Its number, the command being 1.
        argument: usize,
        /// Place of its opening quote.
        at: usize,
    },
    /// A character other than a space after a closing quote.
    #[error("a space or the line's end must follow the closing quote of argument {argument}, at byte {at}")]
    AfterQuote {
        /// Its number.
        argument: usize,
        /// Place of the character after the quote.
        at: usize,
    },
    /// A backslash followed by an unknown escape.
    #[error("unknown escape at byte {at}; known are \\\" \\\\ \\r \\n \\t \\xHH")]
    BadEscape {
        /// The backslash's place.
        at: usize,
    },
    /// An argument whose escapes give bytes that are not UTF-8.
    #[error(
        "argument {argument} is not UTF-8 once its escapes are resolved; send bytes as a body, with a Size header"
    )]
    ArgumentNotUtf8 {
        /// Its number.
        argument: usize,
    },
    /// A header line without a colon.
    #[error("no colon in the header in line {line}; a header is `Name: value`")]
    NoColon {
        /// Its line.
        line: usize,
    },
    /// A header whose name is no token.
    #[error(
        "the header's name in line {line} is empty or has a character other than letters, digits and !#$%&'*+-.^_`|~"
    )]
    HeaderName {
        /// Its line.
        line: usize,
    },
    /// `Sequence`, `Size`, `Timeout-Ms` or `Idempotency-Key` given twice.
    #[error("{name} is repeated in line {line}")]
    Repeated {
        /// Its name.
        name: &'static str,
        /// The second one's line.
        line: usize,
    },
    /// A `Sequence` that is no token.
    #[error("Sequence in line {line} is not 1 to 64 visible ASCII characters")]
    Sequence {
        /// Its line.
        line: usize,
    },
    /// An `Idempotency-Key` that is no token.
    #[error("Idempotency-Key in line {line} is not 1 to 64 visible ASCII characters")]
    IdempotencyKey {
        /// Its line.
        line: usize,
    },
    /// A number with an invalid form.
    #[error("{name} in line {line} is not a whole decimal number")]
    Number {
        /// The header.
        name: &'static str,
        /// Its line.
        line: usize,
    },
    /// A body larger than the server accepts.
    #[error("a body of {size} bytes is larger than the limit of {max}")]
    TooLarge {
        /// The value of `Size`.
        size: u64,
        /// The server's limit.
        max: usize,
        /// The request's `Sequence`, if it had one.
        sequence: Option<Sequence>,
    },
    /// A `Sequence` that another request in flight has.
    #[error("Sequence {0} is already in flight")]
    InFlight(Sequence),
    /// The peer ended its side in the middle of a request.
    #[error("the connection ended within a request's {0}")]
    Truncated(&'static str),
    /// The rest of a request did not come in time.
    #[error("the rest of the request's {0} did not come in time")]
    TooSlow(&'static str),
}
