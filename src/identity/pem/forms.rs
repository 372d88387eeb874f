//! Forms of keys and certificates that are not read, and how to make of each what is.

use super::PemFault;

/// A sequence of ASN.1 that begins with the number 3: a version that neither keys nor what is signed have.
pub(super) fn is_pkcs12(bytes: &[u8]) -> bool {
    let head = match bytes {
        [0x30, length @ 0x80..=0x84, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    };
    head.is_some_and(|head| head.starts_with(&[2, 1, 3]))
}

/// A sequence of ASN.1 whose length takes more than a byte, which no text begins with.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0xff, ..])
}

/// Lines, however they end.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r'))
}

/// Whether a line has no character that only files of other kinds have. Text may be in an older encoding.
pub(super) fn is_text(line: &[u8]) -> bool {
    line.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

/// That there is no `wanted` in a file, of which `held` is the last that may be in it.
pub(super) fn without(wanted: &str, held: Option<&str>) -> PemFault {
    match held {
        Some(held) => PemFault::new(None, format!("this file holds {held}, and no {wanted}"))
            .advise("the paths of the certificate and of its key may be swapped"),
        None => PemFault::new(None, format!("this file holds no {wanted} in PEM")),
    }
}

/// What is wrong with a block of this label, which begins on a line, if that is known.
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

/// That the key is encrypted that begins on a line.
pub(super) fn encrypted(line: usize) -> PemFault {
    PemFault::new(line, "the private key that begins here is encrypted, and nobody is asked for its password")
        .advise("`openssl pkey -in FILE -out FILE.key` writes it without one")
}

/// Whether a line between blocks is one of base64 as they hold it. A hash in hexadecimal is none.
pub(super) fn is_like_a_body(line: &[u8]) -> bool {
    // Tools' lines have 48 to 76 digits; a SHA-256 in base64, which may stand in a remark, has 44.
    const LONG: usize = 48;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    line.len() >= LONG && line.iter().all(is_base64) && !line.iter().all(u8::is_ascii_hexdigit)
}

/// DER in base64 or hexadecimal that stands between blocks without its marks, in lines of whatever length.
pub(super) struct Unmarked {
    /// Line on which it begins, from 1 on.
    pub(super) line: usize,
    is_hex: bool,
    /// Digits that are still to come.
    missing: usize,
}

impl Unmarked {
    /// What `before` is with one more line, or what begins with it.
    pub(super) fn with(before: Option<Self>, number: usize, line: &[u8]) -> Option<Self> {
        let digits: Vec<u8> =
            line.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b':').copied().collect();
        match before {
            Some(before) => before.and(&digits),
            None => Self::begin(number, &digits),
        }
    }

    fn begin(line: usize, digits: &[u8]) -> Option<Self> {
        let is_hex = digits.starts_with(b"308");
        let head = match is_hex {
            true => base16ct::mixed::decode_vec(digits.get(..10)?).ok()?,
            false => six_bytes(digits.first_chunk()?)?.to_vec(),
        };
        // A sequence whose length takes one byte, two or three.
        let bytes = match head[..] {
            [0x30, 0x81, a, ..] => 3 + usize::from(a),
            [0x30, 0x82, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
            [0x30, 0x83, a, b, c, ..] => 5 + usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?,
            _ => return None,
        };
        let missing = if is_hex { bytes * 2 } else { (bytes * 4).div_ceil(3) };
        Self { line, is_hex, missing }.and(digits)
    }

    fn and(mut self, digits: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| match self.is_hex {
            true => byte.is_ascii_hexdigit(),
            false => byte.is_ascii_alphanumeric() || b"+/=".contains(byte),
        };
        digits.iter().all(is_digit).then(|| {
            self.missing = self.missing.saturating_sub(digits.len());
            self
        })
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

/// The bytes of eight digits of base64 (RFC 4648).
fn six_bytes(digits: &[u8; 8]) -> Option<[u8; 6]> {
    let value = |digit: &u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bits = digits.iter().try_fold(0, |bits: u64, digit| Some(bits << 6 | u64::from(value(digit)?)))?;
    bits.to_be_bytes().last_chunk().copied()
}
