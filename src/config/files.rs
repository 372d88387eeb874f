//! The files that a config names: the text of the config itself, certificates, and whether the others are there.
//!
//! Reads no private key and no component, and knows nothing of where in the config a path stood.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::fault::{Faults, Source};
use super::given::Findings;
use super::names::Refusal;
use crate::identity::{Authority, RevocationList, Thumbprint, describe};

/// The largest config file: 10,000 clients take 2 MB.
const MOST_CONFIG_BYTES: u64 = 16 << 20;
/// The largest file of certificates.
const MOST_CERTIFICATE_BYTES: u64 = 1 << 20;

/// The text of the config file.
///
/// # Errors
/// It can't be read, or is no text.
pub(super) fn config_text(path: &Path) -> Result<String, Faults> {
    let fail = |refusal: Refusal| {
        let mut findings = Findings::new(Source::new(path, String::new()));
        findings.error(refusal.what).helps(refusal.advice).done();
        findings.verdict::<()>(None).err().unwrap_or_else(|| Faults::new(Vec::new()))
    };
    let bytes = bytes(path, MOST_CONFIG_BYTES).map_err(|refusal| {
        let refusal = Refusal::new(format!("the config file can't be read: {}", refusal.what));
        fail(refusal.advise("`lictor init` makes one; another is named by `--config FILE`"))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        let what = format!("the config file is not UTF-8: line {line} holds bytes that are no text");
        fail(Refusal::new(what).advise("save it as UTF-8"))
    })
}

/// The first certificate of a PEM file.
///
/// # Errors
/// There is no such file, or no certificate in it.
pub(super) fn certificate(path: &Path) -> Result<CertificateDer<'static>, Refusal> {
    let bytes = bytes(path, MOST_CERTIFICATE_BYTES)?;
    match CertificateDer::pem_slice_iter(&bytes).next() {
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
/// There is no such file, or no certificate in it.
pub(super) fn pinnable(path: &Path) -> Result<Pinnable, Refusal> {
    let certificate = certificate(path)?;
    Ok(Pinnable {
        sha256: Thumbprint::sha256_of(&certificate),
        sha1: Thumbprint::sha1_of(&certificate),
        ends: describe(&certificate).1.map(|validity| validity.not_after),
    })
}

/// The authorities of a PEM file, at least one.
///
/// # Errors
/// There is no such file, no certificate in it, or one that is none of an authority.
pub(super) fn authorities(path: &Path) -> Result<Vec<Authority>, Refusal> {
    // What is wrong with a file without certificates is said of it as of one that should have one.
    certificate(path)?;
    let bytes = bytes(path, MOST_CERTIFICATE_BYTES)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).zip(1..);
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
/// There is no such file, no list in it, or one that can't be used.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<RevocationList>, Refusal> {
    let bytes = bytes(path, MOST_CERTIFICATE_BYTES)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).zip(1..).map(|(list, number)| {
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

/// That there is such a file.
///
/// # Errors
/// There is not.
pub(super) fn exists(path: &Path) -> Result<fs::Metadata, Refusal> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(metadata) if metadata.is_dir() => Err(Refusal::new("this is a folder")),
        Ok(_) => Err(Refusal::new("this is not a plain file")),
        Err(error) => Err(Refusal::new(reason(&error))),
    }
}

/// The mode bits of a key file that let others than its owner at it, if any.
#[cfg(unix)]
pub(super) fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Elsewhere there are no such bits.
#[cfg(not(unix))]
pub(super) fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// The bytes of a file of at most `most`. Only plain files are opened: a pipe could keep a reload waiting for ever.
fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, Refusal> {
    exists(path)?;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| Refusal::new(reason(&error)))?;
    if bytes.len() as u64 > most {
        return Err(Refusal::new(format!("this file is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read it".to_owned(),
        _ => error.to_string(),
    }
}
