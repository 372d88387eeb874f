//! Accepted server certificates: pinned ones, or those that an authority vouches for.
//!
//! A pin names one certificate, so neither its names nor its dates are checked; the handshake's signature
//! always proves that the server holds the private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

use crate::files::read_named;
use crate::identity::{Proofs, Root, Servers, Thumbprint, pem};

/// Maximum size of a file of authorities: a whole system's roots take a quarter of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Trusted servers.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The certificates with these thumbprints. An empty list refuses every server and reports its
    /// thumbprint: this is how an unknown server's thumbprint is obtained without sending it the client's
    /// certificate or a request.
    Pinned(Vec<Thumbprint>),
    /// Certificates that chain up to one of these and are valid for the server's name.
    Authorities(Vec<Root>),
}

/// A file of authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as the certificates of authorities: {reason}", .path.display())]
pub struct TrustError {
    path: PathBuf,
    reason: String,
}

/// A server that presented a certificate which is not pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate sha256:{presented} is not the one that was pinned")]
pub struct NotTrusted {
    /// SHA-256 of the certificate that the server sent. Possession of its key has not been proven yet.
    pub presented: Thumbprint,
}

impl Trust {
    /// Trusts the authorities in a PEM file.
    ///
    /// # Errors
    /// If the file cannot be read or holds no certificate that can be an authority.
    pub fn authorities_in(path: &Path) -> Result<Self, TrustError> {
        let fault = |reason: String| TrustError { path: path.to_owned(), reason };
        let bytes = read_named(path, MAX_FILE_BYTES).map_err(|unreadable| fault(unreadable.what()))?;
        let certificates = pem::authorities(&bytes).map_err(|wrong| fault(wrong.in_full()))?;
        let roots = (1..).zip(certificates).map(|(number, certificate)| {
            Root::new(certificate).ok_or_else(|| {
                fault(format!(
                    "certificate {number} in it can't be read as one of an authority (X.509, version 3)"
                ))
            })
        });
        roots.collect::<Result<_, _>>().map(Self::Authorities)
    }

    pub(super) fn verifier(&self, provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
        match self {
            Self::Pinned(pins) => {
                Arc::new(PinnedVerifier { pins: pins.clone(), proofs: Proofs::new(provider) })
            }
            Self::Authorities(roots) => Arc::new(Servers::trusting(roots.clone(), provider)),
        }
    }
}

#[derive(Debug)]
struct PinnedVerifier {
    pins: Vec<Thumbprint>,
    proofs: Proofs,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = Thumbprint::sha256_of(end_entity);
        let is_pinned = |pin: &Thumbprint| match pin {
            Thumbprint::Sha1(_) => *pin == Thumbprint::sha1_of(end_entity),
            Thumbprint::Sha256(_) => *pin == presented,
        };
        if self.pins.iter().any(is_pinned) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(NotTrusted { presented }))).into())
    }

    // Certificates are public, so a thumbprint alone proves nothing; these two checks prove that the server
    // holds the private key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proofs.verify_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proofs.verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.proofs.schemes()
    }
}

/// Finds the refused certificate in the error by which rustls ended a handshake.
pub(super) fn not_trusted(error: &rustls::Error) -> Option<&NotTrusted> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::provider;

    fn verify(pins: Vec<Thumbprint>, der: &[u8]) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = Trust::Pinned(pins).verifier(&provider());
        let name = ServerName::try_from("anything.example").unwrap();
        verifier.verify_server_cert(&CertificateDer::from(der), &[], &name, &[], UnixTime::now())
    }

    #[test]
    fn only_a_pinned_certificate_passes() {
        let der = b"any bytes";
        assert!(verify(vec![Thumbprint::sha256_of(der)], der).is_ok());
        assert!(verify(vec![Thumbprint::sha1_of(b"old"), Thumbprint::sha1_of(der)], der).is_ok());
        for pins in [vec![], vec![Thumbprint::sha256_of(b"other")]] {
            let error = verify(pins, der).unwrap_err();
            assert_eq!(not_trusted(&error).unwrap().presented, Thumbprint::sha256_of(der));
        }
    }

    #[test]
    fn a_file_without_certificates_is_no_authority() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(Trust::authorities_in(&file).is_err());
        std::fs::write(&file, "nothing").unwrap();
        let error = Trust::authorities_in(&file).unwrap_err().to_string();
        assert!(error.contains("holds no certificate in PEM"), "{error}");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        assert!(Trust::authorities_in(&file).is_ok());
    }
}
