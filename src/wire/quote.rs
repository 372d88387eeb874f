//! The line of arguments: single spaces between arguments, double quotes around one that contains spaces or
//! other special bytes.

use memchr::{memchr, memchr2};

use super::MAX_ARGUMENTS;
use super::fault::Fault;
use super::request::{Parts, Span, Text};

/// Parses `line`, which is UTF-8 without control characters, into `request`'s arguments. `line` begins at the
/// head's first byte.
pub(super) fn parse_arguments(line: &str, request: &mut Parts) -> Result<(), Fault> {
    let mut rest = 0;
    loop {
        if request.arguments.len() == MAX_ARGUMENTS {
            return Err(Fault::TooManyArguments { at: rest + 1 });
        }
        let text = &line[rest..];
        let begin = request.text.len();
        let end = if text.starts_with('"') {
            let number = request.arguments.len() + 1;
            rest + unquote(text, rest + 1, number, &mut request.text)?
        } else {
            let end = memchr(b' ', text.as_bytes()).unwrap_or(text.len());
            request.text.push_str(&text[..end]);
            rest + end
        };
        request.arguments.push(Span::new(begin..request.text.len()));
        if end == line.len() {
            break;
        }
        rest = end + 1;
    }
    if request.command().is_empty() { Err(Fault::EmptyCommand { at: 1 }) } else { Ok(()) }
}

/// Appends the quoted argument at the start of `text` to `out`; returns its length in `text`. `at` is the
/// place of the opening quote in the head, from 1.
fn unquote(text: &str, at: usize, argument: usize, out: &mut Text) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    let mut resolved = Vec::new();
    let mut position = 1;
    loop {
        let Some(length) = memchr2(b'"', b'\\', &bytes[position..]) else {
            return Err(Fault::UnclosedQuote { argument, at });
        };
        resolved.extend_from_slice(&bytes[position..position + length]);
        position += length;
        if bytes[position] == b'"' {
            break;
        }
        let Some((byte, length)) = unescape(&bytes[position + 1..]) else {
            return Err(Fault::BadEscape { at: at + position });
        };
        resolved.push(byte);
        position += 1 + length;
    }
    position += 1;
    if bytes.get(position).is_some_and(|&byte| byte != b' ') {
        return Err(Fault::AfterQuote { argument, at: at + position });
    }
    let resolved = std::str::from_utf8(&resolved).map_err(|_| Fault::ArgumentNotUtf8 { argument })?;
    out.push_str(resolved);
    Ok(position)
}

/// Returns the byte for the escape after a backslash, and the escape's length.
pub(crate) fn unescape(escape: &[u8]) -> Option<(u8, usize)> {
    Some(match escape.first()? {
        b'"' => (b'"', 1),
        b'\\' => (b'\\', 1),
        b'r' => (b'\r', 1),
        b'n' => (b'\n', 1),
        b't' => (b'\t', 1),
        b'x' => (hex_digit(*escape.get(1)?)? << 4 | hex_digit(*escape.get(2)?)?, 3),
        _ => return None,
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
