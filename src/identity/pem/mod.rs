//! PEM text (RFC 7468), read strictly: every block of it, or none.
//!
//! PEM readers skip text that is no block. So a slip in a file (two blocks on one line, a marker with a dash
//! too few, half a block) silently drops a revocation list or an authority. Here text between blocks, as
//! OpenSSL writes it, must not resemble a marker or a part of a block; and each file holds what it is for.
//!
//! rustls's reader decodes the contents. Knows no files.

mod fault;
mod forms;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

pub use fault::PemFault;

/// One block of a file.
#[derive(Debug)]
pub struct Block {
    /// First line of the block, from 1.
    pub line: usize,
    /// Its contents.
    pub holds: Holds,
}

/// The contents of a block.
#[derive(Debug)]
pub enum Holds {
    /// A certificate.
    Certificate(CertificateDer<'static>),
    /// A private key.
    Key(PrivateKeyDer<'static>),
    /// A revocation list.
    List(CertificateRevocationListDer<'static>),
    /// Key parameters, which OpenSSL puts before a key. The key itself contains them.
    Parameters,
    /// Anything else, such as a request or a public key: its label.
    Other(String),
}

impl Holds {
    fn certificate(self) -> Result<CertificateDer<'static>, Self> {
        match self {
            Self::Certificate(certificate) => Ok(certificate),
            other => Err(other),
        }
    }

    /// A noun for the contents.
    fn noun(&self) -> &str {
        match self {
            Self::Certificate(_) => "a certificate",
            Self::Key(_) => "a private key",
            Self::List(_) => "a revocation list",
            Self::Parameters => "parameters of a key",
            Self::Other(label) => label,
        }
    }
}

/// The certificates of a file, at least one. Keys may be in the same file, such as a certificate's own key.
///
/// # Errors
///
/// The file has no certificate, or contains anything else.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let may_be_beside = |holds: &Holds| matches!(holds, Holds::Key(_) | Holds::Parameters);
    pick(text, Wanted::Certificate, may_be_beside, Holds::certificate)
}

/// The certificates of authorities, at least one, and nothing else: a list in such a file would be ignored,
/// and an authority's key has no business with a server.
///
/// # Errors
///
/// The file has no certificate, or contains anything else.
pub fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    pick(text, Wanted::Certificate, |_| false, Holds::certificate)
}

/// The revocation lists of a file, at least one, and nothing else.
///
/// # Errors
///
/// The file has no list, or contains anything else.
pub fn lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, PemFault> {
    let list = |holds| match holds {
        Holds::List(list) => Ok(list),
        other => Err(other),
    };
    pick(text, Wanted::List, |_| false, list)
}

/// The private key of a file. Certificates may be in the same file. Never shows key contents.
///
/// # Errors
///
/// The file has no key, more than one, or contains anything else.
pub fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    let may_be_beside = |holds: &Holds| matches!(holds, Holds::Certificate(_) | Holds::Parameters);
    let key = |holds| match holds {
        Holds::Key(key) => Ok(key),
        other => Err(other),
    };
    let mut keys = pick(text, Wanted::Key, may_be_beside, key)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (_, before) => Err(PemFault::new(None, format!("there are {} private keys in it", before + 1))
            .advise("leave the one that belongs to the certificate")),
    }
}

/// Returns true if any block of `text` is a private key.
#[must_use]
pub fn holds_key(text: &[u8]) -> bool {
    blocks(text).is_ok_and(|blocks| blocks.iter().any(|block| matches!(block.holds, Holds::Key(_))))
}

/// The kind of block a file is for.
#[derive(Clone, Copy)]
enum Wanted {
    Certificate,
    Key,
    List,
}

impl Wanted {
    fn noun(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::List => "revocation list",
        }
    }

    /// Advice on converting from PKCS#12.
    fn advice_on_pkcs12(self) -> &'static str {
        match self {
            Self::Certificate => "`openssl pkcs12 -in FILE -nokeys -out FILE.pem` writes its certificates",
            Self::Key => "`openssl pkcs12 -in FILE -nocerts -noenc -out FILE.key` writes its key",
            Self::List => "put the list of the authority there",
        }
    }

    /// Advice on converting from DER.
    fn advice_on_der(self) -> &'static str {
        match self {
            Self::Certificate => "`openssl x509 -inform der -in FILE -out FILE.pem` makes PEM of it",
            Self::Key => "`openssl pkey -inform der -in FILE -out FILE.key` makes PEM of it",
            Self::List => "`openssl crl -inform der -in FILE -out FILE.pem` makes PEM of it",
        }
    }
}

/// Collects the blocks of `text` that `take` accepts, at least one; all others must satisfy `may_be_beside`.
fn pick<T>(
    text: &[u8],
    wanted: Wanted,
    may_be_beside: impl Fn(&Holds) -> bool,
    take: impl Fn(Holds) -> Result<T, Holds>,
) -> Result<Vec<T>, PemFault> {
    if forms::is_pkcs12(text) {
        return Err(PemFault::new(None, "this file is PKCS#12, not PEM").advise(wanted.advice_on_pkcs12()));
    }
    if forms::is_der(text) {
        return Err(PemFault::new(None, "this file is DER, not PEM").advise(wanted.advice_on_der()));
    }
    let (mut taken, mut beside, noun) = (Vec::new(), None, wanted.noun());
    for Block { line, holds } in blocks(text)? {
        match take(holds) {
            Ok(block) => taken.push(block),
            Err(other) if may_be_beside(&other) => beside = Some(other),
            Err(other) => {
                let what = format!("{} begins here, and this file is for a {noun}", other.noun());
                return Err(PemFault::new(line, what).advise("put it into a file of its own, or take it out"));
            }
        }
    }
    if taken.is_empty() {
        return Err(forms::without(noun, beside.as_ref().map(Holds::noun)));
    }
    Ok(taken)
}

/// Returns all blocks of `text`, in order.
///
/// # Errors
///
/// Anything looks like a block, or a part of one, and is none.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PemFault> {
    const UTF_8: &[u8] = b"\xef\xbb\xbf";
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemFault::new(None, "this file is UTF-16").advise("save it as ASCII or UTF-8"));
    }
    let mut blocks = Vec::new();
    let (mut open, mut encoded): (Option<Open>, _) = (None, forms::Encoded::default());
    for (number, line) in (1..).zip(forms::lines(text.strip_prefix(UTF_8).unwrap_or(text))) {
        let line = line.trim_ascii();
        open = match (mark(line), open) {
            (Some(Mark::Odd(what)), _) => return Err(PemFault::new(number, what)),
            (Some(Mark::Begin(label)), None) => {
                encoded = forms::Encoded::default();
                Some(Open::new(number, label))
            }
            (Some(Mark::Begin(_)), Some(open)) => {
                let what = format!("a block begins before that of line {} has ended", open.line);
                return Err(PemFault::new(number, what));
            }
            (Some(Mark::End(label)), Some(open)) if label == open.label => {
                blocks.push(open.close()?);
                None
            }
            (Some(Mark::End(label)), Some(open)) => {
                let what =
                    format!("{label} ends here, and what began on line {} is {}", open.line, open.label);
                return Err(PemFault::new(number, what));
            }
            (Some(Mark::End(_)), None) => {
                return Err(PemFault::new(number, "a block ends here that has not begun"));
            }
            (None, Some(mut open)) => {
                open.add(number, line)?;
                Some(open)
            }
            (None, None) if !forms::is_text(line) => {
                let what = "this is not text; DER or UTF-16 may have been joined to the file";
                return Err(
                    PemFault::new(number, what).advise("make PEM of each part first, in ASCII or UTF-8")
                );
            }
            (None, None) => {
                if let Some(line) = encoded.add(number, line) {
                    let what = "this looks like a part of a block, and none has begun";
                    let advice = "put it between `-----BEGIN …-----` and `-----END …-----`, or take it out";
                    return Err(PemFault::new(line, what).advise(advice));
                }
                None
            }
        };
    }
    match open {
        Some(open) => Err(PemFault::new(open.line, format!("{} begins here and does not end", open.label))),
        None => Ok(blocks),
    }
}

enum Mark {
    Begin(String),
    End(String),
    /// Almost a marker; the string says what is wrong.
    Odd(&'static str),
}

/// Parses a line as a marker.
fn mark(line: &[u8]) -> Option<Mark> {
    const DASHES: &[u8] = b"-----";
    let label = |begins: &[u8]| {
        let label = line.strip_prefix(DASHES)?.strip_prefix(begins)?.strip_suffix(DASHES)?;
        let is_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
        label.iter().all(is_label).then(|| String::from_utf8_lossy(label).into_owned())
    };
    if let Some(label) = label(b"BEGIN ") {
        return Some(Mark::Begin(label));
    }
    if let Some(label) = label(b"END ") {
        return Some(Mark::End(label));
    }
    let line = line.to_ascii_uppercase();
    let has = |words: &[u8]| line.windows(words.len()).any(|window| window == words);
    let is_about_pem = has(b"CERTIFICATE") || has(b"KEY") || has(b"CRL") || has(b"PARAMETERS");
    let dashes = [&b"--"[..], "–".as_bytes(), "—".as_bytes()];
    if has(b"-----BEGIN") && has(b"-----END") {
        Some(Mark::Odd("a block begins and another ends on this line; each needs a line of its own"))
    } else if has(b"-----BEGIN") || has(b"-----END") {
        Some(Mark::Odd("something stands beside `-----BEGIN …-----` or `-----END …-----` on this line"))
    } else if is_about_pem && (has(b"BEGIN") || has(b"END ")) && dashes.iter().any(|dashes| has(dashes)) {
        Some(Mark::Odd(
            "this is nearly `-----BEGIN …-----` or `-----END …-----`; it takes five dashes on either side",
        ))
    } else {
        None
    }
}

/// A block whose end has not been read.
struct Open {
    line: usize,
    label: String,
    /// Its lines, including the BEGIN marker.
    text: Vec<u8>,
}

impl Open {
    fn new(line: usize, label: String) -> Self {
        let text = format!("-----BEGIN {}-----\n", Self::usual(&label)).into_bytes();
        Self { line, label, text }
    }

    /// Maps OpenSSL's former label to the one that rustls knows.
    fn usual(label: &str) -> &str {
        if label == "X509 CERTIFICATE" { "CERTIFICATE" } else { label }
    }

    fn add(&mut self, number: usize, line: &[u8]) -> Result<(), PemFault> {
        if line.contains(&b':') {
            let is_key = self.label.ends_with("KEY");
            let headers =
                || PemFault::new(number, "lines of a header stand in this block").advise("take them out");
            return Err(if is_key { forms::encrypted(self.line) } else { headers() });
        }
        if !line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/= \t".contains(byte)) {
            return Err(PemFault::new(number, "this is not base64, and a block holds nothing else"));
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        Ok(())
    }

    fn close(self) -> Result<Block, PemFault> {
        let Self { line, label, mut text } = self;
        match &*label {
            "EC PARAMETERS" | "DH PARAMETERS" | "DSA PARAMETERS" => {
                return Ok(Block { line, holds: Holds::Parameters });
            }
            label => forms::of_label(line, label).map_or(Ok(()), Err)?,
        }
        // Four base64 digits are three bytes; rustls's reader would accept a truncated rest.
        let digits =
            text.iter().skip_while(|byte| **byte != b'\n').filter(|byte| !byte.is_ascii_whitespace());
        if !digits.count().is_multiple_of(4) {
            return Err(PemFault::new(line, "of what begins here a part is missing"));
        }
        text.extend_from_slice(format!("-----END {}-----\n", Self::usual(&label)).as_bytes());
        let holds = match <(SectionKind, Vec<u8>)>::pem_slice_iter(&text).next() {
            Some(Err(_)) => {
                return Err(PemFault::new(line, "the base64 of what begins here is damaged")
                    .advise("copy the file anew, byte for byte"));
            }
            Some(Ok((_, der))) if der.is_empty() => {
                return Err(PemFault::new(line, "nothing is in what begins here"));
            }
            Some(Ok((SectionKind::Certificate, der))) => Holds::Certificate(der.into()),
            Some(Ok((SectionKind::Crl, der))) => Holds::List(der.into()),
            Some(Ok((kind, der))) => match PrivateKeyDer::from_pem(kind, der) {
                Some(key) => Holds::Key(key),
                None => Holds::Other(label),
            },
            None => Holds::Other(label),
        };
        Ok(Block { line, holds })
    }
}

#[cfg(test)]
mod tests;
