//! Replies to bytes.

use bytes::{BufMut, BytesMut};
use memchr::memmem;

use super::error::{Code, CommandError, MAX_MESSAGE_CHARS};
use super::fault::Fault;
use super::request::Sequence;
use crate::text::shown;

/// Sent once a client is admitted.
pub const GREETING: &[u8] = b"OK\r\n\r\n";

/// The error if a plain reply can't carry what a command returns.
pub const NEEDS_SEQUENCE: &str = "Reply needs a Sequence header";

/// The end of a head and of a plain reply.
const END: &[u8] = b"\r\n\r\n";

/// The end of a line. Two in a row are an [`END`].
const LINE_END: &[u8] = b"\r\n";

/// Result of [`encode_reply`]: the reply as given or, if a plain reply cannot carry it, an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The reply.
    Whole,
    /// `ERR Reply needs a Sequence header`.
    Unframeable,
}

/// Appends the reply to a command: framed if the request had a `sequence`, plain otherwise.
pub fn encode_reply(
    sequence: Option<&Sequence>,
    answer: Result<&[u8], &CommandError>,
    out: &mut BytesMut,
) -> Sent {
    match (sequence, answer) {
        (Some(sequence), Ok(body)) => framed(sequence, body, out),
        (Some(sequence), Err(error)) => framed_error(sequence, error, out),
        (None, Ok(text)) if is_plain_text(text) => {
            out.reserve(text.len() + END.len());
            out.put_slice(text);
            out.put_slice(END);
        }
        (None, Ok(_)) => {
            plain_error(NEEDS_SEQUENCE, out);
            return Sent::Unframeable;
        }
        (None, Err(error)) => plain_error(message(error), out),
    }
    Sent::Whole
}

/// Appends the reply to bytes that are no request; the connection then ends.
pub fn encode_fault(fault: &Fault, out: &mut BytesMut) {
    match fault {
        Fault::TooLarge { sequence: Some(sequence), .. } => {
            framed_error(sequence, &CommandError::not_run(Code::TooLarge, fault.to_string()), out);
        }
        fault => plain_error(&format!("Bad request: {fault}"), out),
    }
}

/// Appends the reason for the end of the connection: its last reply.
pub fn encode_farewell(words: &str, out: &mut BytesMut) {
    plain_error(words, out);
}

/// Returns true if `text` can be sent as a plain reply: UTF-8 without an empty line, whose first line does
/// not begin the head of a frame or an error. So a plain reply ends at the first empty line, and cannot be
/// misread as anything else.
///
/// `OK` alone is a plain reply: the head of a frame has a `Sequence`, and the greeting comes before the first
/// reply.
#[must_use]
pub fn is_plain_text(text: &[u8]) -> bool {
    !(begins_otherwise(text) || text.ends_with(LINE_END) || memmem::find(text, END).is_some())
        && std::str::from_utf8(text).is_ok()
}

/// Returns true if these bytes begin something else: an empty line, the head of a frame, an error.
fn begins_otherwise(text: &[u8]) -> bool {
    match text.first() {
        Some(b'\r') => text.starts_with(LINE_END),
        Some(b'O') => text.starts_with(b"OK\r\n"),
        Some(b'P') => text.starts_with(b"PART\r\n"),
        Some(b'E') => text == b"ERR" || text.starts_with(b"ERR ") || text.starts_with(b"ERR\r\n"),
        _ => false,
    }
}

/// Appends a part of the reply to the command with this `sequence`; [`encode_reply`] ends the reply.
pub fn encode_part(sequence: &Sequence, part: &[u8], out: &mut BytesMut) {
    frame(b"PART\r\nSequence: ", sequence, part, out);
}

fn framed(sequence: &Sequence, body: &[u8], out: &mut BytesMut) {
    frame(b"OK\r\nSequence: ", sequence, body, out);
}

fn frame(begin: &[u8], sequence: &Sequence, body: &[u8], out: &mut BytesMut) {
    out.reserve(64 + sequence.as_bytes().len() + body.len());
    out.put_slice(begin);
    out.put_slice(sequence.as_bytes());
    out.put_slice(b"\r\nSize: ");
    out.put_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.put_slice(END);
    out.put_slice(body);
}

fn framed_error(sequence: &Sequence, error: &CommandError, out: &mut BytesMut) {
    err_line(message(error), out);
    out.put_slice(b"\r\nSequence: ");
    out.put_slice(sequence.as_bytes());
    out.put_slice(b"\r\nCode: ");
    out.put_slice(error.code.as_str().as_bytes());
    out.put_slice(b"\r\nOutcome: ");
    out.put_slice(error.outcome.as_str().as_bytes());
    out.put_slice(b"\r\nSize: 0\r\n\r\n");
}

fn plain_error(message: &str, out: &mut BytesMut) {
    err_line(message, out);
    out.put_slice(END);
}

fn err_line(message: &str, out: &mut BytesMut) {
    out.put_slice(b"ERR ");
    out.put_slice(shown(message, MAX_MESSAGE_CHARS).to_string().as_bytes());
}

/// The code stands in for an empty message.
fn message(error: &CommandError) -> &str {
    if error.message.is_empty() { error.code.as_str() } else { &error.message }
}
