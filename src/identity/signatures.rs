//! Counts the signatures checked for one chain, since a stranger chooses their number.
//!
//! `webpki` has a fixed budget of 100 for each search. So it is handed algorithms that count, reuse earlier
//! verdicts and refuse once the chain's budget is used up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::ALL_VERIFICATION_ALGS;

use crate::sync::locked;

/// Maximum signatures checked for one chain, over all searches: three lead from a client to a root through
/// one intermediate, six through the longest chain; the rest allows for authorities of one name.
pub(super) const MAX_SIGNATURES: usize = 10;

/// Maximum revocation list signatures remembered.
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

/// Verdict on one certificate signature by one key. Both are identified by address: nothing that a search
/// looks at moves until the search ends.
#[derive(Debug)]
struct Verdict {
    message: (usize, usize),
    key: (usize, usize),
    is_good: bool,
}

impl<'a> Signatures<'a> {
    /// The budget of `chain`. All other signatures checked with it are those of revocation lists, which
    /// `lists` remembers.
    pub(super) fn of(chain: &'a [CertificateDer<'a>], lists: &'a ListSignatures) -> Self {
        Self { chain, lists, checked: Mutex::default() }
    }

    /// Returns true if the budget was exceeded. Then no result is reliable, except a path.
    pub(super) fn are_used_up(&self) -> bool {
        locked(&self.checked).is_used_up
    }

    /// Number of signatures computed.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        locked(&self.checked).verdicts.len()
    }

    /// All algorithms, wrapped to count.
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

/// Verdicts on revocation list signatures, kept as long as the lists. A check takes time in proportion to the
/// size of its list, and a revoked client can reconnect at will.
#[derive(Clone, Debug, Default)]
pub(super) struct ListSignatures(Arc<Mutex<HashMap<ListSignature, bool>>>);

/// The signature of the list at this address, by the key of its alleged issuer.
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
        // Computed under the lock, so that concurrent clients share one computation.
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

/// Address and length of bytes.
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
