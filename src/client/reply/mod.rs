//! Parses the server's bytes into replies as they arrive. Knows no sockets: the caller pushes the bytes read.
//!
//! The server is authenticated, but not assumed to be correct: heads have a limit and a grammar, bodies a
//! limit, and no memory is allocated for bytes that were only announced.

use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Maximum bytes of a reply's head. An error's message has at most 1,024 characters, so this is ample.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Maximum bytes of a body. A reply is buffered until it is complete.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// The end of a head and of a plain reply.
const END: &[u8] = b"\r\n\r\n";

/// A reply to a request with a `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A part of a reply, to be continued.
    Part {
        /// The request's sequence.
        sequence: String,
        /// The bytes of this part.
        body: Bytes,
    },
    /// The last part of a reply, or the whole of it.
    Ok {
        /// The request's sequence.
        sequence: String,
        /// The bytes of this part.
        body: Bytes,
    },
    /// The command was not carried out, or the connection is refused.
    Err {
        /// The request's sequence; `None` if the error concerns the whole connection, which the server then
        /// closes.
        sequence: Option<String>,
        /// The server's message.
        refusal: Refusal,
    },
}

/// A reply to a request without a `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// The reply's text.
    Text(Bytes),
    /// The message after `ERR`.
    Err(Refusal),
}

/// A server's `ERR`. Displayed with its code and outcome, if any, and unescaped: whoever shows it on a
/// terminal must escape it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Refusal {
    /// One sentence.
    pub message: String,
    /// The kind of failure.
    pub code: Option<String>,
    /// States if the command ran: `not-run`, `failed` or `unknown`.
    pub outcome: Option<String>,
}

/// Bytes that are no reply. The bytes after them cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The head does not end.
    #[error("the server sent a head of more than {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// The body exceeds the limit.
    #[error("the server's reply is larger than {0} bytes")]
    BodyTooLong(usize),
    /// The head breaks the grammar.
    #[error("the server sent what is no reply: {0}")]
    Malformed(&'static str),
}

/// Parses replies. The kind of the next one, plain or framed, follows from the requests or from the first
/// line: no server sends a plain reply that parses as a frame or, unless it is one, as an error.
#[derive(Debug)]
pub struct ReplyReader {
    buffer: BytesMut,
    /// Bytes of the buffer already searched for an end.
    scanned: usize,
    /// Head of a frame whose body is incomplete.
    head: Option<Head>,
    max_body_bytes: usize,
}

#[derive(Debug)]
struct Head {
    status: Status,
    sequence: Option<String>,
    code: Option<String>,
    outcome: Option<String>,
    size: usize,
}

#[derive(Debug)]
enum Status {
    Part,
    Ok,
    Err(String),
}

impl Default for ReplyReader {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, head: None, max_body_bytes: MAX_BODY_BYTES }
    }
}

impl ReplyReader {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, for reading into directly instead of pushing.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns true if a reply is incomplete.
    #[must_use]
    pub fn is_within_a_reply(&self) -> bool {
        self.head.is_some() || !self.buffer.is_empty()
    }

    /// Returns the next frame, if complete.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ReplyError> {
        if self.head.is_none() {
            let Some(text) = self.take_until_end(MAX_HEAD_BYTES, ReplyError::HeadTooLong)? else {
                return Ok(None);
            };
            self.head = Some(Head::parse(&text, self.max_body_bytes)?);
        }
        match self.head.take() {
            Some(head) if self.buffer.len() >= head.size => {
                let body = self.buffer.split_to(head.size).freeze();
                head.with_body(body).map(Some)
            }
            head => {
                self.head = head;
                Ok(None)
            }
        }
    }

    /// Returns the next plain reply, if complete.
    ///
    /// # Errors
    /// If it is too long, or an error that is not UTF-8.
    pub fn next_plain(&mut self) -> Result<Option<Plain>, ReplyError> {
        let limit = self.max_body_bytes;
        self.plain(limit, ReplyError::BodyTooLong(limit))
    }

    /// Returns the server's greeting, if complete. Limited to the size of a head.
    pub(super) fn greeting(&mut self) -> Result<Option<Plain>, ReplyError> {
        self.plain(MAX_HEAD_BYTES, ReplyError::HeadTooLong)
    }

    fn plain(&mut self, limit: usize, too_long: ReplyError) -> Result<Option<Plain>, ReplyError> {
        let Some(text) = self.take_until_end(limit, too_long)? else {
            return Ok(None);
        };
        let Some(message) = text.strip_prefix(b"ERR ") else {
            return Ok(Some(Plain::Text(text)));
        };
        let message =
            std::str::from_utf8(message).map_err(|_| ReplyError::Malformed("an error that is not UTF-8"))?;
        Ok(Some(Plain::Err(Refusal { message: message.to_owned(), ..Refusal::default() })))
    }

    /// Takes the text before the next empty line. Scans each byte once, however the bytes are split.
    fn take_until_end(&mut self, limit: usize, too_long: ReplyError) -> Result<Option<Bytes>, ReplyError> {
        match memmem::find(&self.buffer[self.scanned..], END) {
            Some(position) if self.scanned + position <= limit => {
                let mut text = self.buffer.split_to(self.scanned + position + END.len());
                text.truncate(text.len() - END.len());
                self.scanned = 0;
                Ok(Some(text.freeze()))
            }
            None if self.buffer.len() < limit + END.len() => {
                self.scanned = self.buffer.len().saturating_sub(END.len() - 1);
                Ok(None)
            }
            _ => Err(too_long),
        }
    }
}

impl Frame {
    /// The sequence of the answered request; `None` for an error of the whole connection.
    pub(super) fn sequence(&self) -> Option<&str> {
        match self {
            Self::Part { sequence, .. } | Self::Ok { sequence, .. } => Some(sequence),
            Self::Err { sequence, .. } => sequence.as_deref(),
        }
    }
}

impl Head {
    fn parse(text: &[u8], max_body_bytes: usize) -> Result<Self, ReplyError> {
        let text =
            std::str::from_utf8(text).map_err(|_| ReplyError::Malformed("a head that is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let status = Status::parse(lines.next().unwrap_or_default())?;
        let (mut sequence, mut size, mut code, mut outcome) = (None, None, None, None);
        for line in lines {
            if line.contains(|character: char| character.is_ascii_control()) {
                return Err(ReplyError::Malformed("a control character in a header"));
            }
            let (name, value) =
                line.split_once(':').ok_or(ReplyError::Malformed("a header without a colon"))?;
            let slot = match name.to_ascii_lowercase().as_str() {
                "sequence" => &mut sequence,
                "size" => &mut size,
                "code" => &mut code,
                "outcome" => &mut outcome,
                // Later servers may send other headers.
                _ => continue,
            };
            if slot.replace(value.trim_matches(' ').to_owned()).is_some() {
                return Err(ReplyError::Malformed("a header that is repeated"));
            }
        }
        let size = match (size, &status) {
            (Some(size), _) => parse_size(&size, max_body_bytes)?,
            (None, Status::Err(_)) => 0,
            (None, _) => return Err(ReplyError::Malformed("a frame without a Size")),
        };
        Ok(Self { status, sequence, code, outcome, size })
    }

    fn with_body(self, body: Bytes) -> Result<Frame, ReplyError> {
        let no_sequence = ReplyError::Malformed("a frame without a Sequence");
        Ok(match self.status {
            Status::Part => Frame::Part { sequence: self.sequence.ok_or(no_sequence)?, body },
            Status::Ok => Frame::Ok { sequence: self.sequence.ok_or(no_sequence)?, body },
            Status::Err(message) => Frame::Err {
                sequence: self.sequence,
                refusal: Refusal { message, code: self.code, outcome: self.outcome },
            },
        })
    }
}

impl Status {
    fn parse(line: &str) -> Result<Self, ReplyError> {
        match line {
            "OK" => Ok(Self::Ok),
            "PART" => Ok(Self::Part),
            "ERR" => Ok(Self::Err(String::new())),
            line => match line.strip_prefix("ERR ") {
                Some(message) => Ok(Self::Err(message.to_owned())),
                None => Err(ReplyError::Malformed("it begins with neither OK, PART nor ERR")),
            },
        }
    }
}

fn parse_size(digits: &str, max_body_bytes: usize) -> Result<usize, ReplyError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ReplyError::Malformed("a Size that is no number"));
    }
    // A number too long to parse is too large as well.
    let size = digits.parse().unwrap_or(usize::MAX);
    if size > max_body_bytes { Err(ReplyError::BodyTooLong(max_body_bytes)) } else { Ok(size) }
}

impl Refusal {
    /// Returns true if the server forbids this client the command, as opposed to a plugin that says so.
    #[must_use]
    pub fn is_of_permission(&self) -> bool {
        self.code.as_deref() == Some("forbidden") && self.outcome.as_deref() == Some("not-run")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.code, &self.outcome) {
            (Some(code), Some(outcome)) => write!(f, " ({code}, {outcome})"),
            (Some(word), None) | (None, Some(word)) => write!(f, " ({word})"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
