//! Contents of the files that a config names: the text of the config itself, certificates, revocation lists.
//!
//! Bytes in, values out: `resolve/folder.rs` opens the files and checks who could have written them.

use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;

use super::fault::Faults;
use super::fields::Findings;
use super::model::Config;
use super::raw::SECTIONS;
use super::redact::Grammar;
use crate::files::{Authors, Opened};
use crate::identity::pem::{self, PemFault};
use crate::identity::{
    Authority, Doubt, Proofs, RevocationList, Thumbprint, Validity, describe, order_fault,
};
use crate::text::InvalidText;

/// The largest config file, in bytes, and the most of all the files it includes together: 10,000 clients take
/// 2 MB.
pub const MOST_CONFIG_BYTES: u64 = 16 << 20;

/// Treatment of the secrets that a config names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Secrets {
    /// A missing one is a warning: the config may be served elsewhere.
    #[default]
    Checked,
    /// A missing one is a fault: this process gives them to plugins.
    Needed,
    /// None is read: this process runs no plugin.
    Unread,
}

/// Options for reading a config file.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading<'a> {
    pub(super) authors: Authors,
    /// The config being served meanwhile.
    pub(super) running: Option<&'a Config>,
    pub(super) secrets: Secrets,
    /// A file, and the text to read in its place.
    pub(super) edited: Option<(&'a Path, &'a str)>,
}

/// Opens the config file and reads its text.
///
/// # Errors
/// The file can't be read, may have been written by others, or is not UTF-8.
pub(super) fn config_text(path: &Path, authors: Authors) -> Result<(Opened, String), Faults> {
    let fail = |invalid: InvalidText| {
        let mut findings = Findings::new(path, "", Grammar::Toml, SECTIONS);
        findings.error(invalid.what).helps(invalid.advice).done();
        findings.verdict::<()>(None).err().unwrap_or_else(|| Faults::new(Vec::new()))
    };
    let opened = Opened::file(path).and_then(|opened| authors.want(opened));
    let read = opened.and_then(|opened| Ok((opened.bytes(MOST_CONFIG_BYTES)?, opened)));
    let (bytes, opened) = read.map_err(|fault| {
        let invalid = InvalidText::new(format!("the config file {}: {}", fault.outcome(), fault.what()));
        let otherwise = || "`lictor init` makes one; another is named by `--config FILE`".to_owned();
        fail(invalid.advise(fault.advice().unwrap_or_else(otherwise)))
    })?;
    let text = utf8(bytes, "the config file").map_err(fail)?;
    Ok((opened, text))
}

/// Decodes the text of a file, which messages call `what`.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn utf8(bytes: Vec<u8>, what: &str) -> Result<String, InvalidText> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        let what = format!("{what} is not UTF-8: line {line} holds bytes that are not text");
        InvalidText::new(what).advise("save it as UTF-8")
    })
}

/// Parses the certificates of a PEM file, at least one.
///
/// # Errors
/// The file has no certificate, or a block that can't be read.
pub(super) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidText> {
    let chain = pem::certificates(bytes).map_err(invalid)?;
    // A broken first certificate is reported elsewhere, with more detail.
    let broken = (1..chain.len()).find(|place| describe(&chain[*place]).1.is_none());
    match broken {
        Some(place) => {
            Err(InvalidText::new(format!("certificate {} of this file can't be read as X.509", place + 1))
                .advise("take it out, or copy it anew"))
        }
        None => Ok(chain),
    }
}

fn invalid(fault: PemFault) -> InvalidText {
    let invalid = InvalidText::new(fault.to_string());
    match fault.advice() {
        Some(advice) => invalid.advise(advice),
        None => invalid,
    }
}

/// The first certificate of a PEM file, and the hashes that pin a client to it.
pub(super) struct Pinnable {
    pub(super) sha256: Thumbprint,
    pub(super) sha1: Thumbprint,
    /// The clients that can't authenticate with this certificate, if any.
    pub(super) doubt: Option<Doubt>,
    /// The certificate's validity period; `None` if it can't be read.
    pub(super) validity: Option<Validity>,
    /// The certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// The reason why the file's second certificate is not part of the first one's chain, if it isn't.
    pub(super) stray: Option<String>,
}

/// Computes the pins of a PEM file's first certificate.
///
/// # Errors
/// The file has no certificate, or one that can't be read.
pub(super) fn pinnable(bytes: &[u8]) -> Result<Pinnable, InvalidText> {
    let mut chain = chain(bytes)?;
    let stray = order_fault(&chain[..chain.len().min(2)]).map(|(what, _)| what);
    let certificate = chain.swap_remove(0);
    let proofs = Proofs::new(&aws_lc_rs::default_provider());
    Ok(Pinnable {
        doubt: proofs.doubt(&certificate),
        sha256: Thumbprint::sha256_of(&certificate),
        sha1: Thumbprint::sha1_of(&certificate),
        validity: describe(&certificate).1,
        certificate,
        stray,
    })
}

/// Parses the certificate authorities of a PEM file, at least one.
///
/// # Errors
/// The file has no certificate, or one that is not an authority's.
pub(super) fn authorities(bytes: &[u8]) -> Result<Vec<Authority>, InvalidText> {
    let certificates = pem::authorities(bytes).map_err(invalid)?.into_iter().zip(1..);
    let authorities = certificates.map(|(certificate, number)| {
        Authority::new(certificate).map_err(|error| {
            let what = format!("certificate {number} of this file is not an authority's: {error}");
            InvalidText::new(what).advise("a client's own certificate goes into its `certificates`")
        })
    });
    authorities.collect()
}

/// Parses the revocation lists of a PEM file, at least one.
///
/// # Errors
/// The file has no list, or one that can't be used.
pub(super) fn revocation_lists(bytes: &[u8]) -> Result<Vec<RevocationList>, InvalidText> {
    let lists = pem::lists(bytes).map_err(invalid)?.into_iter().zip(1..).map(|(list, number)| {
        RevocationList::new(&list)
            .map_err(|error| InvalidText::new(format!("list {number} of this file can't be used: {error}")))
    });
    lists.collect()
}
