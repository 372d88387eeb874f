//! A certificate and its private key, of a server or a client.

use std::fmt;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::asn1_rs::{Any, FromDer, Sequence};
use x509_parser::prelude::{GeneralName, X509Certificate};
use x509_parser::x509::AlgorithmIdentifier;

use super::certificate::describe;
use super::key::{GOOD_KINDS, key_fault, key_of, kind};
use super::possession::oddity;

/// The reason why a certificate and a key cannot be used together, and a remedy. Never shows key contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PairFault {
    what: String,
    advice: &'static str,
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

const ANOTHER: &str = "`lictor cert new NAME` makes a certificate with a key that can be used";

/// Pairs the first certificate of `chain` with its private key. Nothing but the certificate's key is checked.
///
/// # Errors
///
/// The two do not belong together, or the kind of key is not supported.
pub fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PairFault> {
    let fault = |what: String, advice| PairFault { what, advice };
    let wanted = chain.first().and_then(|own| key_of(own));
    let wanted = wanted
        .ok_or_else(|| fault("the certificate is not one that can be read as X.509".to_owned(), ANOTHER))?;
    let algorithms = &provider.signature_verification_algorithms;
    let words = match key_fault(&wanted, algorithms) {
        Some(fault) => format!("the certificate can't be used: {fault}"),
        None => format!("the private key is {}, and not {GOOD_KINDS}", kind_of(&key)),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|_| fault(words, ANOTHER))?;
    let Some(found) = key.public_key().filter(|found| *found != wanted) else {
        return Ok(CertifiedKey::new(chain, key));
    };
    let owner = chain.iter().position(|other| key_of(other).is_some_and(|other| other == found));
    Err(match owner {
        Some(place) => fault(
            format!("the private key is that of certificate {} in the file, and not of the first", place + 1),
            "put that one first, and behind each certificate the one that signed it",
        ),
        None => fault(
            "the private key is not the certificate's".to_owned(),
            "where two belong together, `openssl x509 -in CERTIFICATE -noout -pubkey` and `openssl pkey -in KEY -pubout` \
             print the same",
        ),
    })
}

/// A noun for the kind of a private key.
fn kind_of(key: &PrivateKeyDer<'_>) -> String {
    let unknown = || "of a kind that is not known".to_owned();
    match key {
        PrivateKeyDer::Pkcs1(_) => "RSA of another size".to_owned(),
        PrivateKeyDer::Sec1(_) => "on another curve".to_owned(),
        PrivateKeyDer::Pkcs8(key) => {
            let algorithm = || {
                let (_, key) = Sequence::from_der(key.secret_pkcs8_der()).ok()?;
                let (rest, _version) = Any::from_der(&key.content).ok()?;
                Some(kind(&AlgorithmIdentifier::from_der(rest).ok()?.1))
            };
            algorithm().unwrap_or_else(unknown)
        }
        _ => unknown(),
    }
}

/// Returns the reason why clients that trust the signing authority will refuse this server certificate, if
/// there is one. None for a self-signed certificate: clients pin it, and its contents do not matter.
#[must_use]
pub fn server_doubt(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.issuer().as_raw() == parsed.subject().as_raw() {
        return None;
    }
    if let Some(oddity) = oddity(certificate) {
        return Some(oddity);
    }
    let is_authority =
        parsed.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
    let usage = parsed.extended_key_usage().ok().flatten();
    let is_for_others = usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any);
    let names = parsed.subject_alternative_name().ok().flatten();
    let is_name =
        |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    let has_name = names.is_some_and(|names| names.value.general_names.iter().any(is_name));
    let words = match (is_authority, is_for_others, has_name) {
        (true, ..) => "it is marked as an authority (basic constraints with CA:TRUE)",
        (_, true, _) => "its extended key usage is not for servers (serverAuth)",
        (_, _, false) => "it has no DNS name and no address (subject alternative names)",
        _ => return None,
    };
    Some(words.to_owned())
}

/// Returns the fault in the order of a chain, and a remedy: each certificate must be followed by its issuer.
#[must_use]
pub fn order_fault(chain: &[CertificateDer<'_>]) -> Option<(String, String)> {
    let parsed: Vec<_> = chain.iter().map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let parsed: Vec<_> = parsed.into_iter().collect::<Option<_>>()?;
    let signs = |issuer: usize, of: usize| parsed[issuer].subject().as_raw() == parsed[of].issuer().as_raw();
    let wrong = (1..chain.len()).find(|place| !signs(*place, place - 1))?;
    let name = |place: usize| format!("certificate {} ({})", place + 1, describe(&chain[place]).0);
    let what = format!("{} is followed by {}, which did not sign it", name(wrong - 1), name(wrong));
    // The leaf signed none of the others; the first certificate if that is ambiguous.
    let signs_none = |place: &usize| !(0..chain.len()).any(|other| other != *place && signs(*place, other));
    let mut leaves = (0..chain.len()).filter(signs_none);
    let leaf = match (leaves.next(), leaves.next()) {
        (Some(leaf), None) => leaf,
        _ => 0,
    };
    let mut order = vec![leaf];
    while let Some(last) = order.last().copied()
        && let Some(next) = (0..chain.len()).find(|place| !order.contains(place) && signs(*place, last))
    {
        order.push(next);
    }
    let numbers: Vec<_> = order.iter().map(|place| (place + 1).to_string()).collect();
    let advice = format!("write those of the file in the order {}", numbers.join(", "));
    let left_over: Vec<_> = (0..chain.len()).filter(|place| !order.contains(place)).map(name).collect();
    Some(match left_over.is_empty() {
        true => (what, advice),
        false => (what, format!("{advice}, and leave out {}, which is no part of it", left_over.join(", "))),
    })
}
