//! The public key in a certificate, and the supported kinds of keys.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::{Error, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Supported keys, in words.
pub(super) const GOOD_KINDS: &str =
    "RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, Ed25519, or ML-DSA";

/// RSA modulus sizes, in bits, whose signatures can be verified.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Maximum bits of an RSA exponent with which signatures can be verified.
const MAX_EXPONENT_BITS: usize = 33;

/// The key in a certificate, unchanged; `None` if the certificate cannot be read or has trailing bytes.
pub(super) fn key_of(certificate: &[u8]) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    let key = certificate.public_key().raw.to_vec();
    rest.is_empty().then(|| SubjectPublicKeyInfoDer::from(key))
}

/// Returns the reason why no signature of this key can be verified, if there is one.
pub(super) fn key_fault(
    key: &SubjectPublicKeyInfoDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<String> {
    let unreadable = || Some("its key can't be read".to_owned());
    let Ok((_, parsed)) = SubjectPublicKeyInfo::from_der(key.as_ref()) else { return unreadable() };
    if !is_of_a_known_kind(key, algorithms) {
        return Some(format!("its key is {}, and not {GOOD_KINDS}", kind(&parsed.algorithm)));
    }
    let Ok(PublicKey::RSA(rsa)) = parsed.parsed() else { return None };
    let (modulus, exponent) = (bits(rsa.modulus), bits(rsa.exponent));
    if !RSA_BITS.contains(&modulus) {
        let (least, most) = RSA_BITS.into_inner();
        return Some(format!("its RSA key has {modulus} bits, and must have {least} to {most}"));
    }
    (exponent > MAX_EXPONENT_BITS).then(|| {
        format!("the exponent of its RSA key has {exponent} bits, and may have {MAX_EXPONENT_BITS} at most")
    })
}

/// Returns true if any of `algorithms` supports the key. Probes each with an impossible signature.
fn is_of_a_known_kind(key: &SubjectPublicKeyInfoDer<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
    let Ok(key) = RawPublicKeyEntity::try_from(key) else { return false };
    let fits = |verdict| !matches!(verdict, Err(Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)));
    algorithms.all.iter().any(|algorithm| fits(key.verify_signature(*algorithm, &[], &[])))
}

/// A noun for a kind of key.
pub(super) fn kind(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let id = algorithm.algorithm.to_id_string();
    let noun = match &*id {
        "1.2.840.113549.1.1.1" => "RSA in an unusual form",
        "1.2.840.113549.1.1.10" => "RSA for PSS alone (rsassaPss)",
        "1.2.840.10045.2.1" => "on another curve, or on one that it does not name",
        "1.2.840.10040.4.1" => "DSA",
        "1.3.101.110" | "1.3.101.111" => "one that can't sign (X25519, X448)",
        "1.3.101.113" => "Ed448",
        _ => return format!("of the kind {id}"),
    };
    noun.to_owned()
}

/// Bit length of an unsigned number.
fn bits(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    digits.next().map_or(0, |first| 8 * (digits.count() + 1) - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_that_is_set() {
        for (number, count) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[1], 1),
            (&[0, 0x80, 0], 16),
            (&[1, 0, 1], 17),
            (&[0x7f, 0xff], 15),
        ] {
            assert_eq!(bits(number), count, "{number:?}");
        }
    }
}
