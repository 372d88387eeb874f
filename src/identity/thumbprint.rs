//! Hashes of certificates, the names by which clients are known.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash of a certificate's DER bytes.
///
/// Parsed from 40 (SHA-1) or 64 (SHA-256) hexadecimal digits of any case, with or without colons between the
/// pairs; shown as lower-case hexadecimal without colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thumbprint {
    /// SHA-1. To pass for a pinned certificate one would need a second preimage, which SHA-1 still resists; new
    /// pins are better made with SHA-256.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// A text that is no thumbprint; says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThumbprintError {
    /// A character that is neither a hexadecimal digit nor a colon between two pairs.
    #[error("{0:?} at position {1} is neither a hexadecimal digit nor a colon between two pairs of them")]
    Character(char, usize),
    /// Neither 40 nor 64 digits.
    #[error("it has {0} hexadecimal digits; a SHA-1 thumbprint has 40, a SHA-256 thumbprint 64")]
    Length(usize),
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
        let mut digits = Vec::with_capacity(64);
        let mut colon_allowed = false;
        for (position, character) in text.chars().enumerate() {
            match character {
                ':' if colon_allowed => colon_allowed = false,
                c if c.is_ascii_hexdigit() => {
                    digits.push(c as u8);
                    colon_allowed = digits.len() % 2 == 0;
                }
                c => return Err(ThumbprintError::Character(c, position + 1)),
            }
        }
        if text.ends_with(':') {
            return Err(ThumbprintError::Character(':', text.chars().count()));
        }
        let length = ThumbprintError::Length(digits.len());
        let bytes = base16ct::mixed::decode_vec(&digits).map_err(|_| length.clone())?;
        match bytes.len() {
            20 => Ok(Self::Sha1(bytes.try_into().map_err(|_| length)?)),
            32 => Ok(Self::Sha256(bytes.try_into().map_err(|_| length)?)),
            _ => Err(length),
        }
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
    fn each_wrong_form_says_what_is_wrong() {
        for (text, words) in [
            ("", "it has 0 hexadecimal digits"),
            ("abc", "it has 3 hexadecimal digits"),
            (&SHA1[1..], "it has 39"),
            ("xy", "'x' at position 1"),
            ("a:b", "':' at position 2"),
            ("ab::cd", "':' at position 4"),
            (":ab", "':' at position 1"),
            ("ab:", "':' at position 3"),
            ("ab é", "' ' at position 3"),
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
