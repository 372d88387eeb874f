//! Unsupported forms of keys and certificates, and advice on converting them.

use super::fault::PemFault;

/// An ASN.1 sequence that begins with the number 3: a version that neither keys nor signed objects have.
pub(super) fn is_pkcs12(bytes: &[u8]) -> bool {
    let head = match bytes {
        [0x30, length @ 0x80..=0x84, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    };
    head.is_some_and(|head| head.starts_with(&[2, 1, 3]))
}

/// An ASN.1 sequence with a multi-byte length; no text begins so.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0xff, ..])
}

/// Lines with any kind of line ending.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r'))
}

/// Returns true if the line has none of the control characters that mark binary files. Text may be in an
/// older encoding.
pub(super) fn is_text(line: &[u8]) -> bool {
    line.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

/// The fault of a file without any `wanted`; `held` is the last other content that it has.
pub(super) fn without(wanted: &str, held: Option<&str>) -> PemFault {
    match held {
        Some(held) => PemFault::new(None, format!("this file holds {held}, but no {wanted}"))
            .advise("the paths of the certificate and of its key may be swapped"),
        None => PemFault::new(None, format!("this file holds no {wanted} in PEM")),
    }
}

/// Returns the fault of a block with this label, which begins on `line`, if the label is known.
pub(super) fn of_label(line: usize, label: &str) -> Option<PemFault> {
    let (what, advice) = match label {
        "ENCRYPTED PRIVATE KEY" => return Some(encrypted(line)),
        "DSA PRIVATE KEY" => (
            "the private key that begins here is DSA, by which TLS proves nothing any more",
            "`lictor cert new NAME` makes a certificate with a key that can be used",
        ),
        "OPENSSH PRIVATE KEY" => (
            "the private key that begins here is in OpenSSH's own form",
            "`ssh-keygen -p -m PKCS8 -f FILE` writes it in the usual one",
        ),
        "TRUSTED CERTIFICATE" => (
            "this is a certificate in a form of OpenSSL's own",
            "`openssl x509 -in FILE -out FILE.pem` writes it in the usual one",
        ),
        _ => return None,
    };
    Some(PemFault::new(line, what).advise(advice))
}

/// The fault of an encrypted key that begins on `line`.
pub(super) fn encrypted(line: usize) -> PemFault {
    PemFault::new(line, "the private key that begins here is encrypted, and nobody is asked for its password")
        .advise("`openssl pkey -in FILE -out FILE.key` writes it without one")
}

/// Detects block contents in the text between blocks: DER in base64 or hexadecimal, whatever surrounds it.
/// Remarks may contain hashes, so small amounts pass as text.
#[derive(Default)]
pub(super) struct Encoded {
    /// Line on which the first of it is, from 1.
    line: usize,
    /// Base64 digits in words that can be nothing else.
    base64: usize,
    /// Hexadecimal digits in words that can be nothing else.
    hex: usize,
    /// The preceding lines that consist of digits alone.
    lines: Lines,
}

/// Consecutive lines of digits alone; whitespace and colons do not count.
#[derive(Default)]
struct Lines {
    first: usize,
    begins: Vec<u8>,
    has_colon: bool,
    is_hex: bool,
    digits: Mix,
}

/// Number of base64 digits, and how many are capitals and numerals.
#[derive(Default)]
struct Mix {
    all: usize,
    capitals: usize,
    numerals: usize,
}

/// Minimum digits of a block's full line, with any tool; a SHA-256 in base64 has 44.
const LINE: usize = 48;

/// Minimum digits of a word that may be encoded data. Words of natural languages are shorter, or all of one
/// kind of digit.
const WORD: usize = 16;

/// More digits than a few hashes have: 132 bytes of base64, and 128 of hexadecimal. Block contents are never
/// shorter.
const MUCH_BASE64: usize = 176;
const MUCH_HEX: usize = 257;

impl Encoded {
    /// Adds line `number`; returns the line on which non-text begins.
    pub(super) fn add(&mut self, number: usize, line: &[u8]) -> Option<usize> {
        let words = line.split(|byte| !is_base64(*byte));
        for word in words.filter(|word| word.len() >= WORD) {
            let is_hex = word.iter().all(u8::is_ascii_hexdigit);
            // A full line of a block; a title's underline is none.
            let is_line = word.len() == line.len() && word.len() >= LINE && !word.ends_with(b"===");
            if !is_hex && !is_line && !Mix::of(word).is_mixed() {
                continue;
            }
            if self.base64 + self.hex == 0 {
                self.line = number;
            }
            *(if is_hex { &mut self.hex } else { &mut self.base64 }) += word.len();
            if self.base64 >= MUCH_BASE64 || self.hex >= MUCH_HEX || (!is_hex && word.len() >= LINE) {
                return Some(if word.len() >= LINE { number } else { self.line });
            }
        }
        self.lines.add(number, line)
    }
}

impl Lines {
    fn add(&mut self, number: usize, line: &[u8]) -> Option<usize> {
        let digits: Vec<u8> =
            line.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect();
        let has_colon = line.contains(&b':');
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let are_digits =
            digits.iter().all(|byte| is_base64(*byte)) && (is_hex || !has_colon && is_grouped(line));
        if !are_digits {
            *self = Self::default();
            return None;
        }
        if self.digits.all == 0 {
            *self = Self { first: number, is_hex: true, ..Self::default() };
        }
        self.has_colon |= has_colon;
        self.is_hex &= is_hex;
        self.begins.extend(digits.iter().take(3_usize.saturating_sub(self.begins.len())));
        self.digits.add(&digits);
        let is_much = match self.is_hex {
            // OpenSSL prints numbers as bytes separated by colons. DER begins with 30 8x.
            true => self.digits.all >= MUCH_HEX && (!self.has_colon || self.begins == b"308"),
            false => !self.has_colon && self.digits.all >= MUCH_BASE64 && self.digits.is_mixed(),
        };
        is_much.then_some(self.first)
    }
}

impl Mix {
    fn of(digits: &[u8]) -> Self {
        let mut mix = Self::default();
        mix.add(digits);
        mix
    }

    fn add(&mut self, digits: &[u8]) {
        self.all += digits.len();
        self.capitals += digits.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        self.numerals += digits.iter().filter(|byte| byte.is_ascii_digit()).count();
    }

    /// Returns true if the mix of kinds resembles encoded data, of which two fifths are capitals and a
    /// seventh numerals; words and paths have fewer.
    fn is_mixed(&self) -> bool {
        let small = self.all - self.capitals - self.numerals;
        self.capitals * 5 >= self.all && self.numerals * 33 >= self.all && small * 5 >= self.all
    }
}

/// Returns true if all words of a line but the last have one length: digits are grouped so, words are not.
fn is_grouped(line: &[u8]) -> bool {
    let mut lengths = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::len);
    let Some(first) = lengths.next() else { return true };
    let others: Vec<_> = lengths.collect();
    others
        .split_last()
        .is_none_or(|(last, others)| *last <= first && others.iter().all(|length| *length == first))
}

/// Returns true for a digit of base64, or of its URL-safe form.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)
}
