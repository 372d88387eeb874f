//! The head of a request: lines ended by CR LF, the last of them empty. The first has the arguments, with
//! single spaces between them and double quotes around one that holds other bytes; the others are headers.
//!
//! The head is scanned and parsed line by line as its bytes arrive, each byte once, and the first fault in
//! byte order is reported. So the result does not depend on the split, the work is linear, and a fault is
//! reported at once (otherwise a client that ends its lines with LF alone would wait for a reply that never
//! comes).

use memchr::{memchr, memchr2};

use super::fault::Fault;
use super::request::{Parts, Request, Sequence, Span, Text, is_token};
use super::{MAX_ARGUMENTS, MAX_HEAD_BYTES, MAX_HEADERS};

/// A head that may be partly read.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    /// The parsed part of the request; `None` until its first line is complete, so that an idle connection
    /// allocates nothing.
    parts: Option<Box<Parts>>,
    size: Option<u64>,
    /// Bytes of the head already scanned.
    scanned: usize,
    line_start: usize,
    /// Completed lines.
    lines: usize,
}

/// A complete head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request,
    /// The value of `Size`, or 0.
    pub(super) size: u64,
    /// Bytes of the head, including its empty line.
    pub(super) length: usize,
}

impl HeadParser {
    /// Continues with `input`, which begins where the head does and is at least as long as in the previous
    /// call.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<Option<Head>, Fault> {
        let window = &input[..input.len().min(MAX_HEAD_BYTES)];
        loop {
            let Some(control) = find_control(&window[self.scanned..]) else {
                self.scanned = window.len();
                return self.incomplete();
            };
            let at = self.scanned + control;
            self.scanned = at;
            match (window[at], window.get(at + 1)) {
                (b'\r', Some(b'\n')) => {}
                (b'\r', None) => {
                    return if at + 1 == MAX_HEAD_BYTES { Err(Fault::HeadTooLong) } else { Ok(None) };
                }
                (b'\r', Some(_)) => return Err(Fault::BareCr { at: at + 1 }),
                (b'\n', _) => return Err(Fault::BareLf { at: at + 1 }),
                (byte, _) => return Err(Fault::Control { byte, at: at + 1 }),
            }
            self.scanned = at + 2;
            if at == self.line_start && self.lines > 0 {
                return Ok(Some(self.complete()));
            }
            self.parse_line(&window[self.line_start..at])?;
            self.line_start = self.scanned;
        }
    }

    /// Returns true once any byte of a head has been read.
    pub(super) fn is_begun(&self) -> bool {
        self.scanned > 0
    }

    fn incomplete(&self) -> Result<Option<Head>, Fault> {
        if self.scanned == MAX_HEAD_BYTES { Err(Fault::HeadTooLong) } else { Ok(None) }
    }

    fn complete(&mut self) -> Head {
        let HeadParser { parts, size, scanned, .. } = std::mem::take(self);
        Head { request: Request(parts.unwrap_or_default()), size: size.unwrap_or(0), length: scanned }
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        if let (Some(parts), Some(sequence)) = (&mut self.parts, usual_sequence(line)) {
            self.lines += 1;
            return set_once(&mut parts.sequence, sequence, "Sequence", self.lines);
        }
        let line = std::str::from_utf8(line)
            .map_err(|error| Fault::NotUtf8 { at: self.line_start + error.valid_up_to() + 1 })?;
        self.lines += 1;
        let parts = self.parts.get_or_insert_default();
        if self.lines == 1 {
            parts.text.reserve(line.len());
            parse_arguments(line, parts)
        } else {
            parse_header(line, self.lines, parts, &mut self.size)
        }
    }
}

/// Parses `line`, which is UTF-8 without control characters, into `request`'s arguments. `line` begins at the
/// head's first byte.
fn parse_arguments(line: &str, request: &mut Parts) -> Result<(), Fault> {
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

/// Fast path for a `Sequence` header in its usual form: every framed request has one, so skip the checks for
/// other headers.
fn usual_sequence(line: &[u8]) -> Option<Sequence> {
    Sequence::of_bytes(line.strip_prefix(b"Sequence: ")?)
}

/// Parses a header; `line` is the number of its line in the head.
fn parse_header(text: &str, line: usize, parts: &mut Parts, size: &mut Option<u64>) -> Result<(), Fault> {
    let colon = memchr(b':', text.as_bytes()).ok_or(Fault::NoColon { line })?;
    let (name, value) = (&text[..colon], &text[colon + 1..]);
    if name.is_empty() || !name.bytes().all(|byte| IS_TOKEN[usize::from(byte)]) {
        return Err(Fault::HeaderName { line });
    }
    let value = trim_spaces(value);
    if name.eq_ignore_ascii_case("Sequence") {
        let sequence = Sequence::parse(value).ok_or(Fault::Sequence { line })?;
        set_once(&mut parts.sequence, sequence, "Sequence", line)
    } else if name.eq_ignore_ascii_case("Size") {
        set_once(size, number(value, "Size", line)?, "Size", line)
    } else if name.eq_ignore_ascii_case("Timeout-Ms") {
        set_once(&mut parts.timeout_ms, number(value, "Timeout-Ms", line)?, "Timeout-Ms", line)
    } else {
        if parts.headers.len() == MAX_HEADERS {
            return Err(Fault::TooManyHeaders { line });
        }
        let is_key = name.eq_ignore_ascii_case("Idempotency-Key");
        let (name, span) = (append(&mut parts.text, name), append(&mut parts.text, value));
        parts.headers.push((name, span));
        if is_key { set_key(&mut parts.idempotency_key, value, span, line) } else { Ok(()) }
    }
}

/// Records the position of an `Idempotency-Key`: the plugin can read it as well.
fn set_key(slot: &mut Option<Span>, value: &str, span: Span, line: usize) -> Result<(), Fault> {
    if !is_token(value.as_bytes()) {
        return Err(Fault::IdempotencyKey { line });
    }
    set_once(slot, span, "Idempotency-Key", line)
}

fn trim_spaces(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix(' ') {
        text = rest;
    }
    while let Some(rest) = text.strip_suffix(' ') {
        text = rest;
    }
    text
}

/// Finds the first control byte, eight bytes at a time.
///
/// The sums below set the highest bit of each byte of a word that is less than 32, or 127. A carry may also
/// set that of a byte after such a byte, never before the first (H. Warren, Hacker's Delight, 6-1: the search
/// for a zero byte).
fn find_control(bytes: &[u8]) -> Option<usize> {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = EACH << 7;
    let (words, rest) = bytes.as_chunks();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is_delete = word ^ (EACH * 0x7f);
        let found =
            (word.wrapping_sub(EACH * 0x20) & !word | is_delete.wrapping_sub(EACH) & !is_delete) & HIGHEST;
        if found != 0 {
            return Some(place * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let tail = rest.iter().position(|&byte| is_control(byte))?;
    Some(bytes.len() - rest.len() + tail)
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Set for each `tchar` of RFC 9110, section 5.6.2.
const IS_TOKEN: [bool; 256] = {
    let mut is_token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        is_token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut signs = b"!#$%&'*+-.^_`|~".as_slice();
    while let [sign, rest @ ..] = signs {
        is_token[*sign as usize] = true;
        signs = rest;
    }
    is_token
};

fn append(text: &mut Text, part: &str) -> Span {
    let begin = text.len();
    text.push_str(part);
    Span::new(begin..text.len())
}

fn set_once<T>(slot: &mut Option<T>, value: T, name: &'static str, line: usize) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Repeated { name, line }),
    }
}

/// Parses digits alone: no sign, no space, no other base, at most 64 bits.
fn number(value: &str, name: &'static str, line: usize) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or(Fault::Number { name, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_byte_is_found_wherever_it_stands_and_whatever_stands_around() {
        for around in 0..=u8::MAX {
            for byte in 0..=u8::MAX {
                for at in 0..20 {
                    let mut bytes = [around; 20];
                    bytes[at] = byte;
                    let first = bytes.iter().position(|&byte| is_control(byte));
                    assert_eq!(find_control(&bytes), first, "{byte} at {at}, {around} around it");
                }
            }
        }
    }

    #[test]
    fn no_byte_is_looked_at_more_than_twice_however_the_head_comes() {
        let line = |letter: char| format!("{letter}: {}\r\n", "x".repeat(70));
        let head = format!("echo\r\n{}\r\n", ('a'..='z').cycle().take(105).map(line).collect::<String>());
        assert!(head.len() <= MAX_HEAD_BYTES);
        let (mut parser, mut looked_at, mut done) = (HeadParser::default(), 0, false);
        for end in 1..=head.len() {
            // From where the last call stopped: a CR is scanned again once the next byte is there.
            looked_at += end - parser.scanned;
            done = parser.advance(&head.as_bytes()[..end]).unwrap().is_some();
        }
        assert!(done);
        assert!(looked_at <= 2 * head.len(), "{looked_at} of {}", head.len());
    }
}
