//! Certificate hashes, by which clients are known.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash of a certificate's DER bytes.
/// Parsed from 40 (SHA-1) or 64 (SHA-256) hexadecimal digits as tools print them: in any case, with colons,
/// hyphens or spaces between pairs, and with an optional label, as in `sha256:…` and `SHA256 Fingerprint=…`.
/// Shown as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thumbprint {
    /// SHA-1. Impersonating a pinned certificate would take a second preimage, which SHA-1 still resists; use
    /// SHA-256 for new pins.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// A text that is no thumbprint, with the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThumbprintError {
    /// A character that is neither a hexadecimal digit nor a separator between two pairs.
    #[error(
        "{0:?} at position {1} is neither a hexadecimal digit nor a colon, hyphen or space between two pairs"
    )]
    Character(char, usize),
    /// Neither 40 nor 64 digits.
    #[error("it has {0} hexadecimal digits; a SHA-1 thumbprint has 40, a SHA-256 thumbprint 64")]
    Length(usize),
    /// Unsupported algorithm, named by the label or recognized by the number of digits.
    #[error("{0} is not supported: write the SHA-256 or the SHA-1")]
    Untaken(&'static str),
    /// Base64 instead of hexadecimal.
    #[error("this is base64, not hexadecimal digits")]
    Base64,
    /// The path of a certificate file instead of its hash.
    #[error("this is the path of a file, not a hash")]
    Path,
    /// The number of digits does not match the named algorithm.
    #[error("it has {1} hexadecimal digits, which {0}, named before them, has not")]
    Algorithm(&'static str, usize),
}

impl Thumbprint {
    /// SHA-1 of `der`.
    #[must_use]
    pub fn sha1_of(der: &[u8]) -> Self {
        Self::Sha1(Sha1::digest(der).into())
    }

    /// SHA-256 of `der`.
    #[must_use]
    pub fn sha256_of(der: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(der).into())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha1(_) => SHA1,
            Self::Sha256(_) => SHA256,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let (named, digits) = without_label(text);
        if let Some(untaken) = UNTAKEN.iter().find(|untaken| named == Some(untaken.name)) {
            return Err(ThumbprintError::Untaken(untaken.name));
        }
        let before = text.chars().count() - digits.chars().count();
        let digits = digits.trim_end_matches(is_blank);
        let digits = hexadecimal(digits, before).map_err(|error| other_form(digits).unwrap_or(error))?;
        let length = match UNTAKEN.iter().find(|untaken| untaken.digits == digits.len()) {
            Some(untaken) => ThumbprintError::Untaken(untaken.name),
            None => ThumbprintError::Length(digits.len()),
        };
        let bytes = base16ct::mixed::decode_vec(&digits).map_err(|_| length.clone())?;
        let found = match bytes.len() {
            20 => Self::Sha1(bytes.try_into().map_err(|_| length)?),
            32 => Self::Sha256(bytes.try_into().map_err(|_| length)?),
            _ => return Err(length),
        };
        match named {
            Some(named) if named != found.algorithm() => Err(ThumbprintError::Algorithm(named, digits.len())),
            _ => Ok(found),
        }
    }
}

/// Spaces of all kinds, and the zero-width marks that Windows copies along.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ['\u{200e}', '\u{200f}', '\u{feff}'].contains(&character)
}

/// Labels that tools print before a thumbprint, in lower case, with the algorithm that each names.
const LABELS: &[(&str, Option<&str>)] = &[
    ("sha2-256", Some(SHA256)),
    ("sha2-384", Some("SHA-384")),
    ("sha2-512", Some("SHA-512")),
    ("sha384", Some("SHA-384")),
    ("sha-384", Some("SHA-384")),
    ("sha512", Some("SHA-512")),
    ("sha-512", Some("SHA-512")),
    ("md5", Some("MD5")),
    ("sha256", Some(SHA256)),
    ("sha-256", Some(SHA256)),
    ("sha1", Some(SHA1)),
    ("sha-1", Some(SHA1)),
    ("fingerprint", None),
    ("thumbprint", None),
    ("cert hash(sha1)", Some(SHA1)),
    ("cert hash(sha256)", Some(SHA256)),
];
const SHA1: &str = "SHA-1";
const SHA256: &str = "SHA-256";

/// An algorithm in which tools print thumbprints, but by which no client is known.
struct Untaken {
    name: &'static str,
    digits: usize,
}

const UNTAKEN: [Untaken; 3] = [
    Untaken { name: "MD5", digits: 32 },
    Untaken { name: "SHA-384", digits: 96 },
    Untaken { name: "SHA-512", digits: 128 },
];

/// Recognizes other kinds of text in place of hexadecimal digits.
fn other_form(text: &str) -> Option<ThumbprintError> {
    // Lengths of SHA-1, SHA-256, SHA-384 and SHA-512, without the padding.
    const BASE64: [usize; 4] = [27, 43, 64, 86];
    const ENDINGS: [&str; 5] = [".pem", ".crt", ".cer", ".der", ".key"];
    let digits = text.trim_start_matches('/').trim_end_matches('=');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let ends = |ending: &&str| text.to_ascii_lowercase().ends_with(*ending);
    if BASE64.contains(&digits.len()) && digits.bytes().all(is_base64) {
        Some(ThumbprintError::Base64)
    } else if text.contains(['/', '\\']) || ENDINGS.iter().any(ends) {
        Some(ThumbprintError::Path)
    } else {
        None
    }
}

/// Splits off the label: returns the algorithm that it names, if any, and the thumbprint's text.
fn without_label(text: &str) -> (Option<&'static str>, &str) {
    let (mut named, mut rest) = (None, text.trim_start_matches(is_blank));
    let strip = |rest: &str, label: &str| {
        rest.get(..label.len()).filter(|begin| begin.eq_ignore_ascii_case(label)).map(|_| label.len())
    };
    while let Some((length, algorithm)) =
        LABELS.iter().find_map(|(label, algorithm)| Some((strip(rest, label)?, *algorithm)))
    {
        named = named.or(algorithm);
        rest = without_file(rest[length..].trim_start_matches(is_blank));
        rest = rest.strip_prefix([':', '=']).unwrap_or(rest).trim_start_matches(is_blank);
    }
    (named, rest)
}

/// Skips a file name in parentheses, as `openssl dgst` prints it.
fn without_file(text: &str) -> &str {
    let file = text.strip_prefix('(').and_then(|rest| rest.split_once(")="));
    file.map_or(text, |(_, rest)| rest.trim_start_matches(is_blank))
}

/// Parses the digits of `text`, with colons, hyphens or spaces between pairs; `before` is the number of
/// preceding characters.
fn hexadecimal(text: &str, before: usize) -> Result<Vec<u8>, ThumbprintError> {
    let mut digits = Vec::with_capacity(64);
    let mut last = ':';
    for (position, character) in text.chars().enumerate() {
        let is_between_pairs = !digits.is_empty() && digits.len() % 2 == 0;
        let is_separator = match character {
            ':' | '-' => last.is_ascii_hexdigit(),
            blank => is_blank(blank) && !matches!(last, ':' | '-'),
        };
        match character {
            digit if digit.is_ascii_hexdigit() => digits.push(digit as u8),
            _ if is_between_pairs && is_separator => {}
            other => return Err(ThumbprintError::Character(other, before + position + 1)),
        }
        last = character;
    }
    match last {
        ':' | '-' if !text.is_empty() => Err(ThumbprintError::Character(last, before + text.chars().count())),
        _ => Ok(digits),
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self {
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
        };
        write!(f, "{algorithm}:{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "1776821db1002b0e2a9b4ee3d5ee14133d367009";

    #[test]
    fn any_case_and_colons_are_the_same_thumbprint() {
        let plain: Thumbprint = SHA1.parse().unwrap();
        let colons: String = SHA1
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap())
            .collect::<Vec<_>>()
            .join(":");
        assert_eq!(colons.parse::<Thumbprint>().unwrap(), plain);
        assert_eq!(plain.to_string(), SHA1);
        assert!(matches!("ab".repeat(32).parse().unwrap(), Thumbprint::Sha256(_)));
    }

    #[test]
    fn what_tools_print_is_taken() {
        let with = |separator: &str, digits: &str| {
            let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            pairs.collect::<Vec<_>>().join(separator)
        };
        let (upper, sha256) = (SHA1.to_uppercase(), "Ab".repeat(32));
        for (text, digits) in [
            // Our own: `known_servers`, `cert thumbprint`.
            (format!("sha256:{sha256}"), &sha256),
            (format!("  sha256   {sha256}\n"), &sha256),
            (format!("sha1:{SHA1}"), &upper),
            // OpenSSL 3, and 1.1.
            (format!("sha256 Fingerprint={}\n", with(":", &sha256)), &sha256),
            (format!("SHA256 Fingerprint={}", with(":", &sha256)), &sha256),
            (format!("SHA1 Fingerprint={}", with(":", &upper)), &upper),
            // keytool, browsers.
            (format!("SHA2-256(stdin)= {sha256}"), &sha256),
            (format!("SHA256(certs/a.der)= {sha256}\n"), &sha256),
            (format!("SHA1(stdin)= {upper}"), &upper),
            (format!("\t SHA256: {}", with(":", &sha256)), &sha256),
            (format!("SHA-256 Fingerprint {}", with(" ", &sha256)), &sha256),
            // PowerShell's `Format-List` and `Get-FileHash`, certutil, Windows dialogs, .NET's BitConverter.
            (format!("Thumbprint : {upper}"), &upper),
            (format!("Cert Hash(sha1): {}", with(" ", SHA1)), &upper),
            (format!("\u{200e}{}", with(" ", SHA1)), &upper),
            (with("-", &upper), &upper),
            // GnuPG's groups.
            (format!("{}  {}", with(" ", &SHA1[..20]), with(" ", &SHA1[20..])), &upper),
        ] {
            let parsed = text.parse::<Thumbprint>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(parsed.to_string(), digits.to_lowercase(), "{text:?}");
        }
    }

    #[test]
    fn each_wrong_form_says_what_is_wrong() {
        for (text, words) in [
            ("", "it has 0 hexadecimal digits"),
            ("abc", "it has 3 hexadecimal digits"),
            (&SHA1[1..], "it has 39"),
            ("xy", "'x' at position 1"),
            ("a:b", "':' at position 2"),
            (":ab", "':' at position 1"),
            ("ab:", "':' at position 3"),
            ("ab é", "'é' at position 4"),
            ("ab::cd", "':' at position 4"),
            ("ab-:cd", "':' at position 4"),
            ("a b", "' ' at position 2"),
            ("ab -cd", "'-' at position 4"),
            ("sha256:", "it has 0 hexadecimal digits"),
            ("sha256:ab\u{200e}x", "'x' at position 11"),
            ("MD5 Fingerprint=AB", "MD5 is not supported: write the SHA-256 or the SHA-1"),
            (&"ab".repeat(16), "MD5 is not supported"),
            (&format!("SHA2-384(stdin)= {}", "ab".repeat(48)), "SHA-384 is not supported"),
            ("sha384 Fingerprint=AB", "SHA-384 is not supported"),
            ("SHA-512: ab", "SHA-512 is not supported"),
            (&"ab".repeat(64), "SHA-512 is not supported"),
            ("certs/laptop.pem", "this is the path of a file"),
            ("laptop.CRT", "this is the path of a file"),
            ("/etc/lictor/laptop", "this is the path of a file"),
            ("C:\\laptop", "this is the path of a file"),
            ("n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "this is base64"),
            ("SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg", "this is base64"),
            ("sha256//n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "this is base64"),
            (
                &format!("sha256:{SHA1}"),
                "it has 40 hexadecimal digits, which SHA-256, named before them, has not",
            ),
            (&format!("SHA1 Fingerprint={}", "ab".repeat(32)), "it has 64 hexadecimal digits, which SHA-1"),
        ] {
            let error = text.parse::<Thumbprint>().unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn hashes_are_the_standards() {
        assert_eq!(Thumbprint::sha1_of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            Thumbprint::sha256_of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
