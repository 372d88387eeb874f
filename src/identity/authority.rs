//! An authority: a certificate marked as one that signs others, and the checks on it that need no client.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::ALL_VERIFICATION_ALGS;
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::NameConstraints;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate::{Validity, describe};
use super::key::key_fault;
use super::thumbprint::Thumbprint;

/// The certificate of an authority, parsed and marked as one that signs others.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) name: Arc<str>,
    pub(super) validity: Validity,
}

/// Reasons why a certificate is not an authority's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Unreadable.
    #[error("it is not a certificate that can be read")]
    Unreadable,
    /// A client's or server's certificate.
    #[error("it is not marked as an authority (basic constraints with CA:TRUE)")]
    Unmarked,
    /// The key usage allows no signing of certificates.
    #[error("its key usage does not let it sign certificates (keyCertSign)")]
    MayNotSign,
}

impl Authority {
    /// Checks a certificate, but not its dates; those are checked at each handshake.
    ///
    /// # Errors
    ///
    /// The certificate may not sign others.
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

    /// The name in the certificate, escaped and truncated.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the subject name equals `name`, in DER.
    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        self.parsed().is_some_and(|own| own.subject().as_raw() == name)
    }

    /// Issuer and serial number of the certificate, in the form that `webpki` uses.
    pub(super) fn issuer_and_serial(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let own = self.parsed()?;
        Some((content(own.issuer().as_raw())?.to_vec(), own.raw_serial().to_vec()))
    }

    /// The subject name, in DER.
    pub(super) fn subject(&self) -> Option<Vec<u8>> {
        Some(self.parsed()?.subject().as_raw().to_vec())
    }

    /// Parses the certificate again; `new` has parsed it once.
    pub(super) fn parsed(&self) -> Option<X509Certificate<'_>> {
        Some(X509Certificate::from_der(&self.certificate).ok()?.1)
    }

    /// Returns the reason why this authority can never vouch for a client, if there is one.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let own = self.parsed()?;
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let key = SubjectPublicKeyInfoDer::from(own.public_key().raw);
        let constraints = own.name_constraints().ok().flatten();
        let subtrees = |constraints: &NameConstraints<'_>| {
            let both =
                [&constraints.permitted_subtrees, &constraints.excluded_subtrees].into_iter().flatten();
            both.flatten()
                .any(|tree| matches!(tree.base, GeneralName::URI(_) | GeneralName::DirectoryName(_)))
        };
        let is_not_understood = constraints.is_some_and(|constraints| subtrees(constraints.value));
        key_fault(&key, &algorithms).or_else(|| {
            is_not_understood.then(|| {
                "it has name constraints on URIs or directory names, which are not understood".to_owned()
            })
        })
    }

    /// Verifies that this authority's key made `signature` over `message`; `algorithm` is the object
    /// identifier, in DER.
    pub(super) fn has_signed(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let Some(own) = self.parsed() else { return false };
        let key = &own.public_key().subject_public_key.data;
        let is_named = |known: &&&dyn SignatureVerificationAlgorithm| {
            // The known identifier follows its tag and length, one byte each.
            known.signature_alg_id().get(2..).is_some_and(|known| known.starts_with(algorithm))
        };
        let mut named = ALL_VERIFICATION_ALGS.iter().filter(is_named);
        named.any(|known| known.verify_signature(key, message, signature).is_ok())
    }

    /// Returns true if `other` has the same name.
    #[must_use]
    pub fn has_name_of(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }

    /// Returns true if `other` has the same key.
    #[must_use]
    pub fn has_key_of(&self, other: &Self) -> bool {
        let key = |authority: &Self| Some(authority.parsed()?.public_key().raw.to_vec());
        key(self) == key(other)
    }

    /// Validity period of the certificate.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of the certificate.
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

/// The content of a DER sequence without its header: the form of names that `webpki` uses.
pub(super) fn content(sequence: &[u8]) -> Option<&[u8]> {
    Some(Any::from_der(sequence).ok()?.1.data)
}

/// Returns true if the certificate may sign others: its key usage says so, or it has none.
pub(super) fn may_sign_others(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}
