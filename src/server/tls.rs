//! The settings of TLS: versions, the server's certificate, and the proof that a client holds its key.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use crate::files::{Fault, Opened};
use crate::identity::pem::{self, PemFault};
use crate::identity::{PairFault, Proofs, pair};

/// The largest key file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Certificates of a chain in a handshake. Each takes tens of bytes beside its own, so that thousands of
/// empty ones in one message would take a megabyte; no real one is smaller than a 256th of the largest
/// message.
const MAX_CERTIFICATES: usize = 256;

/// The oldest version of TLS that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2, for clients that have nothing newer.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// The server's certificate, its key, and the accepted versions.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM file of the server's certificate, with its chain if it has one.
    pub certificate: PathBuf,
    /// The certificates in that file.
    pub chain: Vec<CertificateDer<'static>>,
    /// PEM file of its private key.
    pub private_key: PathBuf,
    /// The oldest version to accept.
    pub min_version: TlsVersion,
}

/// Reason for which the server's certificate can't be used. Never shows what is in a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file without a key that can be used.
    #[error("{}: {}", .path.display(), .reason.in_full())]
    Key {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        reason: PemFault,
    },
    /// A file that can't be read.
    #[error(transparent)]
    Unreadable(#[from] Fault),
    /// The two do not belong together, or the key is of an unsupported kind.
    #[error("{} and {} do not make a TLS identity: {fault}", .certificate.display(), .private_key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        private_key: PathBuf,
        /// The reason.
        fault: PairFault,
    },
    /// TLS can't be set up, whatever the files hold.
    #[error("TLS can't be set up: {0}")]
    Setup(rustls::Error),
}

/// Reads the key and makes the acceptor for handshakes.
///
/// There are no tickets, no session storage and no early data: a resumed session would bring its old
/// certificate along unchecked, and nothing may be read before the peer is known.
///
/// # Errors
///
/// If the key can't be read, or does not fit the certificate.
pub fn tls_acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let key = Opened::file(&files.private_key)?.bytes(MAX_FILE_BYTES)?;
    let key = pem::key(&key).map_err(|reason| TlsError::Key { path: files.private_key.clone(), reason })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let identity = pair(files.chain.clone(), key, &provider).map_err(|fault| TlsError::Pair {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
        fault,
    })?;
    let verifier = Arc::new(PossessionVerifier { proofs: Proofs::new(&provider) });
    let versions: &[_] = match files.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Returns `acceptor` for HTTP/1.1, the same in all but the protocol that it negotiates.
pub(super) fn of_http(acceptor: &TlsAcceptor) -> TlsAcceptor {
    let mut config = ServerConfig::clone(acceptor.config());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Accepts any certificate, or none, but only in a chain that is not too long, and from a peer that proves
/// that it holds the key: admission is decided after the handshake, so that a refused peer can be told why in
/// words.
#[derive(Debug)]
struct PossessionVerifier {
    proofs: Proofs,
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() >= MAX_CERTIFICATES {
            let words = format!("the chain has more than {MAX_CERTIFICATES} certificates");
            return Err(rustls::Error::General(words));
        }
        Ok(ClientCertVerified::assertion())
    }

    // These two methods are the proof of possession. An assertion here would let in anybody who has seen a
    // client's certificate.
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
