//! The server's bytes, read into replies as they come. Knows no sockets: whoever has one pushes what it read.
//!
//! A server is trusted to be itself, not to be right: a head has a bound and a grammar, a body a bound, and
//! no memory is set aside for bytes that are only promised.

use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// The longest head of a reply: an error's message is at most 1,024 characters, so this is ample.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The longest body. A reply is held in memory until it is whole.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// The end of a head and of a plain reply.
const END: &[u8] = b"\r\n\r\n";

/// What comes back for a request that had a `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A part of a reply that goes on.
    Part {
        /// The request's sequence.
        sequence: String,
        /// These bytes of it.
        body: Bytes,
    },
    /// The reply's end, or all of it.
    Ok {
        /// The request's sequence.
        sequence: String,
        /// Its bytes.
        body: Bytes,
    },
    /// The command was not carried out, or the connection is refused.
    Err {
        /// The request's sequence; nothing where the server speaks of the connection as a whole, which it
        /// then closes.
        sequence: Option<String>,
        /// What the server says.
        refusal: Refusal,
    },
}

/// What comes back for a request that had no `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// The reply's text.
    Text(Bytes),
    /// The message behind `ERR`.
    Err(Refusal),
}

/// A server's `ERR`. Shown with its code and outcome, if it has them, and as it came: whoever shows it on a
/// terminal must escape it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Refusal {
    /// One sentence.
    pub message: String,
    /// The kind of failure.
    pub code: Option<String>,
    /// Whether the command ran: `not-run`, `failed` or `unknown`.
    pub outcome: Option<String>,
}

/// Bytes that are no reply. What follows them can't be read any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The head does not end.
    #[error("the server sent a head of more than {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// The body is larger than fits.
    #[error("the server's reply is larger than {0} bytes")]
    BodyTooLong(usize),
    /// The head breaks the grammar.
    #[error("the server sent what is no reply: {0}")]
    Malformed(&'static str),
}

/// Makes replies of bytes. Which kind comes next, plain or framed, is known by whoever sent the requests, or by the
/// first line: no server sends a plain reply that reads as a frame or, unless it is one, as an error.
#[derive(Debug)]
pub struct ReplyReader {
    buffer: BytesMut,
    /// Bytes of the buffer in which no end begins.
    scanned: usize,
    /// A frame whose body is not complete.
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
    /// Takes bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where bytes that come may be written at the end, instead of pushing them.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether it holds part of a reply.
    #[must_use]
    pub fn is_within_a_reply(&self) -> bool {
        self.head.is_some() || !self.buffer.is_empty()
    }

    /// The next frame, if all of it has come.
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

    /// The next plain reply, if all of it has come.
    ///
    /// # Errors
    /// If it is too long, or an error that is not UTF-8.
    pub fn next_plain(&mut self) -> Result<Option<Plain>, ReplyError> {
        let limit = self.max_body_bytes;
        self.plain(limit, ReplyError::BodyTooLong(limit))
    }

    /// The server's greeting, if all of it has come. It is no longer than a head.
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

    /// What stands before the next empty line, without it. Looks at each byte once, whatever the splits.
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
    /// Of the request that is answered; none where the server speaks of the connection.
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
                // Later servers may send more.
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
    // So many digits that they don't fit a number are too large as well.
    let size = digits.parse().unwrap_or(usize::MAX);
    if size > max_body_bytes { Err(ReplyError::BodyTooLong(max_body_bytes)) } else { Ok(size) }
}

impl Refusal {
    /// Whether it is the server that does not let this client run the command, and not a plugin that says so.
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
#[path = "reply_tests.rs"]
mod tests;
