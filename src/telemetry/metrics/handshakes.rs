//! Handshakes by their result.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Counter;
use super::family::Family;

/// The end of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A client whose certificate is pinned was admitted.
    Pinned,
    /// A client that an authority vouches for was admitted.
    VouchedFor,
    /// The peer showed no certificate.
    NoCertificate,
    /// The certificate is of no client.
    Unknown,
    /// The certificate is a client's, but cannot be used.
    Unusable,
    /// The client has as many connections as it may.
    TooMany,
    /// The peer did not prove that it holds the key of its certificate.
    Unproven,
    /// Nothing came.
    Silent,
    /// The peer was not known in time.
    Timeout,
    /// The peer speaks another protocol.
    NotTls,
    /// The peer speaks versions of TLS that are too old.
    OldTls,
    /// The two have no version, cipher suite or key exchange in common.
    Incompatible,
    /// The peer refused the server, mostly because it does not trust its certificate.
    Alert,
    /// The peer went away.
    Gone,
    /// Anything else.
    Other,
}

const ADMITTED: &str = "admitted";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

const HANDSHAKES: [(Handshake, &str, &str); 15] = [
    (Handshake::Pinned, ADMITTED, "pin"),
    (Handshake::VouchedFor, ADMITTED, "uri"),
    (Handshake::NoCertificate, REFUSED, "no-certificate"),
    (Handshake::Unknown, REFUSED, "unknown"),
    (Handshake::Unusable, REFUSED, "unusable"),
    (Handshake::TooMany, REFUSED, "connections"),
    (Handshake::Unproven, FAILED, "unproven"),
    (Handshake::Silent, FAILED, "silent"),
    (Handshake::Timeout, FAILED, "timeout"),
    (Handshake::NotTls, FAILED, "not-tls"),
    (Handshake::OldTls, FAILED, "old-tls"),
    (Handshake::Incompatible, FAILED, "incompatible"),
    (Handshake::Alert, FAILED, "alert"),
    (Handshake::Gone, FAILED, "gone"),
    (Handshake::Other, FAILED, "other"),
];

static COUNTS: [AtomicU64; HANDSHAKES.len()] = [const { AtomicU64::new(0) }; HANDSHAKES.len()];

impl Handshake {
    /// The reason for this end, as the metrics and `@errors` name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        HANDSHAKES[self as usize].2
    }

    /// Counts one that ended so, by its bound too if it met one.
    pub fn count(self) {
        COUNTS[self as usize].fetch_add(1, Ordering::Relaxed);
        match self {
            Self::Silent => Counter::ConnectionsSilent.count(),
            Self::Timeout => Counter::HandshakesTimedOut.count(),
            _ => {}
        }
    }
}

/// All of them, so that the first one of a kind shows as an increase.
pub(super) fn family() -> Family {
    let samples = HANDSHAKES.iter().map(|(handshake, result, reason)| {
        let labels = vec![("result", (*result).to_owned()), ("reason", (*reason).to_owned())];
        (labels, COUNTS[*handshake as usize].load(Ordering::Relaxed))
    });
    Family::counters("lictor_handshakes_total", "Handshakes, by their result and its reason.", samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_place_and_a_reason_of_its_own() {
        let reasons: std::collections::BTreeSet<_> = HANDSHAKES.iter().map(|(_, _, reason)| reason).collect();
        assert_eq!(reasons.len(), HANDSHAKES.len());
        for (place, (handshake, ..)) in HANDSHAKES.iter().enumerate() {
            assert_eq!(*handshake as usize, place);
        }
    }
}
