//! Authorities, and whether a chain of certificates leads to one of them.
//!
//! Signatures, dates, constraints and usages are judged by `webpki`; here is what it leaves out (the dates of the authorities
//! themselves, what keys may be used for), and how what it says is put into words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeIdIter, KeyUsage, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Validity, describe};
use super::revocation::RevocationList;
use super::thumbprint::Thumbprint;

/// Certificates that a peer may show, its own among them. Chains have three or four; and since those behind the first may be
/// tried in every order, the work grows by the factorial of this.
const MAX_CHAIN: usize = 6;

/// The certificate of an authority: it may be taken, and is marked as one that signs others.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    name: Arc<str>,
    validity: Validity,
}

/// Why a certificate is none of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It can't be read.
    #[error("it is not a certificate that can be read")]
    Unreadable,
    /// It is one of a client or a server.
    #[error("it is not marked as an authority (basic constraints with CA:TRUE)")]
    Unmarked,
    /// It may sign other things, and no certificates.
    #[error("its key usage does not let it sign certificates (keyCertSign)")]
    MayNotSign,
}

impl Authority {
    /// Looks at a certificate; never at its dates, which are looked at whenever a client comes.
    ///
    /// # Errors
    ///
    /// When it is not one that may sign others.
    pub fn new(certificate: CertificateDer<'static>) -> Result<Self, AuthorityError> {
        let (name, validity) = describe(&certificate);
        let validity = validity.ok_or(AuthorityError::Unreadable)?;
        webpki::anchor_from_trusted_cert(&certificate).map_err(|_| AuthorityError::Unreadable)?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| AuthorityError::Unreadable)?;
        let constraints = parsed.basic_constraints().map_err(|_| AuthorityError::Unreadable)?;
        if !constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(AuthorityError::Unmarked);
        }
        if !may_sign_others(&parsed) {
            return Err(AuthorityError::MayNotSign);
        }
        Ok(Self { certificate, name: name.into(), validity })
    }

    /// The name in its certificate, escaped and cut.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it may be relied on.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::sha256_of(&self.certificate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).field("sha256", &self.thumbprint()).finish()
    }
}

/// All authorities whose word is taken.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    known: Vec<Authority>,
    /// Those of `known`, in their order.
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<RevocationList>,
    /// Tells these authorities and lists from others.
    digest: Thumbprint,
}

/// A chain that leads to an authority.
#[derive(Debug)]
pub(super) struct Verified {
    /// When all of it is valid.
    pub(super) validity: Validity,
    /// The authority's name.
    pub(super) authority: Arc<str>,
}

/// A chain that does not do.
#[derive(Debug)]
pub(super) enum Unverified {
    /// It leads to no authority, or nobody can tell. Why not is for the log: a stranger is told nothing.
    Unknown(String),
    /// An authority, or one that it vouches for, did sign the certificate. Its holder may know what is wrong.
    Unusable(String),
}

impl Authorities {
    pub(super) fn new(authorities: impl IntoIterator<Item = Authority>) -> Self {
        let mut known: Vec<Authority> = Vec::new();
        for authority in authorities {
            if !known.contains(&authority) {
                known.push(authority);
            }
        }
        // `Authority::new` has tried.
        let anchor = |authority: &Authority| {
            webpki::anchor_from_trusted_cert(&authority.certificate).ok().map(|anchor| anchor.to_owned())
        };
        known.retain(|authority| anchor(authority).is_some());
        let all: Vec<u8> = known.iter().flat_map(|authority| authority.certificate.iter().copied()).collect();
        Self {
            anchors: known.iter().filter_map(anchor).collect(),
            known,
            lists: Vec::new(),
            digest: Thumbprint::sha256_of(&all),
        }
    }

    /// The same, which have taken back what stands in these lists.
    pub(super) fn with_lists(mut self, lists: impl IntoIterator<Item = RevocationList>) -> Self {
        self.lists.extend(lists);
        let digests = self.lists.iter().map(|list| list.thumbprint().to_string());
        let all: String = std::iter::once(self.digest.to_string()).chain(digests).collect();
        self.digest = Thumbprint::sha256_of(all.as_bytes());
        self
    }

    /// Tells these authorities and lists from others.
    pub(super) fn digest(&self) -> Thumbprint {
        self.digest
    }

    /// Whether the first certificate of `chain` is a client's at `now`, by the word of an authority.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Verified, Unverified> {
        let unreadable = || Unverified::Unknown("it is not a certificate that can be read".to_owned());
        let (first, others) = chain.split_first().ok_or_else(unreadable)?;
        if chain.len() > MAX_CHAIN {
            let count = chain.len();
            let words = format!("it came in a chain of {count} certificates, and {MAX_CHAIN} are the most");
            return Err(Unverified::Unknown(words));
        }
        let leaf = EndEntityCert::try_from(first).map_err(|error| Unverified::Unknown(words(&error)))?;
        let lists: Vec<_> = self.lists.iter().map(RevocationList::list).collect();
        // What no list is about is not taken back, and a list that is out of date is better than none.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let options = options.with_status_policy(UnknownStatusPolicy::Allow);
            options.with_expiration_policy(ExpirationPolicy::Ignore).build()
        });
        let is_in_order = |path: &VerifiedPath<'_>| self.check_path(path, now);
        let verdict = leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            others,
            unix_time(now),
            KeyUsage::client_auth(),
            revocation,
            Some(&is_in_order),
        );
        let error = match verdict {
            Ok(path) => {
                let validity = self.validity(first, &path).ok_or_else(unreadable)?;
                return match leaf_fault(first) {
                    Some(fault) => Err(Unverified::Unusable(fault)),
                    None => Ok(Verified { validity, authority: self.authority(&path).name.clone() }),
                };
            }
            Err(error) => error,
        };
        // Whoever shows what no authority ever signed learns nothing of it: it is asked whether the chain would have led
        // to one, for whatever use, at the time at which the last of it began.
        let begins =
            chain.iter().filter_map(|certificate| describe(certificate).1).map(|dates| dates.not_before);
        let then = begins.max().unwrap_or(now);
        let lenient = leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            others,
            unix_time(then),
            AnyUse,
            None,
            None,
        );
        Err(match lenient {
            Ok(path) => {
                Unverified::Unusable(self.date_fault(first, &path, now).unwrap_or_else(|| words(&error)))
            }
            Err(_) => Unverified::Unknown(words(&error)),
        })
    }

    /// What `webpki` leaves out: it takes authorities as keys without dates, and lets any certificate sign that is marked as
    /// an authority, whatever its key usage says.
    fn check_path(&self, path: &VerifiedPath<'_>, now: SystemTime) -> Result<(), Error> {
        for issuer in path.intermediate_certificates() {
            let der = issuer.der();
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Error::BadDer)?;
            if !may_sign_others(&parsed) {
                return Err(Error::EndEntityUsedAsCa);
            }
        }
        let Validity { not_before, not_after } = self.authority(path).validity;
        let (time, before, after) = (unix_time(now), unix_time(not_before), unix_time(not_after));
        if time < before {
            return Err(Error::CertNotValidYet { time, not_before: before });
        }
        if time > after { Err(Error::CertExpired { time, not_after: after }) } else { Ok(()) }
    }

    /// The authority at the end of `path`.
    fn authority(&self, path: &VerifiedPath<'_>) -> &Authority {
        let place = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
        // `path` ends with one of `anchors`.
        &self.known[place.unwrap_or_default()]
    }

    /// When all of `path`, which begins with `first`, is valid.
    fn validity(&self, first: &CertificateDer<'_>, path: &VerifiedPath<'_>) -> Option<Validity> {
        let mut all = describe(first).1?.with(self.authority(path).validity);
        for issuer in path.intermediate_certificates() {
            all = all.with(describe(&issuer.der()).1?);
        }
        Some(all)
    }

    /// Which certificate of `path`, which begins with `first`, can't be used at `now`, and why, if one can't.
    fn date_fault(
        &self,
        first: &CertificateDer<'_>,
        path: &VerifiedPath<'_>,
        now: SystemTime,
    ) -> Option<String> {
        if let Some(fault) = describe(first).1?.fault_at(now) {
            return Some(fault);
        }
        for issuer in path.intermediate_certificates() {
            let (name, validity) = describe(&issuer.der());
            if let Some(fault) = validity?.fault_at(now) {
                return Some(format!("of its chain, certificate ({name}): {fault}"));
            }
        }
        let authority = self.authority(path);
        let fault = authority.validity.fault_at(now)?;
        Some(format!("of its chain, authority ({}): {fault}", authority.name))
    }
}

/// Any extended key usage.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

/// What is wrong with what the certificate of a client says of its key, as the X.509-SVID specification has it.
fn leaf_fault(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let usage = match parsed.key_usage() {
        Ok(usage) => usage?.value,
        Err(_) => return Some("its key usage cannot be read".to_owned()),
    };
    if usage.key_cert_sign() || usage.crl_sign() {
        return Some("its key usage is an authority's (keyCertSign, cRLSign)".to_owned());
    }
    let is_for_handshakes = usage.digital_signature();
    (!is_for_handshakes).then(|| "its key usage lacks digitalSignature".to_owned())
}

/// Whether the key usage, where there is one, lets a certificate sign others.
fn may_sign_others(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// What `webpki` found, in the words of the log and of those who may know.
fn words(error: &Error) -> String {
    let words = match error {
        Error::UnknownIssuer => "it leads to no authority",
        Error::InvalidSignatureForPublicKey => {
            "a signature in its chain is not of the one whose name stands there"
        }
        Error::CertExpired { .. } => "it, or a certificate of its chain, has expired",
        Error::CertNotValidYet { .. } => "it, or a certificate of its chain, is not valid yet",
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "its extended key usage, or one in its chain, is not for clients (clientAuth)"
        }
        Error::CaUsedAsEndEntity => "it is marked as an authority (CA:TRUE), which no client's is",
        Error::CertRevoked => "it, or a certificate of its chain, was taken back by a revocation list",
        Error::InvalidCrlSignatureForPublicKey | Error::IssuerNotCrlSigner => {
            "a revocation list for its chain is not signed by the authority whose name stands there"
        }
        Error::EndEntityUsedAsCa => "a certificate in its chain may not sign others",
        Error::PathLenConstraintViolated => "its chain is longer than an authority in it allows",
        Error::NameConstraintViolation => {
            "a name constraint in its chain forbids it (constraints on URIs are not understood, and forbid all)"
        }
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => "to check its chain would take too long",
        error => return format!("its chain is not taken ({error})"),
    };
    words.to_owned()
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
