//! An authority: a certificate that is marked as one that signs others, and what can be said of it before any client comes.

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

/// The certificate of an authority: it may be taken, and is marked as one that signs others.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) name: Arc<str>,
    pub(super) validity: Validity,
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

    /// Whether this is its name, in DER.
    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        self.parsed().is_some_and(|own| own.subject().as_raw() == name)
    }

    /// The issuer and the serial number of its certificate, as `webpki` has them.
    pub(super) fn issuer_and_serial(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let own = self.parsed()?;
        Some((content(own.issuer().as_raw())?.to_vec(), own.raw_serial().to_vec()))
    }

    /// Its name, in DER.
    pub(super) fn subject(&self) -> Option<Vec<u8>> {
        Some(self.parsed()?.subject().as_raw().to_vec())
    }

    /// Its certificate; `new` has read it.
    pub(super) fn parsed(&self) -> Option<X509Certificate<'_>> {
        Some(X509Certificate::from_der(&self.certificate).ok()?.1)
    }

    /// Why no client will ever be vouched for by it, if that is so.
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

    /// Whether `signature` of `message` is by its key, and in the algorithm of this object identifier, in DER.
    pub(super) fn has_signed(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let Some(own) = self.parsed() else { return false };
        let key = &own.public_key().subject_public_key.data;
        let is_named = |known: &&&dyn SignatureVerificationAlgorithm| {
            // Behind the tag and the length of the identifier, which is short.
            known.signature_alg_id().get(2..).is_some_and(|known| known.starts_with(algorithm))
        };
        let mut named = ALL_VERIFICATION_ALGS.iter().filter(is_named);
        named.any(|known| known.verify_signature(key, message, signature).is_ok())
    }

    /// Whether `other` has the same name.
    #[must_use]
    pub fn has_name_of(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }

    /// Whether `other` has the same key.
    #[must_use]
    pub fn has_key_of(&self, other: &Self) -> bool {
        let key = |authority: &Self| Some(authority.parsed()?.public_key().raw.to_vec());
        key(self) == key(other)
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

/// What is in a DER sequence, without its head: names as `webpki` has them.
pub(super) fn content(sequence: &[u8]) -> Option<&[u8]> {
    Some(Any::from_der(sequence).ok()?.1.data)
}

/// Whether the key usage, where there is one, lets a certificate sign others.
pub(super) fn may_sign_others(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}
