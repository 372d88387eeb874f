//! Proof that a peer holds the key of its certificate.
//!
//! A pin is the hash of a certificate's bytes, so only the certificate's dates and its key count. `webpki`,
//! which rustls uses, reads no certificate of version 1, none with an unknown critical extension and none
//! with an overlong serial number. The key of such a certificate is extracted unchanged, and the TLS 1.3
//! signature is verified by that key alone. Chains to an authority are judged elsewhere, by `webpki`.
//!
//! Invariant: nothing is asserted here. A signature that is not verified ends the handshake.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::{EndEntityCert, Error};

use super::certificate::describe;
use super::key::{key_fault, key_of};
use super::thumbprint::Thumbprint;

/// Maximum size of a certificate that is parsed here, while a stranger occupies a serving thread. Parsing
/// takes less time than checking a signature.
const MAX_BYTES: usize = 16 << 10;

/// The supported proofs of possession.
#[derive(Clone, Copy, Debug)]
pub struct Proofs {
    algorithms: WebPkiSupportedAlgorithms,
}

/// The peers whose proof of a certificate's key is not accepted, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// All peers.
    Always(String),
    /// Peers that use TLS 1.2.
    WithTls12(String),
}

/// The peer has not proven possession of a certificate's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate ({name}) thumbprint '{sha256}' is not proven to be the peer's: {reason}")]
pub struct Unproven {
    /// SHA-256 of the certificate.
    pub sha256: Thumbprint,
    /// SHA-1 of the certificate.
    pub sha1: Thumbprint,
    /// The name in it, escaped and truncated.
    pub name: String,
    /// The reason.
    pub reason: String,
}

impl Unproven {
    /// Extracts this error from the rustls error that ended a handshake.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

impl Proofs {
    /// The algorithms of `provider`.
    #[must_use]
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }

    /// The signature schemes offered to the peer.
    #[must_use]
    pub fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    /// Verifies the signature over `message` by the key of `certificate`, as TLS 1.2 defines it.
    ///
    /// # Errors
    ///
    /// The key did not make the signature, or `webpki` cannot read the certificate: rustls cannot verify TLS
    /// 1.2 signatures without `webpki`.
    pub fn verify_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
            .map_err(|error| self.unproven(certificate, error, || oddity(certificate).map(with_tls13_alone)))
    }

    /// Verifies the signature over `message` by the key of `certificate`, as TLS 1.3 defines it.
    ///
    /// # Errors
    ///
    /// The key did not make the signature, or the kind of key is not supported.
    pub fn verify_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = if EndEntityCert::try_from(certificate).is_ok() {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        } else {
            let key = own_key(certificate).ok_or(CertificateError::BadEncoding)?;
            verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
        };
        verified.map_err(|error| self.unproven(certificate, error, || None))
    }

    /// Returns the peers whose proof of the key of `certificate` will not be accepted, if any.
    #[must_use]
    pub fn doubt(&self, certificate: &CertificateDer<'_>) -> Option<Doubt> {
        if describe(certificate).1.is_none() {
            return Some(Doubt::Always("it is not a valid X.509 certificate".to_owned()));
        }
        let Some(key) = key_of(certificate) else {
            return Some(Doubt::Always("more bytes follow the certificate in its block".to_owned()));
        };
        if let Some(fault) = key_fault(&key, &self.algorithms) {
            return Some(Doubt::Always(fault));
        }
        let oddity = oddity(certificate)?;
        Some(match own_key(certificate) {
            Some(_) => Doubt::WithTls12(with_tls13_alone(oddity)),
            None => Doubt::Always(format!("{oddity}, and it is larger than {} KiB", MAX_BYTES >> 10)),
        })
    }

    /// Puts `error` into words, if it concerns the certificate; `oddity` gives the reason why the certificate
    /// could not be read, where that matters. For a bad signature rustls sends the alert itself
    /// (`decrypt_error`, RFC 8446, 4.4.3).
    fn unproven(
        &self,
        certificate: &CertificateDer<'_>,
        error: rustls::Error,
        oddity: impl FnOnce() -> Option<String>,
    ) -> rustls::Error {
        if !matches!(error, rustls::Error::InvalidCertificate(_)) || certificate.len() > MAX_BYTES {
            return error;
        }
        let of_key = own_key(certificate).and_then(|key| key_fault(&key, &self.algorithms));
        let Some(reason) = of_key.or_else(oddity) else { return error };
        let unproven = Unproven {
            sha256: Thumbprint::sha256_of(certificate),
            sha1: Thumbprint::sha1_of(certificate),
            name: describe(certificate).0,
            reason,
        };
        CertificateError::Other(OtherError(Arc::new(unproven))).into()
    }
}

/// The key in a certificate that is small enough to be parsed here.
fn own_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    if certificate.len() <= MAX_BYTES { key_of(certificate) } else { None }
}

fn with_tls13_alone(oddity: String) -> String {
    format!("{oddity}, and so its key can be proven with TLS 1.3 alone")
}

/// Returns the reason why `webpki` cannot read `certificate`, if it cannot.
pub(super) fn oddity(certificate: &CertificateDer<'_>) -> Option<String> {
    let words = match EndEntityCert::try_from(certificate).err()? {
        Error::UnsupportedCertVersion => "it is not of version 3",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not understood",
        Error::InvalidSerialNumber => "its serial number is negative or too long",
        Error::SignatureAlgorithmMismatch => "it names two algorithms of its own signature",
        _ => "it is written in an unusual way",
    };
    Some(words.to_owned())
}
