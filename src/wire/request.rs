//! A parsed request.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use smallstr::SmallString;
use smallvec::SmallVec;

use super::{MAX_ARGUMENTS, MAX_HEAD_BYTES};

/// The token that identifies a framed reply: 1 to 64 visible ASCII characters.
#[derive(PartialEq, Eq, Hash)]
pub struct Sequence(SmallVec<[u8; 24]>);

impl Clone for Sequence {
    /// Copies all bytes at once: `SmallVec` clones them one by one.
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Sequence {
    /// Parses a sequence token; `None` if `text` is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_bytes(text.as_bytes())
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        is_token(bytes).then(|| Self(SmallVec::from_slice(bytes)))
    }

    /// The token's bytes, all visible ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns true for 1 to 64 visible ASCII characters.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    (1..=64).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A range of [`Parts::text`]. A head has at most 8192 bytes, so 16 bits suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    pub(super) fn new(range: Range<usize>) -> Self {
        let narrow = |position| u16::try_from(position).unwrap_or(u16::MAX);
        Self { start: narrow(range.start), end: narrow(range.end) }
    }

    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

/// One request: arguments, headers and body, within the protocol's limits.
///
/// A pointer, as it is handed on a dozen times before its command runs: the contents are moved only once,
/// into the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(pub(super) Box<Parts>);

/// The arguments and headers of a request.
pub(super) type Text = SmallString<[u8; 32]>;

/// The contents of a request. One string holds all its text, so that its arguments cost no allocation; nor
/// does the string if it is short, as most are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub(super) text: Text,
    pub(super) arguments: SmallVec<[Span; 8]>,
    pub(super) headers: SmallVec<[(Span, Span); 2]>,
    pub(super) sequence: Option<Sequence>,
    pub(super) timeout_ms: Option<u64>,
    /// The value of one of `headers`.
    pub(super) idempotency_key: Option<Span>,
    pub(super) body: Bytes,
}

impl Parts {
    /// The first argument.
    pub(super) fn command(&self) -> &str {
        self.arguments.first().map_or("", |span| &self.text[span.range()])
    }
}

impl Request {
    /// Makes a request that does not come over the wire, within the same limits: one that a plugin composes
    /// for its client. It has no headers.
    ///
    /// # Errors
    ///
    /// The fault, in words.
    pub fn composed(arguments: &[String], body: Bytes) -> Result<Self, &'static str> {
        if arguments.first().is_none_or(String::is_empty) {
            return Err("a command needs a name");
        }
        if arguments.iter().map(|argument| argument.len() + 1).sum::<usize>() > MAX_HEAD_BYTES {
            return Err("the arguments are longer than 8192 bytes; send large data as the body");
        }
        if arguments.len() > MAX_ARGUMENTS {
            return Err("there are more than 1024 arguments; send many as the body");
        }
        let mut parts = Parts { body, ..Parts::default() };
        for argument in arguments {
            let begin = parts.text.len();
            parts.text.push_str(argument);
            parts.arguments.push(Span::new(begin..parts.text.len()));
        }
        Ok(Self(Box::new(parts)))
    }

    /// The first argument, which selects the plugin. Never empty.
    #[must_use]
    pub fn command(&self) -> &str {
        self.0.command()
    }

    /// All arguments, the command first.
    pub fn arguments(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.arguments.iter().map(|span| &self.0.text[span.range()])
    }

    /// The headers for the plugin, in the order sent.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let text = &self.0.text;
        self.0.headers.iter().map(|(name, value)| (&text[name.range()], &text[value.range()]))
    }

    /// The value of the first header of this name, ignoring case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The `Sequence` header. A request with one gets a framed reply, which may overtake others.
    #[must_use]
    pub fn sequence(&self) -> Option<&Sequence> {
        self.0.sequence.as_ref()
    }

    /// The client's deadline, in milliseconds after the request was read; 0 has already expired.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        self.0.timeout_ms
    }

    /// The `Idempotency-Key` header. A request with one runs once, however often it is sent. It is one of the
    /// [`headers`](Self::headers) as well, and 1 to 64 visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.map(|span| &self.0.text[span.range()])
    }

    /// The body, possibly empty.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Drops the body of a request that will not run.
    pub fn drop_body(&mut self) {
        self.0.body = Bytes::new();
    }

    /// Bytes of the arguments and headers.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.0.text.len()
    }

    /// Memory held by the request, for the limit on a connection's requests in flight: its contents, and the
    /// spans of its arguments and headers.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let Parts { text, arguments, headers, body, .. } = &*self.0;
        let spans = size_of_val(arguments.as_slice()) + size_of_val(headers.as_slice());
        size_of::<Parts>() + spans + text.len() + body.len()
    }
}
