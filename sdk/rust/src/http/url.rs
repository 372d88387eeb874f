//! The parts of a URL from which a request is made. The host judges if they are well-formed.

/// `scheme://authority path`; the path includes the query and excludes the fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) is_https: bool,
    pub(super) authority: &'a str,
    /// Begins with `/`, or with `?` if the URL has a query and no path, or is empty.
    pub(super) path: &'a str,
}

impl<'a> Url<'a> {
    /// Splits the text into its parts, or says what is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("it has a space or a control character");
        }
        let (scheme, rest) = text.split_once("://").ok_or("it does not begin with http:// or https://")?;
        let is_https = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err("it does not begin with http:// or https://"),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        match authority {
            "" => Err("it names no host"),
            // Nobody would read it there, and it would end up in logs.
            _ if authority.contains('@') => Err("it has a user's name; use a header"),
            _ => Ok(Self { is_https, authority, path }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_three_parts() {
        let parts = |text| Url::parse(text).map(|url| (url.is_https, url.authority, url.path));
        assert_eq!(parts("http://a"), Ok((false, "a", "")));
        assert_eq!(parts("HTTPS://a:8443/b/c?d=e/f#g"), Ok((true, "a:8443", "/b/c?d=e/f")));
        assert_eq!(parts("http://[::1]:80/"), Ok((false, "[::1]:80", "/")));
        assert_eq!(parts("http://a?b"), Ok((false, "a", "?b")));
        for wrong in
            ["", "a/b", "ftp://a", "http://", "http:///b", "http://u:p@a/", "http://a/ b", "http://a/\n"]
        {
            assert!(parts(wrong).is_err(), "{wrong:?}");
        }
    }
}
