//! Spans that have ended, as they are sent.

use std::borrow::Cow;
use std::time::Duration;

use super::context::{SpanId, TraceId};

/// Maximum bytes of a text in a span.
pub(super) const MAX_TEXT_BYTES: usize = 256;

/// A span that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its trace.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its part in an exchange between programs.
    pub kind: Kind,
    /// Its begin, since the Unix epoch.
    pub began: Duration,
    /// Its end, since the Unix epoch.
    pub ended: Duration,
    /// Further facts.
    pub attributes: Vec<Attribute>,
    /// The error's code, if it failed.
    pub failure: Option<Cow<'static, str>>,
}

/// The part of a span in an exchange between programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step within this program.
    Internal,
    /// A request that this program answers.
    Server,
    /// A request that this program sends.
    Client,
}

/// A fact about a span: its name and its value.
pub type Attribute = (&'static str, Value);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text of at most 256 bytes.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(bounded(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// Cuts a text to what a span has of it.
pub(super) fn bounded(mut text: String) -> Cow<'static, str> {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text.into()
}
