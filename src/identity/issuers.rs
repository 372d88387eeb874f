//! Selects the issuers in a stranger's chain before any signature is checked.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

/// Maximum certificates a peer may send, including its own. Usual chains have three or four.
const MAX_CHAIN: usize = 6;

/// Maximum certificates of a server's chain that are read.
const MAX_SHOWN: usize = 16;

/// Returns those of `others`, sent after a peer's own certificate, that may lead from it to an authority,
/// without the authorities themselves.
///
/// No two of them have one subject and different keys. So each certificate has only one continuation, and
/// there is no maze to search. Several certificates with one subject and one key are usual: one authority,
/// cross-signed by others.
///
/// # Errors
///
/// The fault of the chain.
pub(super) fn issuers<'c>(
    others: &'c [CertificateDer<'_>],
    is_authority: impl Fn(&[u8]) -> bool,
) -> Result<Vec<CertificateDer<'c>>, String> {
    let count = others.len() + 1;
    if count > MAX_CHAIN {
        return Err(format!("it came in a chain of {count} certificates, and {MAX_CHAIN} are the most"));
    }
    let mut taken: Vec<(EndEntityCert<'_>, CertificateDer<'c>)> = Vec::new();
    for other in others {
        if is_authority(other) || taken.iter().any(|(_, taken)| **taken == **other) {
            continue;
        }
        // An unreadable certificate vouches for nobody.
        let Ok(issuer) = EndEntityCert::try_from(other) else { continue };
        let is_another = |taken: &EndEntityCert<'_>| {
            taken.subject() == issuer.subject()
                && taken.subject_public_key_info() != issuer.subject_public_key_info()
        };
        if taken.iter().any(|(taken, _)| is_another(taken)) {
            return Err("two certificates of its chain have one subject and different keys".to_owned());
        }
        taken.push((issuer, CertificateDer::from(&**other)));
    }
    Ok(taken.into_iter().map(|(_, der)| der).collect())
}

/// Returns those of `others`, sent after a server's own certificate, that are used: the first of each
/// subject, at most five.
///
/// A public server's chain may contain superfluous certificates and is not refused for them. Each certificate
/// has only one continuation, so few signatures are computed whatever the server sends.
pub(super) fn first_of_each_subject<'c>(others: &'c [CertificateDer<'_>]) -> Vec<CertificateDer<'c>> {
    let mut taken: Vec<(EndEntityCert<'_>, CertificateDer<'c>)> = Vec::new();
    // An unreadable certificate vouches for nobody.
    for other in others.iter().take(MAX_SHOWN) {
        let Ok(issuer) = EndEntityCert::try_from(other) else { continue };
        if taken.iter().all(|(taken, _)| taken.subject() != issuer.subject()) {
            taken.push((issuer, CertificateDer::from(&**other)));
        }
    }
    taken.truncate(MAX_CHAIN - 1);
    taken.into_iter().map(|(_, der)| der).collect()
}

/// The subject key identifier of a certificate.
pub(super) fn key_identifier(der: &[u8]) -> Option<Vec<u8>> {
    extension(der, |extension| match extension {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
        _ => None,
    })
}

/// The authority key identifier: the key that signed this certificate.
pub(super) fn issuers_key(der: &[u8]) -> Option<Vec<u8>> {
    extension(der, |extension| match extension {
        ParsedExtension::AuthorityKeyIdentifier(issuer) => Some(issuer.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    })
}

fn extension<T>(der: &[u8], wanted: impl Fn(&ParsedExtension<'_>) -> Option<T>) -> Option<T> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    certificate.extensions().iter().find_map(|extension| wanted(extension.parsed_extension()))
}
