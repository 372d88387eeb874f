//! Servers that an authority vouches for: those that plugins send requests to, and Lictor's own for its client.
//!
//! rustls's own verifier decides. It computes without a pause, and searches a way through certificates that the server chose: up to
//! a hundred signatures, and 200,000 steps that each parse a certificate, which takes seconds. So it is shown those alone that lead
//! straight on.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::issuers::first_of_each_subject;

/// Verifies servers by their certificates, in bounded time.
#[derive(Debug)]
pub struct Servers(Arc<WebPkiServerVerifier>);

impl Servers {
    /// Those for which one of `roots` vouches.
    ///
    /// # Errors
    ///
    /// When there are no roots.
    pub fn trusting(roots: Arc<RootCertStore>, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        verifier.map(Self).map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let few = first_of_each_subject(intermediates);
        self.0.verify_server_cert(end_entity, &few, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
    use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    static COMPUTED: AtomicUsize = AtomicUsize::new(0);

    /// An algorithm that counts what it computes.
    #[derive(Debug)]
    struct Counting(&'static dyn SignatureVerificationAlgorithm);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(
            &self,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            COMPUTED.fetch_add(1, Ordering::Relaxed);
            self.0.verify_signature(key, message, signature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            self.0.public_key_alg_id()
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            self.0.signature_alg_id()
        }
    }

    fn counting() -> Arc<CryptoProvider> {
        let mut provider = aws_lc_rs::default_provider();
        let all = provider.signature_verification_algorithms;
        let counted = all.all.iter().map(|algorithm| {
            let counting: &'static Counting = Box::leak(Box::new(Counting(*algorithm)));
            counting as &'static dyn SignatureVerificationAlgorithm
        });
        let counted: &'static [_] = Box::leak(counted.collect::<Box<[_]>>());
        provider.signature_verification_algorithms = WebPkiSupportedAlgorithms { all: counted, ..all };
        Arc::new(provider)
    }

    fn named(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(["web.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Issuer {
        Issuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn below(name: &str, issuer: &Issuer) -> Issuer {
        Issuer::signed_by(authority(name), KeyPair::generate().unwrap(), issuer).unwrap()
    }

    fn leaf(issuer: &Issuer) -> CertificateDer<'static> {
        named("leaf").signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    #[test]
    fn few_signatures_are_computed_whatever_a_server_sends_and_honest_chains_are_verified() {
        let known = root("Root");
        let mut roots = RootCertStore::empty();
        roots.add(known.der().clone()).unwrap();
        let servers = Servers::trusting(Arc::new(roots), &counting()).unwrap();
        let is_verified = |certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]| {
            COMPUTED.store(0, Ordering::Relaxed);
            let name = ServerName::try_from("web.example").unwrap();
            servers.verify_server_cert(certificate, others, &name, &[], UnixTime::now()).is_ok()
        };
        let middle = below("Middle", &known);
        let low = below("Low", &middle);
        let (low_der, middle_der) = (low.der().clone(), middle.der().clone());
        let unneeded = root("Unneeded").der().clone();
        let garbage = CertificateDer::from(b"garbage".to_vec());
        for others in [
            vec![low_der.clone(), middle_der.clone()],
            vec![middle_der.clone(), low_der.clone()],
            vec![garbage, unneeded, low_der.clone(), low_der, middle_der, known.der().clone()],
        ] {
            assert!(is_verified(&leaf(&low), &others));
            assert!(COMPUTED.load(Ordering::Relaxed) <= 8);
        }
        // Each might have signed each, and the known one too, of whom they have the name alone.
        let forger = root("Root");
        let walls: Vec<_> = (0..200).map(|_| below("Root", &forger).der().clone()).collect();
        let of_one_key: Vec<_> = (0..200).map(|_| forger.der().clone()).collect();
        for maze in [walls, of_one_key] {
            assert!(!is_verified(&leaf(&forger), &maze));
            let computed = COMPUTED.load(Ordering::Relaxed);
            assert!((1..=8).contains(&computed), "{computed} signatures");
        }
    }
}
