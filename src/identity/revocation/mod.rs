//! Revocation lists: certificates that an authority took back before their end.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use webpki::{BorrowedCertRevocationList, CertRevocationList, Error};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authority::{Authority, content};
use super::certificate::{Utc, from_unix};
use super::names::last_name;
use super::thumbprint::Thumbprint;

/// A list of certificates that an authority has revoked. Its signature is checked whenever a certificate is,
/// since only then is it known which authority is meant.
#[derive(Clone)]
pub struct RevocationList {
    list: Arc<CertRevocationList<'static>>,
    issuer: String,
    /// The issuer's full name, the key for looking up certificates.
    issuer_der: Arc<[u8]>,
    /// The name of the authority that signed the list, if the list spells it differently.
    signer: Option<Arc<[u8]>>,
    begins: SystemTime,
    /// Due date of the next list, if the list has one.
    next: Option<SystemTime>,
    sha256: Thumbprint,
    der: Arc<[u8]>,
}

/// Reasons why a list cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Unreadable.
    #[error("it is not a revocation list that can be read")]
    Unreadable,
    /// Version 1.
    #[error(
        "it is of version 1, and one of version 2 is wanted (in OpenSSL's terms, one with `crl_extensions`)"
    )]
    Version,
    /// Not a complete list.
    #[error(
        "it is a delta list, or an indirect one, or for some reasons alone; only whole lists are understood"
    )]
    Partial,
}

impl RevocationList {
    /// Parses a list; does not judge its dates, as an outdated list still names earlier revocations.
    ///
    /// # Errors
    ///
    /// The bytes are no list, or an unsupported kind.
    pub fn new(der: &[u8]) -> Result<Self, RevocationError> {
        let list = BorrowedCertRevocationList::from_der(der).and_then(|list| list.to_owned());
        let list = list.map_err(|error| match error {
            Error::UnsupportedCrlVersion => RevocationError::Version,
            Error::UnsupportedDeltaCrl
            | Error::UnsupportedIndirectCrl
            | Error::UnsupportedRevocationReasonsPartitioning
            | Error::UnsupportedCrlIssuingDistributionPoint => RevocationError::Partial,
            _ => RevocationError::Unreadable,
        })?;
        let (_, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| RevocationError::Unreadable)?;
        Ok(Self {
            list: Arc::new(list.into()),
            issuer: last_name(parsed.issuer()),
            issuer_der: parsed.issuer().as_raw().into(),
            signer: None,
            begins: from_unix(parsed.last_update().timestamp()),
            next: parsed.next_update().map(|time| from_unix(time.timestamp())),
            sha256: Thumbprint::sha256_of(der),
            der: der.into(),
        })
    }

    /// The name of the authority that the list names as its issuer, escaped and truncated.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the fault in the list's dates at `now`, if any; then a newer list may exist.
    #[must_use]
    pub fn notice_at(&self, now: SystemTime) -> Option<String> {
        if now < self.begins {
            return Some(format!("it is of a time to come, {}", Utc(self.begins)));
        }
        let due = self.next.filter(|_| self.is_overdue_at(now))?;
        Some(format!("it is out of date: the next one was due at {}", Utc(due)))
    }

    /// Returns true if the next list was due before `now`.
    #[must_use]
    pub fn is_overdue_at(&self, now: SystemTime) -> bool {
        self.begins <= now && self.next.is_some_and(|next| next < now)
    }

    /// Returns the reason why the list cannot revoke what it lists if `authorities` are all there are: none
    /// of them is its issuer.
    #[must_use]
    pub fn misfit_of(&self, authorities: &[&Authority]) -> Option<String> {
        let is_named = |authority: &&&Authority| authority.is_called(&self.issuer_der);
        let named: Vec<_> = authorities.iter().filter(is_named).collect();
        if named.iter().any(|authority| self.is_signed_by(authority)) {
            return None;
        }
        if let Some(authority) = named.first() {
            let name = authority.name();
            return Some(format!(
                "it is not signed by the authority of that name, and so every certificate of {name} is refused; take the list that {name} made"
            ));
        }
        let is_signed = authorities.iter().any(|authority| self.is_signed_by(authority));
        let words = "no authority here has that name, and so it is asked only for certificates that an authority of that name signed";
        (!is_signed).then(|| words.to_owned())
    }

    /// Finds the authority that signed the list if none of `authorities` has its name byte for byte: the name
    /// may be in another encoding, and the revocations apply all the same.
    pub(super) fn find_signer<'a>(&mut self, authorities: impl Iterator<Item = &'a Authority> + Clone) {
        if authorities.clone().any(|authority| authority.is_called(&self.issuer_der)) {
            return;
        }
        let mut authorities = authorities;
        let signer = authorities.find(|authority| self.is_signed_by(authority));
        let name = signer.and_then(Authority::subject);
        self.signer = name.and_then(|name| content(&name).map(Arc::from));
    }

    fn is_signed_by(&self, authority: &Authority) -> bool {
        let Ok((_, list)) = CertificateRevocationList::from_der(&self.der) else { return false };
        let algorithm = list.signature_algorithm.algorithm.as_bytes();
        authority.has_signed(algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data)
    }

    /// Returns true if this list revokes everything that `other` revokes.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let Ok((_, list)) = CertificateRevocationList::from_der(&other.der) else { return false };
        let mut serials = list.iter_revoked_certificates().map(|revoked| revoked.raw_serial());
        self.has_issuer_of(other) && serials.all(|serial| !matches!(self.list.find_serial(serial), Ok(None)))
    }

    /// Returns true if the list names this certificate.
    #[must_use]
    pub fn names(&self, certificate: &[u8]) -> bool {
        let parsed = X509Certificate::from_der(certificate);
        let issuer = parsed.as_ref().ok().and_then(|(_, parsed)| content(parsed.issuer().as_raw()));
        issuer.is_some_and(|issuer| parsed.as_ref().is_ok_and(|(_, own)| self.has(issuer, own.raw_serial())))
    }

    /// Returns true if the list names an authority of this name as its issuer.
    #[must_use]
    pub fn is_of(&self, authority: &Authority) -> bool {
        authority.is_called(&self.issuer_der)
    }

    /// SHA-256 of the list.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.sha256
    }

    /// Returns true if both lists have the same issuer.
    pub(super) fn has_issuer_of(&self, other: &Self) -> bool {
        self.issuer_der == other.issuer_der
    }

    /// Returns true if the list revokes this serial number of this issuer. An unreadable entry counts for any
    /// serial number.
    pub(super) fn has(&self, issuer: &[u8], serial: &[u8]) -> bool {
        let is_its_issuer = self.list.issuer() == issuer || self.signer.as_deref() == Some(issuer);
        is_its_issuer && !matches!(self.list.find_serial(serial), Ok(None))
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }
}

/// Shows the number of revoked certificates and the due date of the next list.
impl fmt::Display for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = CertificateRevocationList::from_der(&self.der)
            .map_or(0, |(_, list)| list.iter_revoked_certificates().count());
        write!(f, "revokes {count} certificate(s), ")?;
        match self.next {
            Some(next) => write!(f, "the next one is due at {}", Utc(next)),
            None => f.write_str("does not say when the next one is due"),
        }
    }
}

impl PartialEq for RevocationList {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for RevocationList {}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").field("issuer", &self.issuer).field("sha256", &self.sha256).finish()
    }
}

#[cfg(test)]
mod tests;
