//! The configured authorities, and the verification of certificate chains against them.
//!
//! `webpki` judges signatures, dates, constraints and usages. This module checks what `webpki` leaves out
//! (the dates of the authorities themselves, the key usages) and puts verdicts into words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    KeyUsage, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, may_sign_others};
use super::certificate::{Validity, describe};
use super::faults::{TOO_LONG, date_fault, has_given_up, leaf_fault, words};
use super::issuers::{issuers, issuers_key, key_identifier};
use super::revocation::RevocationList;
use super::signatures::{ListSignatures, Signatures};
use super::thumbprint::Thumbprint;

/// All trusted authorities.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    known: Vec<Known>,
    /// Each set holds at most one list of each issuer: `webpki` looks only at an issuer's first list, so each
    /// set is queried by itself. There is more than one set only while a list and its successor are both
    /// present.
    lists: Vec<Vec<RevocationList>>,
    list_signatures: ListSignatures,
    /// Distinguishes these lists from others.
    lists_digest: Thumbprint,
}

/// An authority with its parsed trust anchor.
#[derive(Clone, Debug)]
struct Known {
    authority: Authority,
    thumbprint: Thumbprint,
    anchor: TrustAnchor<'static>,
    /// The subject key identifier, if the authority's certificate has one.
    key_identifier: Option<Vec<u8>>,
}

/// A chain that leads to an authority.
#[derive(Debug)]
pub(super) struct Verified {
    /// Intersection of the validity periods of the whole chain.
    pub(super) validity: Validity,
    /// The authority's name.
    pub(super) authority: Arc<str>,
    pub(super) rests_on: RestsOn,
}

/// Authority and lists a chain was verified against. While both are unchanged, the chain need not be verified
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RestsOn {
    authority: Thumbprint,
    lists: Thumbprint,
}

/// A rejected chain.
#[derive(Debug)]
pub(super) enum Unverified {
    /// Leads to no authority, or that cannot be determined. The reason is for the log only: a stranger learns
    /// nothing.
    Unknown(String),
    /// The certificate was signed by an authority or an intermediate of one. Its holder may learn the reason.
    Unusable(String),
}

impl Authorities {
    pub(super) fn new(authorities: impl IntoIterator<Item = Authority>) -> Self {
        let mut known: Vec<Known> = Vec::new();
        for authority in authorities {
            if known.iter().any(|known| known.authority == authority) {
                continue;
            }
            // `Authority::new` has parsed this certificate before.
            let Ok(anchor) = webpki::anchor_from_trusted_cert(&authority.certificate) else { continue };
            let anchor = anchor.to_owned();
            let key_identifier = key_identifier(&authority.certificate);
            known.push(Known { thumbprint: authority.thumbprint(), authority, anchor, key_identifier });
        }
        let lists_digest = Thumbprint::sha256_of(&[]);
        Self { known, lists: Vec::new(), list_signatures: ListSignatures::default(), lists_digest }
    }

    /// Adds revocation lists.
    pub(super) fn with_lists(mut self, lists: impl IntoIterator<Item = RevocationList>) -> Self {
        for mut list in lists {
            list.find_signer(self.known.iter().map(|known| &known.authority));
            let has_room =
                |set: &&mut Vec<RevocationList>| !set.iter().any(|other| other.has_issuer_of(&list));
            match self.lists.iter_mut().find(has_room) {
                Some(set) => set.push(list),
                None => self.lists.push(vec![list]),
            }
        }
        let all: String = self.lists.iter().flatten().map(|list| list.thumbprint().to_string()).collect();
        self.lists_digest = Thumbprint::sha256_of(all.as_bytes());
        self
    }

    /// Returns true if a chain that `rests_on` these values would be verified against the same authority and
    /// lists today.
    pub(super) fn still_verify(&self, rests_on: RestsOn) -> bool {
        rests_on.lists == self.lists_digest
            && self.known.iter().any(|known| known.thumbprint == rests_on.authority)
    }

    /// Verifies that the first certificate of `chain` is a client's at `now`, vouched for by an authority.
    ///
    /// A stranger influences the duration: up to [`MAX_SIGNATURES`](super::signatures::MAX_SIGNATURES)
    /// signatures are computed.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Verified, Unverified> {
        let signatures = Signatures::of(chain, &self.list_signatures);
        self.verify_with(&signatures, chain, now)
    }

    fn verify_with(
        &self,
        signatures: &Signatures<'_>,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Verified, Unverified> {
        let unreadable = || Unverified::Unknown("it is not a certificate that can be read".to_owned());
        let (first, others) = chain.split_first().ok_or_else(unreadable)?;
        let leaf = EndEntityCert::try_from(first).map_err(|error| Unverified::Unknown(words(&error)))?;
        let is_known = |certificate: &[u8]| self.known.iter().any(|known| known.is(certificate));
        let issuers = issuers(others, is_known).map_err(Unverified::Unknown)?;
        let anchors = Anchors::in_order(&self.known, chain);
        let counted = signatures.algorithms();
        let algorithms: Vec<_> =
            counted.iter().map(|counted| counted as &dyn SignatureVerificationAlgorithm).collect();

        let is_in_order = |path: &VerifiedPath<'_>| {
            self.check_revoked(path, anchors.authority(path))?;
            check_path(path, anchors.authority(path), now)
        };
        let judge = |lists: &[RevocationList]| {
            let lists: Vec<_> = lists.iter().map(RevocationList::list).collect();
            let (of_clients, time) = (KeyUsage::client_auth(), unix_time(now));
            let (anchors, in_order) = (&anchors.anchors, Some(&is_in_order as _));
            leaf.verify_for_usage(
                &algorithms,
                anchors,
                &issuers,
                time,
                of_clients,
                revocation(&lists),
                in_order,
            )
        };
        let mut sets = self.lists.iter().map(Vec::as_slice);
        let verdict = judge(sets.next().unwrap_or_default());
        let verdict = sets.fold(verdict, |verdict, set| verdict.and_then(|_| judge(set)));
        let error = match verdict {
            Ok(path) => return self.verified(first, &path, anchors.known(&path)),
            Err(error) => error,
        };
        if signatures.are_used_up() || has_given_up(&error) {
            return Err(Unverified::Unknown(TOO_LONG.to_owned()));
        }
        // A stranger must learn nothing from the refusal. So check whether the chain would have led to an
        // authority for any usage, at the time when its last certificate became valid.
        let begins =
            chain.iter().filter_map(|certificate| describe(certificate).1).map(|dates| dates.not_before);
        let then = unix_time(begins.max().unwrap_or(now));
        let lenient =
            leaf.verify_for_usage(&algorithms, &anchors.anchors, &issuers, then, AnyUse, None, None);
        Err(match lenient {
            Ok(path) => {
                let fault = date_fault(first, &path, anchors.authority(&path), now);
                Unverified::Unusable(fault.unwrap_or_else(|| words(&error)))
            }
            Err(_) => Unverified::Unknown(words(&error)),
        })
    }

    /// Refuses a path with a revoked certificate. `webpki` consults a list only if its distribution point
    /// matches the certificate's, but lists are copied, moved and mirrored.
    ///
    /// The `authority` at the end may be revoked by a list of a higher authority: being named in the config
    /// as well does not undo that.
    fn check_revoked(&self, path: &VerifiedPath<'_>, authority: &Authority) -> Result<(), Error> {
        let is_listed =
            |issuer: &[u8], serial: &[u8]| self.lists.iter().flatten().any(|list| list.has(issuer, serial));
        let leaf = path.end_entity();
        let is_revoked = is_listed(leaf.issuer(), leaf.serial())
            || path.intermediate_certificates().any(|issuer| is_listed(issuer.issuer(), issuer.serial()))
            || authority.issuer_and_serial().is_none_or(|(issuer, serial)| is_listed(&issuer, &serial));
        if is_revoked { Err(Error::CertRevoked) } else { Ok(()) }
    }

    /// Returns the verdict on `first`, from which `path` leads to `known`.
    fn verified(
        &self,
        first: &CertificateDer<'_>,
        path: &VerifiedPath<'_>,
        known: &Known,
    ) -> Result<Verified, Unverified> {
        if let Some(fault) = leaf_fault(first) {
            return Err(Unverified::Unusable(fault));
        }
        let unreadable = || Unverified::Unknown("it is not a certificate that can be read".to_owned());
        let dates = |der: &[u8]| describe(der).1.ok_or_else(unreadable);
        let mut validity = dates(first)?.with(known.authority.validity);
        for issuer in path.intermediate_certificates() {
            validity = validity.with(dates(&issuer.der())?);
        }
        let rests_on = RestsOn { authority: known.thumbprint, lists: self.lists_digest };
        Ok(Verified { validity, authority: known.authority.name.clone(), rests_on })
    }
}

impl Known {
    fn is(&self, certificate: &[u8]) -> bool {
        *self.authority.certificate == *certificate
    }
}

/// Authorities in the order in which they are tried.
struct Anchors<'a> {
    known: Vec<&'a Known>,
    /// Trust anchors of `known`, in the same order.
    anchors: Vec<TrustAnchor<'a>>,
}

impl<'a> Anchors<'a> {
    /// Puts the authorities whose key `chain` names first: an authority may have been renewed many times
    /// under one name, and each failed attempt costs a signature.
    fn in_order(known: &'a [Known], chain: &[CertificateDer<'_>]) -> Self {
        let mut known: Vec<_> = known.iter().collect();
        if known.len() > 1 {
            let named: Vec<_> = chain.iter().filter_map(|certificate| issuers_key(certificate)).collect();
            let is_named = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| named.contains(key));
            known.sort_by_key(|known| !is_named(&known.key_identifier));
        }
        let anchors = known.iter().map(|known| known.anchor.clone()).collect();
        Self { known, anchors }
    }

    /// Returns the authority at the end of `path`.
    fn known(&self, path: &VerifiedPath<'_>) -> &'a Known {
        let place = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
        // `path` ends with one of `anchors`.
        self.known[place.unwrap_or_default()]
    }

    fn authority(&self, path: &VerifiedPath<'_>) -> &'a Authority {
        &self.known(path).authority
    }
}

/// Revocation options: a certificate that no list covers is not revoked, and an outdated list is better than
/// none.
fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?.with_status_policy(UnknownStatusPolicy::Allow);
    Some(options.with_expiration_policy(ExpirationPolicy::Ignore).build())
}

/// Checks that `webpki` leaves out: it treats authorities as keys without dates, and accepts any certificate
/// marked as an authority as a signer, whatever its key usage says.
fn check_path(path: &VerifiedPath<'_>, authority: &Authority, now: SystemTime) -> Result<(), Error> {
    for issuer in path.intermediate_certificates() {
        let der = issuer.der();
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Error::BadDer)?;
        if !may_sign_others(&parsed) {
            return Err(Error::EndEntityUsedAsCa);
        }
    }
    let Validity { not_before, not_after } = authority.validity;
    let (time, before, after) = (unix_time(now), unix_time(not_before), unix_time(not_after));
    if time < before {
        return Err(Error::CertNotValidYet { time, not_before: before });
    }
    if time > after { Err(Error::CertExpired { time, not_after: after }) } else { Ok(()) }
}

/// Accepts any extended key usage.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod maze_tests;
