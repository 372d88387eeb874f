//! Identity of a request: tells whether two requests are the same.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::wire::Request;

/// The SHA-256 of all that a plugin sees of a request: arguments, headers and body. `Sequence`, `Size` and
/// `Timeout-Ms` are excluded, so a repeated request may have other ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; Self::BYTES]);

impl Fingerprint {
    pub(super) const BYTES: usize = 32;

    pub(super) fn of(request: &Request) -> Self {
        let mut hash = Sha256::new();
        // Counts and lengths come first, so that no two requests hash the same bytes.
        hash.update(length(request.arguments().len()));
        request.arguments().for_each(|argument| add(&mut hash, argument.as_bytes()));
        hash.update(length(request.headers().len()));
        for (name, value) in request.headers() {
            add(&mut hash, name.to_ascii_lowercase().as_bytes());
            add(&mut hash, value.as_bytes());
        }
        add(&mut hash, request.body());
        Self(hash.finalize().into())
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(length(bytes.len()));
    hash.update(bytes);
}

fn length(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::tests::request;

    #[test]
    fn all_that_a_plugin_sees_is_in_it() {
        let first = Fingerprint::of(&request("pay 5 to", "A: b\r\nC: d\r\n", "body"));
        for (line, headers, body) in [
            ("pay 5", "A: b\r\nC: d\r\n", "body"),
            ("pay 5 to x", "A: b\r\nC: d\r\n", "body"),
            ("pay 5to", "A: b\r\nC: d\r\n", "body"),
            ("pay 5t o", "A: b\r\nC: d\r\n", "body"),
            ("pay 5 to", "A: b\r\n", "body"),
            ("pay 5 to", "A: bC\r\nC: d\r\n", "body"),
            ("pay 5 to", "C: d\r\nA: b\r\n", "body"),
            ("pay 5 to", "A: b\r\nC: d\r\n", "bodY"),
            ("pay 5 to", "A: b\r\nC: d\r\n", ""),
        ] {
            assert_ne!(Fingerprint::of(&request(line, headers, body)), first, "{line} {headers} {body}");
        }
    }

    #[test]
    fn what_may_be_other_the_next_time_is_not() {
        let first = Fingerprint::of(&request("pay \"5\"", "A: b\r\n", "body"));
        for headers in ["a: b\r\n", "A:   b  \r\nSequence: 7\r\n", "Timeout-Ms: 5\r\nA: b\r\n"] {
            assert_eq!(Fingerprint::of(&request("pay 5", headers, "body")), first, "{headers}");
        }
    }
}
