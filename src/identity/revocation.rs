//! Lists by which authorities take back certificates that have not ended.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use webpki::{BorrowedCertRevocationList, CertRevocationList, Error};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::{Utc, from_unix};
use super::names::last_name;
use super::thumbprint::Thumbprint;

/// A list of certificates that an authority has taken back. That it is the authority's is looked at whenever a certificate
/// is, since only then is it known which authority is meant.
#[derive(Clone)]
pub struct RevocationList {
    list: Arc<CertRevocationList<'static>>,
    issuer: String,
    /// The issuer's whole name, by which certificates are looked up.
    issuer_der: Arc<[u8]>,
    begins: SystemTime,
    /// When the next one was to come, if the list says so.
    next: Option<SystemTime>,
    sha256: Thumbprint,
}

/// Why a list can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It can't be read.
    #[error("it is not a revocation list that can be read")]
    Unreadable,
    /// Of the first version.
    #[error(
        "it is of version 1, and one of version 2 is wanted (in OpenSSL's terms, one with `crl_extensions`)"
    )]
    Version,
    /// It does not stand for itself.
    #[error(
        "it is a delta list, or an indirect one, or for some reasons alone; only whole lists are understood"
    )]
    Partial,
}

impl RevocationList {
    /// Reads a list; never judges its dates, as one that is out of date still tells what was taken back until then.
    ///
    /// # Errors
    ///
    /// When it is none, or of a kind that is not understood.
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
            begins: from_unix(parsed.last_update().timestamp()),
            next: parsed.next_update().map(|time| from_unix(time.timestamp())),
            sha256: Thumbprint::sha256_of(der),
        })
    }

    /// The name of the authority whose list it says it is, escaped and cut.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What is wrong with its dates at `now`, if anything is: then another one may be there.
    #[must_use]
    pub fn notice_at(&self, now: SystemTime) -> Option<String> {
        if now < self.begins {
            return Some(format!("it is of a time to come, {}", Utc(self.begins)));
        }
        let due = self.next.filter(|next| *next < now)?;
        Some(format!("it is out of date: the next one was due at {}", Utc(due)))
    }

    /// SHA-256 of the list.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.sha256
    }

    /// Whether both are about the certificates of the same issuer.
    pub(super) fn has_issuer_of(&self, other: &Self) -> bool {
        self.issuer_der == other.issuer_der
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
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
#[path = "revocation_tests.rs"]
mod tests;
