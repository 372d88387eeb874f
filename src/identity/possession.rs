//! Whether a peer holds the key of the certificate that it shows.
//!
//! A pin is the hash of a certificate's bytes, so nothing in the certificate has a say but its dates and its key. `webpki`, which
//! rustls asks, reads no certificate of version 1, with an extension that it does not know and must, with a long serial
//! number. The key of such a certificate is taken as it stands there, and the signature of TLS 1.3 is verified by that key
//! alone. Which chains lead to an authority is judged elsewhere, and by `webpki`.
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

/// The largest certificate that is read here, where a stranger waits for the answer on a thread that serves. To read it takes
/// less time than to check a signature.
const MAX_BYTES: usize = 16 << 10;

/// The proofs of possession that are understood.
#[derive(Clone, Copy, Debug)]
pub struct Proofs {
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whose proof of a certificate's key will not be taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody's.
    Always(String),
    /// Whoever speaks TLS 1.2.
    WithTls12(String),
}

/// That the peer has not proven to hold the key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate ({name}) thumbprint '{sha256}' is not proven to be the peer's: {reason}")]
pub struct Unproven {
    /// SHA-256 of the certificate.
    pub sha256: Thumbprint,
    /// Its SHA-1.
    pub sha1: Thumbprint,
    /// The name in it, escaped and cut.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl Unproven {
    /// The one in the error by which rustls ended a handshake.
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
    /// Those of `provider`.
    #[must_use]
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }

    /// The schemes of signatures, to be told the peer.
    #[must_use]
    pub fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    /// Verifies the signature over `message` by the key of `certificate`, as TLS 1.2 has it.
    ///
    /// # Errors
    ///
    /// It is not one of that key, or `webpki` can't read the certificate: rustls verifies no signature of TLS 1.2 without it.
    pub fn verify_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
            .map_err(|error| self.unproven(certificate, error, || oddity(certificate).map(with_tls13_alone)))
    }

    /// Verifies the signature over `message` by the key of `certificate`, as TLS 1.3 has it.
    ///
    /// # Errors
    ///
    /// It is not one of that key, or the key is of a kind that can't be proven.
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

    /// Whose proof to hold the key of `certificate` will not be taken, if anybody's.
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

    /// `error` in words, where it is about the certificate; `oddity` is why it could not be read, where that counts. Of a signature
    /// that is not one of the key rustls says so by the alert that it must (`decrypt_error`, RFC 8446, 4.4.3).
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

/// The key in a certificate that is not too large to be read at once.
fn own_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    if certificate.len() <= MAX_BYTES { key_of(certificate) } else { None }
}

fn with_tls13_alone(oddity: String) -> String {
    format!("{oddity}, and so its key can be proven with TLS 1.3 alone")
}

/// Why `webpki` does not read `certificate`, if it does not.
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
