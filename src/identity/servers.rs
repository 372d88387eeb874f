//! Servers that an authority vouches for: those that plugins send requests to, and Lictor's own server for
//! its client.
//!
//! rustls's own verifier decides. It computes without yielding, and searches certificates that the server
//! chose: up to 100 signatures and 200,000 steps that each parse a certificate, which takes seconds. So it is
//! passed only certificates that form a straight path. It also treats authorities as keys without dates, so
//! it is passed only those within their dates.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificate::{Validity, describe};
use super::faults::words_of_server;
use super::issuers::first_of_each_subject;

/// An authority that vouches for servers, while its certificate is within its dates.
#[derive(Clone, Debug)]
pub struct Root {
    /// Contains this authority alone.
    store: RootCertStore,
    name: String,
    validity: Validity,
}

impl Root {
    /// Makes one from its certificate; `None` if that cannot be read.
    #[must_use]
    pub fn new(certificate: CertificateDer<'_>) -> Option<Self> {
        let (name, validity) = describe(&certificate);
        let mut store = RootCertStore::empty();
        store.add(certificate).ok()?;
        Some(Self { store, name, validity: validity? })
    }
}

/// No authority within its dates vouches for the server, but one outside its dates would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority that vouches for it ({name}) does so no more or not yet: {fault}")]
struct OutOfDate {
    name: String,
    fault: String,
}

/// Verifies server certificates in bounded time.
#[derive(Debug)]
pub struct Servers {
    roots: Vec<Root>,
    /// All of `roots`.
    store: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    /// Trusts servers for which one of `roots` vouches.
    #[must_use]
    pub fn trusting(roots: Vec<Root>, provider: &CryptoProvider) -> Self {
        let store = together(&roots);
        Self { roots, store, algorithms: provider.signature_verification_algorithms }
    }
}

fn together<'r>(roots: impl IntoIterator<Item = &'r Root>) -> RootCertStore {
    roots.into_iter().flat_map(|root| root.store.roots.iter().cloned()).collect()
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let few = first_of_each_subject(intermediates);
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let verify = |roots: &RootCertStore| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, &few, now, algorithms)
        };
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        let fault = |root: &Root| root.validity.fault_at(time);
        let has_all = self.roots.iter().all(|root| fault(root).is_none());
        let in_force = match has_all {
            true => Cow::Borrowed(&self.store),
            false => Cow::Owned(together(self.roots.iter().filter(|root| fault(root).is_none()))),
        };
        verify(&in_force).map_err(|error| {
            let others = self.roots.iter().filter_map(|root| Some((root, fault(root)?)));
            let mut would = others.filter(|(root, _)| verify(&root.store).is_ok());
            would.next().map_or(error, |(root, fault)| {
                let name = root.name.clone();
                CertificateError::Other(OtherError(Arc::new(OutOfDate { name, fault }))).into()
            })
        })?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Message for a fault in a server's certificate that needs an authority.
#[must_use]
pub fn server_fault(fault: &CertificateError) -> String {
    let words = match fault {
        CertificateError::UnknownIssuer => "it leads to none of the authorities that are trusted",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it, or a certificate of its chain, has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it, or a certificate of its chain, is not valid yet; is the clock of this machine right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not for the name by which the server is called"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its extended key usage, or one in its chain, is not for servers (serverAuth)"
        }
        CertificateError::BadSignature => {
            "a signature is not one of the key that it should be of: the server does not hold the certificate's key, or its \
             chain holds what the authority named there did not sign"
        }
        CertificateError::BadEncoding => "it, or a certificate of its chain, can't be read as X.509",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a signature in its chain is of a kind that is not verified, such as SHA-1"
        }
        CertificateError::Other(OtherError(inner)) => {
            return match (inner.downcast_ref::<OutOfDate>(), inner.downcast_ref::<webpki::Error>()) {
                (Some(out), _) => out.to_string(),
                (None, Some(error)) => words_of_server(error),
                (None, None) => inner.to_string(),
            };
        }
        other => return other.to_string(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    static COMPUTED: AtomicUsize = AtomicUsize::new(0);

    /// Counts computed signatures.
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
        let servers = Servers::trusting(vec![Root::new(known.der().clone()).unwrap()], &counting());
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
        // Any might have signed any, and so might the trusted root, whose name they share.
        let forger = root("Root");
        let walls: Vec<_> = (0..200).map(|_| below("Root", &forger).der().clone()).collect();
        let of_one_key: Vec<_> = (0..200).map(|_| forger.der().clone()).collect();
        for maze in [walls, of_one_key] {
            assert!(!is_verified(&leaf(&forger), &maze));
            let computed = COMPUTED.load(Ordering::Relaxed);
            assert!((1..=8).contains(&computed), "{computed} signatures");
        }
    }

    #[test]
    fn an_authority_out_of_its_dates_vouches_for_no_server() {
        let dated = |name: &str, from: i32, to: i32| {
            let mut params = authority(name);
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
            params
        };
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let of = |issuer: &Issuer| Root::new(issuer.der().clone()).unwrap();
        let verify = |roots: Vec<Root>, issuer: &Issuer| {
            let servers = Servers::trusting(roots, &counting());
            let name = ServerName::try_from("web.example").unwrap();
            match servers.verify_server_cert(&leaf(issuer), &[], &name, &[], UnixTime::now()) {
                Ok(_) => String::new(),
                Err(Error::InvalidCertificate(fault)) => server_fault(&fault),
                Err(error) => panic!("{error}"),
            }
        };
        let good = root("Good");
        for (name, from, to, fault) in [
            ("Old", 2020, 2021, "it expired at 2021-01-01T00:00:00Z"),
            ("Early", 2200, 2201, "it is not valid before 2200-01-01T00:00:00Z"),
        ] {
            let odd = Issuer::self_signed(dated(name, from, to), key()).unwrap();
            let words =
                format!("the authority that vouches for it ({name}) does so no more or not yet: {fault}");
            assert_eq!(verify(vec![of(&odd)], &odd), words);
            assert_eq!(verify(vec![of(&good), of(&odd)], &odd), words);
            assert_eq!(verify(vec![of(&odd), of(&good)], &good), "");
            // Another root with the same key is in force.
            let renewed = Issuer::self_signed(dated(name, 2020, 2200), key_again(&odd)).unwrap();
            assert_eq!(verify(vec![of(&odd), of(&renewed)], &odd), "");
            let stranger = verify(vec![of(&odd)], &good);
            assert_eq!(stranger, "it leads to none of the authorities that are trusted");
        }
    }

    fn key_again(issuer: &Issuer) -> KeyPair {
        KeyPair::try_from(issuer.key().serialize_der()).unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_servers_certificate_is_told_in_words() {
        for error in [
            webpki::Error::CaUsedAsEndEntity,
            webpki::Error::UnsupportedCertVersion,
            webpki::Error::UnsupportedCriticalExtension,
            webpki::Error::PathLenConstraintViolated,
            webpki::Error::NameConstraintViolation,
            webpki::Error::MaximumSignatureChecksExceeded,
            webpki::Error::InvalidSerialNumber,
        ] {
            let told = server_fault(&CertificateError::Other(OtherError(Arc::new(error.clone()))));
            assert!(!told.contains(&format!("{error:?}")) && !told.contains("client"), "{told}");
        }
    }
}
