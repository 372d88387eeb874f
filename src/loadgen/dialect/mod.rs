//! The protocol of a Lictor server, for one command sent repeatedly.
//!
//! Replies are parsed in place, without an allocation: `client::ReplyReader`, which returns their content,
//! costs more than the server spends on some of them.

use memchr::memmem;

use super::{Dialect, Reply};
use crate::client::Request;

/// The longest head of a reply, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The longest body, and the longest plain reply, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// The terminator of a head and of a plain reply.
const END: &[u8] = b"\r\n\r\n";

/// The label of failures without a code, such as plain ones.
const NO_CODE: &str = "ERR";

/// The kind of reply requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With a `Sequence`: a connection's requests run concurrently.
    Framed,
    /// Without one: they run one after the other. A result that begins with `ERR ` counts as a failure.
    Plain,
}

/// The dialect of a Lictor server, for one request.
#[derive(Clone, Debug)]
pub struct Lictor {
    request: Request,
    mode: Mode,
}

impl Lictor {
    /// Sends this request; replaces any `Sequence` it has.
    #[must_use]
    pub fn new(request: Request, mode: Mode) -> Self {
        Self { request, mode }
    }
}

impl Dialect for Lictor {
    fn greeting(&self, received: &[u8]) -> Result<Option<usize>, String> {
        let Some(length) = memmem::find(received, END) else {
            let is_greeting = [&b"OK\r\n\r\n"[..], b"ERR "].iter().any(|form| begins_alike(received, form));
            return if is_greeting {
                Ok(None)
            } else {
                Err("it did not greet as a Lictor server does".to_owned())
            };
        };
        match &received[..length] {
            b"OK" => Ok(Some(length + END.len())),
            refusal => Err(String::from_utf8_lossy(refusal).into_owned()),
        }
    }

    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String> {
        let encode = |slot: usize| match self.mode {
            Mode::Framed => self.request.clone().sequence(slot as u64).encode(),
            Mode::Plain => self.request.encode(),
        };
        (0..in_flight).map(encode).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String> {
        match self.mode {
            Mode::Framed => framed(received),
            Mode::Plain => plain(received),
        }
    }
}

/// Returns true if one is a prefix of the other.
fn begins_alike(one: &[u8], other: &[u8]) -> bool {
    let length = one.len().min(other.len());
    one[..length] == other[..length]
}

fn plain(received: &[u8]) -> Result<Option<Reply>, String> {
    let Some(length) = memmem::find(received, END) else {
        return if received.len() > MAX_BODY_BYTES { Err(malformed("it is too large")) } else { Ok(None) };
    };
    let failure = received.starts_with(b"ERR ").then(|| NO_CODE.to_owned());
    Ok(Some(Reply { failure, ..Reply::in_order(length + END.len()) }))
}

fn framed(received: &[u8]) -> Result<Option<Reply>, String> {
    let Some(head) = usual_head(received).map_or_else(|| any_head(received), |head| Ok(Some(head)))? else {
        return Ok(None);
    };
    if head.size > MAX_BODY_BYTES {
        return Err(malformed("it is too large"));
    }
    let length = head.length + head.size;
    if received.len() < length {
        return Ok(None);
    }
    let failure = head.code.map(|code| String::from_utf8_lossy(code).into_owned());
    Ok(Some(Reply { length, slot: Some(head.sequence), is_last: head.is_last, failure }))
}

/// A frame's head: its own length, and its fields.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    length: usize,
    sequence: usize,
    size: usize,
    is_last: bool,
    /// The error code of a failure.
    code: Option<&'a [u8]>,
}

/// Parses a head in the form that servers use for good replies; `None` if it has another form or is
/// incomplete.
fn usual_head(received: &[u8]) -> Option<Head<'_>> {
    let rest = received.strip_prefix(b"OK\r\nSequence: ")?;
    let (sequence, rest) = number(rest)?;
    let (size, rest) = number(rest.strip_prefix(b"\r\nSize: ")?)?;
    let rest = rest.strip_prefix(END)?;
    Some(Head { length: received.len() - rest.len(), sequence, size, is_last: true, code: None })
}

/// Parses any head, if complete: headers in any order, including ones that later servers may add.
fn any_head(received: &[u8]) -> Result<Option<Head<'_>>, String> {
    let within = &received[..received.len().min(MAX_HEAD_BYTES)];
    let Some(end) = memmem::find(within, END) else {
        return if received.len() > MAX_HEAD_BYTES {
            Err(malformed("its head does not end"))
        } else {
            Ok(None)
        };
    };
    let text = &received[..end];
    let line_end = memmem::find(text, b"\r\n").unwrap_or(end);
    let (status, headers) = text.split_at(line_end);
    let field = |name| header(headers, name);
    let is_failure = status == b"ERR" || status.starts_with(b"ERR ");
    if !is_failure && status != b"OK" && status != b"PART" {
        return Err(malformed("it begins with neither OK, PART nor ERR"));
    }
    let whole = |value| number(value).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number);
    let size = match field("Size").map(whole) {
        Some(Some(size)) => size,
        None if is_failure => 0,
        _ => return Err(malformed("it has no Size, or one that is no number")),
    };
    let Some(sequence) = field("Sequence") else {
        // A reply without a `Sequence` is about the connection as a whole; the server then closes it.
        return Err(format!("the server gave up a connection: {}", String::from_utf8_lossy(status)));
    };
    let sequence = whole(sequence).ok_or_else(|| malformed("its Sequence is of no request"))?;
    let code = is_failure.then(|| field("Code").unwrap_or(NO_CODE.as_bytes()));
    Ok(Some(Head { length: end + END.len(), sequence, size, is_last: status != b"PART", code }))
}

/// The value of a header, trimmed. `headers` begins with the line break before the first header.
fn header<'a>(headers: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers.split(|byte| *byte == b'\n').find_map(|line| {
        let (own, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        own.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// Parses a leading number, and returns it with the remaining bytes. More than 18 digits are not a number.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 18 {
        return None;
    }
    let number = bytes[..digits].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    Some((number, &bytes[digits..]))
}

fn malformed(what: &str) -> String {
    format!("the server sent what is no reply: {what}")
}

#[cfg(test)]
mod tests;
