//! What stands in the files that a config names: the text of the config itself, certificates, lists.
//!
//! Bytes in, values out: which file they come from, and who may have written it, is `resolve/folder.rs`'s.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::fault::{Faults, Source};
use super::given::Findings;
use super::names::Refusal;
use super::redact::Grammar;
use crate::files::{Authors, Opened};
use crate::identity::{Authority, RevocationList, Thumbprint, describe};

/// The largest config file: 10,000 clients take 2 MB.
const MOST_CONFIG_BYTES: u64 = 16 << 20;
/// The largest file of certificates.
pub(super) const MOST_CERTIFICATE_BYTES: u64 = 1 << 20;

/// The config file that was opened, and its text.
///
/// # Errors
/// It can't be read, others may have written it, or it is no text.
pub(super) fn config_text(path: &Path, authors: Authors) -> Result<(Opened, String), Faults> {
    let fail = |refusal: Refusal| {
        let mut findings = Findings::new(Source::new(path, "", Grammar::Toml));
        findings.error(refusal.what).helps(refusal.advice).done();
        findings.verdict::<()>(None).err().unwrap_or_else(|| Faults::new(Vec::new()))
    };
    let opened = Opened::file(path).and_then(|opened| authors.want(opened));
    let read = opened.and_then(|opened| Ok((opened.bytes(MOST_CONFIG_BYTES)?, opened)));
    let (bytes, opened) = read.map_err(|fault| {
        let refusal = Refusal::new(format!("the config file can't be read: {}", fault.what()));
        let otherwise = || "`lictor init` makes one; another is named by `--config FILE`".to_owned();
        fail(refusal.advise(fault.advice().unwrap_or_else(otherwise)))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        let what = format!("the config file is not UTF-8: line {line} holds bytes that are no text");
        fail(Refusal::new(what).advise("save it as UTF-8"))
    })?;
    Ok((opened, text))
}

/// The first certificate of a PEM file.
///
/// # Errors
/// There is no certificate in it.
pub(super) fn certificate(bytes: &[u8]) -> Result<CertificateDer<'static>, Refusal> {
    match CertificateDer::pem_slice_iter(bytes).next() {
        Some(Ok(certificate)) => Ok(certificate),
        Some(Err(_)) => Err(Refusal::new("the PEM text in this file is damaged")),
        None if bytes.starts_with(&[0x30, 0x82]) => Err(Refusal::new("this file is DER, and PEM is wanted")
            .advise("`openssl x509 -inform der -in FILE -out FILE.pem` makes PEM of it")),
        None => Err(Refusal::new("this file holds no certificate")),
    }
}

/// What a client is known by if it has the first certificate of a PEM file.
pub(super) struct Pinnable {
    pub(super) sha256: Thumbprint,
    pub(super) sha1: Thumbprint,
    /// When the certificate ends; `None` where that can't be read.
    pub(super) ends: Option<SystemTime>,
}

/// What a client is known by if it has the first certificate of a PEM file.
///
/// # Errors
/// There is no certificate in it.
pub(super) fn pinnable(bytes: &[u8]) -> Result<Pinnable, Refusal> {
    let certificate = certificate(bytes)?;
    Ok(Pinnable {
        sha256: Thumbprint::sha256_of(&certificate),
        sha1: Thumbprint::sha1_of(&certificate),
        ends: describe(&certificate).1.map(|validity| validity.not_after),
    })
}

/// The authorities of a PEM file, at least one.
///
/// # Errors
/// There is no certificate in it, or one that is none of an authority.
pub(super) fn authorities(bytes: &[u8]) -> Result<Vec<Authority>, Refusal> {
    // What is wrong with a file without certificates is said of it as of one that should have one.
    certificate(bytes)?;
    let certificates = CertificateDer::pem_slice_iter(bytes).zip(1..);
    let authorities = certificates.map(|(certificate, number)| {
        let certificate = certificate.map_err(|_| Refusal::new("the PEM text in this file is damaged"))?;
        Authority::new(certificate).map_err(|error| {
            let what = format!("certificate {number} of this file is none of an authority: {error}");
            Refusal::new(what).advise("a client's own certificate goes into its `certificates`")
        })
    });
    authorities.collect()
}

/// The revocation lists of a PEM file, at least one.
///
/// # Errors
/// There is no list in it, or one that can't be used.
pub(super) fn revocation_lists(bytes: &[u8]) -> Result<Vec<RevocationList>, Refusal> {
    let lists = CertificateRevocationListDer::pem_slice_iter(bytes).zip(1..).map(|(list, number)| {
        let list = list.map_err(|_| Refusal::new("the PEM text in this file is damaged"))?;
        RevocationList::new(&list)
            .map_err(|error| Refusal::new(format!("list {number} of this file can't be used: {error}")))
    });
    let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
    if lists.is_empty() && bytes.starts_with(&[0x30]) {
        return Err(Refusal::new("this file is DER, and PEM is wanted")
            .advise("`openssl crl -inform der -in FILE -out FILE.pem` makes PEM of it"));
    }
    if lists.is_empty() { Err(Refusal::new("this file holds no revocation list")) } else { Ok(lists) }
}
