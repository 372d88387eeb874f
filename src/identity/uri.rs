//! URIs by which authorities' clients are known, above all SPIFFE IDs.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum bytes of a URI: the length that the SPIFFE specification requires every implementation to accept.
const MAX_BYTES: usize = 2048;

/// Maximum bytes of a trust domain, by the specification.
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

const SPIFFE: &str = "spiffe";

/// A URI that stands for one client. Compared byte by byte: no normalization and no patterns.
///
/// With the scheme `spiffe`, a SPIFFE ID with a path, as a workload's certificate has it. Other valid URIs
/// are taken as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientUri(Arc<str>);

/// A text that cannot stand for a client, with the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Too long.
    #[error("it has more than {MAX_BYTES} bytes")]
    Length,
    /// No scheme, or nothing after it.
    #[error("it is not a URI, which begins with a scheme and a colon")]
    Scheme,
    /// A character that URIs do not have.
    #[error("{0:?} can't stand in a URI")]
    Character(char),
    /// A wildcard.
    #[error("patterns are not supported: write the whole URI")]
    Pattern,
    /// The scheme `spiffe` in another case.
    #[error("the scheme of a SPIFFE ID is written in lower case")]
    SchemeCase,
    /// A trust domain that is empty, too long, or has a forbidden character.
    #[error(
        "the trust domain of a SPIFFE ID has 1 to {MAX_TRUST_DOMAIN_BYTES} of a-z, 0-9, `.`, `-` and `_`, and neither \
         user nor port"
    )]
    TrustDomain,
    /// No path.
    #[error("it names a whole trust domain; the SPIFFE ID of a client has a path")]
    NoPath,
    /// A path that is invalid in a SPIFFE ID.
    #[error(
        "the path of a SPIFFE ID is made of segments of a-z, A-Z, 0-9, `.`, `-` and `_`, none of them empty, `.` or `..`; \
         neither a query nor a fragment follows it"
    )]
    Path,
}

impl ClientUri {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_BYTES {
            return Err(UriError::Length);
        }
        if let Some(character) = text.chars().find(|character| !may_stand_in_a_uri(*character)) {
            return Err(if character == '*' { UriError::Pattern } else { UriError::Character(character) });
        }
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_letter)
            || rest.is_empty()
        {
            return Err(UriError::Scheme);
        }
        match scheme {
            SPIFFE => check_spiffe(rest)?,
            scheme if scheme.eq_ignore_ascii_case(SPIFFE) => return Err(UriError::SchemeCase),
            _ => {}
        }
        Ok(Self(text.into()))
    }
}

/// Checks everything after the scheme by the SPIFFE ID specification.
fn check_spiffe(rest: &str) -> Result<(), UriError> {
    let rest = rest.strip_prefix("//").ok_or(UriError::TrustDomain)?;
    let (domain, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_of_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if !(1..=MAX_TRUST_DOMAIN_BYTES).contains(&domain.len()) || !domain.bytes().all(is_of_domain) {
        return Err(UriError::TrustDomain);
    }
    if matches!(path, "" | "/") {
        return Err(UriError::NoPath);
    }
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_of_path);
    let segments = path.strip_prefix('/').ok_or(UriError::Path)?;
    if segments.split('/').all(is_segment) { Ok(()) } else { Err(UriError::Path) }
}

/// Characters of RFC 3986, except `*`, which is meant as a pattern.
fn may_stand_in_a_uri(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()+,;=%".contains(character)
}

impl fmt::Display for ClientUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ClientUri {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_client() {
        let longest = format!("spiffe://example.org/{}", "a".repeat(MAX_BYTES - 21));
        for text in [
            "spiffe://example.org/laptop",
            "spiffe://example.org/ns/default/sa/Web-1_x.y",
            "spiffe://1-a.b_c/...",
            "https://example.org/clients/7?x=%20#y",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            &longest,
        ] {
            assert_eq!(text.parse::<ClientUri>().map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn each_text_that_does_not_says_why() {
        let too_long = format!("spiffe://example.org/{}", "a".repeat(MAX_BYTES - 20));
        let long_domain = format!("spiffe://{}/a", "a".repeat(256));
        for (text, error) in [
            ("", UriError::Scheme),
            ("laptop", UriError::Scheme),
            ("//example.org/laptop", UriError::Scheme),
            ("1a:b", UriError::Scheme),
            ("urn:", UriError::Scheme),
            ("spiffe://example.org/*", UriError::Pattern),
            ("spiffe://example.org/a b", UriError::Character(' ')),
            ("https://example.org/é", UriError::Character('é')),
            ("https://example.org/\u{202e}", UriError::Character('\u{202e}')),
            ("urn:a\r\nb", UriError::Character('\r')),
            ("SPIFFE://example.org/a", UriError::SchemeCase),
            ("spiffe:example.org/a", UriError::TrustDomain),
            ("spiffe:///a", UriError::TrustDomain),
            ("spiffe://Example.org/a", UriError::TrustDomain),
            ("spiffe://me@example.org/a", UriError::TrustDomain),
            ("spiffe://example.org:8443/a", UriError::TrustDomain),
            ("spiffe://example%2eorg/a", UriError::TrustDomain),
            ("spiffe://example.org", UriError::NoPath),
            ("spiffe://example.org/", UriError::NoPath),
            ("spiffe://example.org//a", UriError::Path),
            ("spiffe://example.org/a/", UriError::Path),
            ("spiffe://example.org/a/../b", UriError::Path),
            ("spiffe://example.org/./b", UriError::Path),
            ("spiffe://example.org/a%2fb", UriError::Path),
            ("spiffe://example.org/a?b", UriError::Path),
            ("spiffe://example.org/a#b", UriError::Path),
            ("spiffe://example.org?b", UriError::Path),
            (&too_long, UriError::Length),
            (&long_domain, UriError::TrustDomain),
        ] {
            assert_eq!(text.parse::<ClientUri>(), Err(error), "{text}");
        }
    }
}
