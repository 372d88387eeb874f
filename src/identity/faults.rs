//! Faults of certificate chains, and their messages.

use rustls::pki_types::CertificateDer;
use std::time::SystemTime;
use webpki::{Error, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::Authority;
use super::certificate::describe;

/// Names the certificate of `path`, which leads from `first` to `authority`, that is outside its validity at
/// `now`, and says why.
pub(super) fn date_fault(
    first: &CertificateDer<'_>,
    path: &VerifiedPath<'_>,
    authority: &Authority,
    now: SystemTime,
) -> Option<String> {
    if let Some(fault) = describe(first).1?.fault_at(now) {
        return Some(fault);
    }
    for issuer in path.intermediate_certificates() {
        let (name, validity) = describe(&issuer.der());
        if let Some(fault) = validity?.fault_at(now) {
            return Some(format!("of its chain, certificate ({name}): {fault}"));
        }
    }
    let fault = authority.validity().fault_at(now)?;
    Some(format!("of its chain, authority ({}): {fault}", authority.name()))
}

/// Returns the fault in a client certificate's key usage, if any, by the rules of the X.509-SVID
/// specification.
pub(super) fn leaf_fault(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let usage = match parsed.key_usage() {
        Ok(usage) => usage?.value,
        Err(_) => return Some("its key usage cannot be read".to_owned()),
    };
    if usage.key_cert_sign() || usage.crl_sign() {
        return Some("its key usage is an authority's (keyCertSign, cRLSign)".to_owned());
    }
    let is_for_handshakes = usage.digital_signature();
    (!is_for_handshakes).then(|| "its key usage lacks digitalSignature".to_owned())
}

/// Message for a chain whose search was aborted.
pub(super) const TOO_LONG: &str = "to check its chain would take too long";

/// Returns true if a search was aborted.
pub(super) fn has_given_up(error: &Error) -> bool {
    matches!(
        error,
        Error::MaximumPathBuildCallsExceeded
            | Error::MaximumPathDepthExceeded
            | Error::MaximumSignatureChecksExceeded
            | Error::MaximumNameConstraintComparisonsExceeded
    )
}

/// Message for a fault that `webpki` found in a server's certificate.
pub(super) fn words_of_server(error: &Error) -> String {
    let words = match error {
        Error::CaUsedAsEndEntity => "it is marked as an authority (CA:TRUE), which no server's is",
        Error::EmptyEkuExtension => "its extended key usage is empty",
        Error::NameConstraintViolation => "a name constraint in its chain forbids one of its names",
        error => return words(error),
    };
    words.to_owned()
}

/// Message for a fault that `webpki` found, for the log and for peers entitled to the reason.
pub(super) fn words(error: &Error) -> String {
    let words = match error {
        Error::UnknownIssuer => "it leads to no authority",
        Error::InvalidSignatureForPublicKey => {
            "a signature in its chain is not of the one whose name stands there"
        }
        Error::CertExpired { .. } => "it, or a certificate of its chain, has expired",
        Error::CertNotValidYet { .. } => "it, or a certificate of its chain, is not valid yet",
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "its extended key usage, or one in its chain, is not for clients (clientAuth)"
        }
        Error::CaUsedAsEndEntity => "it is marked as an authority (CA:TRUE), which no client's is",
        Error::CertRevoked => "it, or a certificate of its chain, was revoked",
        Error::InvalidCrlSignatureForPublicKey | Error::IssuerNotCrlSigner => {
            "a revocation list for its chain is not signed by the authority whose name stands there"
        }
        Error::EndEntityUsedAsCa => "a certificate in its chain may not sign others",
        Error::PathLenConstraintViolated => "its chain is longer than an authority in it allows",
        Error::NameConstraintViolation => {
            "a name constraint in its chain forbids it (constraints on URIs are not understood, and forbid all)"
        }
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => TOO_LONG,
        Error::UnsupportedCertVersion => "it, or a certificate of its chain, is not of version 3",
        Error::UnsupportedCriticalExtension => {
            "it, or a certificate of its chain, has a critical extension that is not understood"
        }
        Error::InvalidSerialNumber => "its serial number, or one in its chain, is negative or too long",
        Error::SignatureAlgorithmMismatch => {
            "it, or a certificate of its chain, names two algorithms of its own signature"
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature in its chain is of a kind that is not verified, such as SHA-1"
        }
        error => {
            return format!(
                "it, or a certificate of its chain, is written in a way that is not understood ({error:?})"
            );
        }
    };
    words.to_owned()
}
