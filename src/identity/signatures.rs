//! Signatures that are checked for one chain, counted, since a stranger chooses how many there are to check.
//!
//! `webpki` has a budget of its own: 100, which can't be changed, for each search. So it is handed algorithms that count, look up
//! what they have checked before, and say no once the budget of the chain is used up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::ALL_VERIFICATION_ALGS;

use crate::sync::locked;

/// Signatures that are checked for one chain, all searches in it together: three lead from a client to a root by way of an
/// authority in between, six through the longest chain, and the rest is for authorities of one name.
pub(super) const MAX_SIGNATURES: usize = 10;

/// Signatures of revocation lists that are remembered.
const MAX_LISTS: usize = 64;

/// The signatures that were checked for one chain.
#[derive(Debug)]
pub(super) struct Signatures<'a> {
    chain: &'a [CertificateDer<'a>],
    lists: &'a ListSignatures,
    checked: Mutex<Checked>,
}

#[derive(Debug, Default)]
struct Checked {
    verdicts: Vec<Verdict>,
    is_used_up: bool,
}

/// Whether a key made the signature of a certificate. Both are known by where they lie: all that a search looks at stays in
/// its place until the search ends.
#[derive(Debug)]
struct Verdict {
    message: (usize, usize),
    key: (usize, usize),
    is_good: bool,
}

impl<'a> Signatures<'a> {
    /// The budget of `chain`. All other messages whose signatures are checked with it are those of revocation lists, which
    /// `lists` remembers.
    pub(super) fn of(chain: &'a [CertificateDer<'a>], lists: &'a ListSignatures) -> Self {
        Self { chain, lists, checked: Mutex::default() }
    }

    /// Whether more had to be checked than may be. What was found then is not to be relied on, unless it is a path.
    pub(super) fn are_used_up(&self) -> bool {
        locked(&self.checked).is_used_up
    }

    /// How many were computed.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        locked(&self.checked).verdicts.len()
    }

    /// All algorithms, such that they count.
    pub(super) fn algorithms(&'a self) -> Vec<Counted<'a>> {
        ALL_VERIFICATION_ALGS
            .iter()
            .map(|algorithm| Counted { algorithm: *algorithm, signatures: self })
            .collect()
    }

    fn check(&self, key: &[u8], message: &[u8], compute: impl FnOnce() -> bool) -> bool {
        let is_of_chain = self.chain.iter().any(|certificate| lies_in(message, certificate));
        if !is_of_chain {
            return self.lists.check(key, message, compute);
        }
        let (message, key) = (place(message), place(key));
        let mut checked = locked(&self.checked);
        let known = checked.verdicts.iter().find(|verdict| verdict.message == message && verdict.key == key);
        if let Some(verdict) = known {
            return verdict.is_good;
        }
        if checked.verdicts.len() >= MAX_SIGNATURES {
            checked.is_used_up = true;
            return false;
        }
        let is_good = compute();
        checked.verdicts.push(Verdict { message, key, is_good });
        is_good
    }
}

/// Whether the signatures of revocation lists are good, for as long as the lists are there. To check one takes time in
/// proportion to its list, and a client that was revoked can come again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct ListSignatures(Arc<Mutex<HashMap<ListSignature, bool>>>);

/// The signature of the list that lies there, by the key of the one whose list it says it is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListSignature {
    list: (usize, usize),
    key: Vec<u8>,
}

impl ListSignatures {
    fn check(&self, key: &[u8], message: &[u8], compute: impl FnOnce() -> bool) -> bool {
        let signature = ListSignature { list: place(message), key: key.to_owned() };
        let mut known = locked(&self.0);
        if let Some(is_good) = known.get(&signature) {
            return *is_good;
        }
        if known.len() >= MAX_LISTS {
            known.clear();
        }
        // Under the lock, so that many who come at once have it computed once.
        let is_good = compute();
        known.insert(signature, is_good);
        is_good
    }
}

/// An algorithm whose uses are counted.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signatures: &'a Signatures<'a>,
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let compute = || self.algorithm.verify_signature(public_key, message, signature).is_ok();
        if self.signatures.check(public_key, message, compute) { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// Where bytes lie, and how many they are.
fn place(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_lists_signature_is_computed_once_for_each_key_however_often_it_is_asked_for() {
        let (lists, computed) = (ListSignatures::default(), Cell::new(0));
        let compute = |is_good| {
            computed.set(computed.get() + 1);
            is_good
        };
        let (one, other) = (vec![1; 100], vec![1; 100]);
        for _ in 0..3 {
            assert!(lists.check(b"a key", &one, || compute(true)));
            assert!(!lists.check(b"another", &one, || compute(false)));
            assert!(!lists.clone().check(b"a key", &other, || compute(false)), "alike, and not the same");
        }
        assert_eq!(computed.get(), 3);
        for key in 0..3 * MAX_LISTS {
            lists.check(&key.to_le_bytes(), &one, || true);
        }
        assert!(locked(&lists.0).len() <= MAX_LISTS);
    }
}
