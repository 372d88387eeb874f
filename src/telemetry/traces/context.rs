//! The ids of traces and spans, and the header `traceparent` that carries them from one program to the next
//! (W3C Trace Context, level 1).

use std::fmt;

/// The id of a trace. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The id of a span. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl TraceId {
    pub(super) fn random() -> Self {
        Self(fastrand::u128(1..))
    }

    /// Its bytes, in the order in which they are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(fastrand::u64(1..))
    }

    /// Its bytes, in the order in which they are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// The value of a header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) is_sampled: bool,
}

/// Name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// The bit of the flags that is set if the caller records its spans.
const SAMPLED: u128 = 1;

impl Traceparent {
    /// Parses the value of the header; `None` if it is malformed. Of a later version it reads what that has
    /// in common with this one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let mut next = |digits| number(fields.next()?, digits);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let has_more = fields.next().is_some();
        let is_known = version == 0 && !has_more || (1..0xff).contains(&version);
        let span = u64::try_from(span).ok()?;
        let is_sampled = flags & SAMPLED != 0;
        (is_known && trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled,
        })
    }

    /// Returns true if the caller records its spans.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace: TraceId(trace), span: SpanId(span), is_sampled } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(*is_sampled))
    }
}

/// Parses exactly so many hexadecimal digits, in lower case as the header has them.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn what_the_header_says() {
        for (text, is_sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-fe"), Some(false)),
            (format!("01-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), Some(true)),
            (format!("fe-{TRACE}-{SPAN}-01-"), Some(true)),
            (String::new(), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("00-{TRACE}-{SPAN}-01-"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{TRACE}-{SPAN}-0g"), None),
            (format!("0-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{SPAN}-01", &TRACE[1..]), None),
            (format!("00-{TRACE}0-{SPAN}-01"), None),
            (format!("00-{TRACE}-+{}-01", &SPAN[1..]), None),
            (format!(" 00-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-01 "), None),
            (format!("00_{TRACE}_{SPAN}_01"), None),
            (format!("00-{TRACE}-{SPAN}-\u{0660}1"), None),
        ] {
            let parsed = Traceparent::parse(&text);
            assert_eq!(parsed.map(Traceparent::is_sampled), is_sampled, "{text:?}");
            if let Some(parsed) = parsed {
                assert!(parsed.to_string().starts_with(&format!("00-{TRACE}-{SPAN}-")), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64.., is_sampled: bool) {
            let context = Traceparent { trace: TraceId(trace), span: SpanId(span), is_sampled };
            prop_assert_eq!(Traceparent::parse(&context.to_string()), Some(context));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}", field in "[0-9a-f-]{50,60}") {
            for text in [text, field] {
                let again = Traceparent::parse(&text).map(|parsed| parsed.to_string());
                let reread = again.as_deref().and_then(Traceparent::parse);
                prop_assert_eq!(reread.map(|parsed| parsed.to_string()), again);
            }
        }
    }
}
