//! URLs that a plugin may send requests to. Opens and looks up nothing; notes the use of a grant.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::plugin::host::ungranted::Ungranted;
use crate::usage::Observed;

/// The scheme of a request's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The host part of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Has to be looked up. In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Parses a name, or an address, in brackets if it is one of IPv6. Refuses ambiguous texts.
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// The form used in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The destination of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Origin {
    /// Parses the part of a URL between its scheme and its path. Refuses a user or a password in it.
    pub(super) fn parse(scheme: Scheme, authority: &str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, parse_port(digits)?),
            _ => (authority, scheme.port()),
        };
        Some(Self { scheme, host: Host::parse(host)?, port })
    }

    /// The value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        match self.port == self.scheme.port() {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The beginning of a URL.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_plain && *port > 0)
}

/// A granted URL, including all paths below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    origin: Origin,
    path: String,
    networks: Vec<IpNet>,
}

impl Allowed {
    /// Parses a URL in the config file's form, whose name may lead to `networks`; other forms grant nothing.
    pub(super) fn parse(url: &str, networks: &[IpNet]) -> Option<Self> {
        let (scheme, rest) = match url.split_once("://")? {
            ("http", rest) => (Scheme::Http, rest),
            ("https", rest) => (Scheme::Https, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let (path, networks) = (path.to_owned(), networks.to_vec());
        Some(Self { origin: Origin::parse(scheme, authority)?, path, networks })
    }

    /// `/v1` covers itself and the paths below it, but not `/v10`; `/v1/` covers the paths below it.
    fn holds_path(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.path.as_str()) else { return false };
        rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
    }
}

/// The reason for not sending a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// No granted URL has this scheme, host, port and path.
    NotGranted,
    /// The host and the path's beginning are granted, but a server might read the path as another.
    AmbiguousPath,
    /// The method is `CONNECT`.
    Tunnel,
    /// The plugin is not handling a request.
    NoCall,
}

impl Denial {
    /// The reason in words for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotGranted => "no URL in `http` holds it",
            Self::AmbiguousPath => "its path may lead out of the one in `http`",
            Self::Tunnel => "`CONNECT` is never sent",
            Self::NoCall => "it came while no command was run",
        }
    }

    /// Advice for the operator or author; `url` is the URL that would have to be granted to `plugin`.
    pub(super) fn advice(self, url: &str, plugin: &str) -> String {
        let words = match self {
            Self::NotGranted => return ungranted(url).advice(plugin),
            Self::AmbiguousPath => {
                "have it send a path without `.`, `..`, `\\` and escapes of these, or grant the host without a path"
            }
            Self::Tunnel => "the bound is fixed: have it send the request itself",
            Self::NoCall => "have it send requests in `handle` alone",
        };
        words.to_owned()
    }
}

fn ungranted(url: &str) -> Ungranted<'_> {
    Ungranted { kind: "the URL", name: url, key: "http", verb: "", option: Some("--http") }
}

/// Returns the non-public networks to which a request for `path` (without a query) at `origin` may lead:
/// those of the members of `allowed` that cover it, and no others. Notes the use of these members.
///
/// # Errors
///
/// If none covers it.
pub(super) fn check(
    allowed: &[Observed<Allowed>],
    origin: &Origin,
    path: &str,
) -> Result<Vec<IpNet>, Denial> {
    let of_path: Vec<&Observed<Allowed>> =
        allowed.iter().filter(|url| url.origin == *origin && url.holds_path(path)).collect();
    let holding: Vec<&&Observed<Allowed>> =
        of_path.iter().filter(|url| url.path == "/" || !is_ambiguous(path)).collect();
    match (of_path.is_empty(), holding.is_empty()) {
        (true, _) => Err(Denial::NotGranted),
        (false, true) => Err(Denial::AmbiguousPath),
        (false, false) => Ok(holding.iter().flat_map(|url| &url.note().networks).copied().collect()),
    }
}

/// Returns true if a server might read `path` differently from its bytes: through `.` and `..`, parameters
/// after them, escapes of separators or of dots, or a backslash. Only checked if the grant covers a part of a
/// host.
fn is_ambiguous(path: &str) -> bool {
    let is_step = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\')
        || path.split('/').any(is_step)
        || path.split('%').skip(1).any(is_ambiguous_escape)
}

/// Returns true if the text after a `%` is not an escape, or is one of a byte with a meaning in a path.
fn is_ambiguous_escape(rest: &str) -> bool {
    let byte = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.is_none_or(|byte| byte.is_ascii_control() || matches!(byte, b'.' | b'/' | b'\\' | b'%' | b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(granted: &str, scheme: Scheme, authority: &str, path: &str) -> Result<(), Denial> {
        let allowed = [Allowed::parse(granted, &[]).unwrap().into()];
        let origin = Origin::parse(scheme, authority).ok_or(Denial::NotGranted)?;
        check(&allowed, &origin, path).map(drop)
    }

    #[test]
    fn scheme_host_and_port_are_those_granted() {
        use Scheme::{Http, Https};
        for (granted, scheme, authority, is_allowed) in [
            ("https://a.example", Https, "a.example", true),
            ("https://a.example", Https, "A.Example", true),
            ("https://A.example", Https, "a.example.", true),
            ("https://a.example", Https, "a.example:443", true),
            ("https://a.example:443", Https, "a.example", true),
            ("http://a.example", Http, "a.example:80", true),
            ("http://a.example:8080", Http, "a.example:8080", true),
            ("http://10.0.0.1", Http, "10.0.0.1", true),
            ("http://[::1]:8080", Http, "[0:0::1]:8080", true),
            ("https://a.example", Http, "a.example", false),
            ("https://a.example", Http, "a.example:443", false),
            ("https://a.example", Https, "a.example:8443", false),
            ("https://a.example", Https, "b.example", false),
            ("https://a.example", Https, "b.a.example", false),
            ("https://a.example", Https, "a.example.b", false),
            ("https://a.example", Https, "xa.example", false),
            ("https://a.example", Https, "u@a.example", false),
            ("https://a.example", Https, "a.example@b.example", false),
            ("https://a.example", Https, "b.example@a.example", false),
            ("https://a.example", Https, "a.example..", false),
            ("https://a.example", Https, "a.example:", false),
            ("https://a.example", Https, "a.example:+443", false),
            ("https://a.example", Https, "a.example:65979", false),
            ("https://a.example", Https, "a.example:443:443", false),
            ("https://a.example", Https, "a.example%00", false),
            ("https://a.example", Https, "", false),
            ("http://127.0.0.1", Http, "127.1", false),
            ("http://127.0.0.1", Http, "0177.0.0.1", false),
            ("http://127.0.0.1", Http, "2130706433", false),
            ("http://127.0.0.1", Http, "[::ffff:127.0.0.1]", false),
            ("http://[::1]", Http, "[::1%25eth0]", false),
            ("http://[::1]", Http, "::1", false),
        ] {
            let found = verdict(granted, scheme, authority, "/").is_ok();
            assert_eq!(found, is_allowed, "{granted} for {scheme:?} {authority}");
        }
    }

    #[test]
    fn a_path_is_held_at_whole_segments() {
        for (granted, path, is_allowed) in [
            ("", "/", true),
            ("", "/anything", true),
            ("/", "/a/../b", true),
            ("/", "//", true),
            ("/v1", "/v1", true),
            ("/v1", "/v1/", true),
            ("/v1", "/v1/x", true),
            ("/v1", "/v1/a%20b;c=d/.hidden/a..b/...", true),
            ("/v1", "/v1/%e2%82%ac", true),
            ("/v1/", "/v1/x", true),
            ("/a%20b", "/a%20b/c", true),
            ("/v1/", "/v1", false),
            ("/v1", "/v10", false),
            ("/v1", "/v", false),
            ("/v1", "/V1", false),
            ("/v1", "/", false),
            ("/v1", "/v2", false),
            ("/v1", "//v1", false),
            ("/v1", "/v1;x", false),
            ("/v1", "/v1%2f", false),
        ] {
            let granted = format!("https://a{granted}");
            let found = verdict(&granted, Scheme::Https, "a", path).is_ok();
            assert_eq!(found, is_allowed, "{granted} for {path}");
        }
    }

    #[test]
    fn no_path_steps_out_of_the_one_granted() {
        for path in [
            "/v1/..",
            "/v1/../admin",
            "/v1/./x",
            "/v1/.",
            "/v1/x/../../admin",
            "/v1/%2e%2e/admin",
            "/v1/%2E./admin",
            "/v1/.%2e",
            "/v1/..%2fadmin",
            "/v1/%2fadmin",
            "/v1/%5c..%5cadmin",
            "/v1/..\\admin",
            "/v1/..;/admin",
            "/v1/..;a=b/admin",
            "/v1/..%3b/admin",
            "/v1/%252e%252e/admin",
            "/v1/%00",
            "/v1/%0d%0a",
            "/v1/%zz",
            "/v1/%",
            "/v1/%2",
            "/v1/é",
            "/v1/a b",
        ] {
            let found = verdict("https://a/v1", Scheme::Https, "a", path);
            assert_eq!(found, Err(Denial::AmbiguousPath), "{path}");
        }
    }

    #[test]
    fn one_of_several_urls_is_enough() {
        let allowed = ["https://a/v1", "https://a/"].map(|url| Allowed::parse(url, &[]).unwrap().into());
        let origin = Origin::parse(Scheme::Https, "a").unwrap();
        assert_eq!(check(&allowed, &origin, "/v1/../x"), Ok(Vec::new()));
        assert_eq!(check(&[], &origin, "/"), Err(Denial::NotGranted));
    }

    #[test]
    fn networks_are_those_of_the_urls_that_hold_the_request() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let allowed = [
            ("https://a", vec![net("10.0.0.0/8")]),
            ("https://a/db", vec![net("192.168.0.0/16")]),
            ("https://b", vec![]),
            ("http://b", vec![net("127.0.0.0/8")]),
            ("https://c/only", vec![net("::1/128")]),
        ]
        .map(|(url, networks)| Allowed::parse(url, &networks).unwrap().into());
        let of = |authority: &str, path: &str| {
            check(&allowed, &Origin::parse(Scheme::Https, authority).unwrap(), path)
        };
        assert_eq!(of("a", "/"), Ok(vec![net("10.0.0.0/8")]));
        assert_eq!(of("a", "/db/x"), Ok(vec![net("10.0.0.0/8"), net("192.168.0.0/16")]));
        assert_eq!(
            of("a", "/db/../x"),
            Ok(vec![net("10.0.0.0/8")]),
            "that path is not the second's for certain"
        );
        assert_eq!(of("b", "/"), Ok(vec![]), "neither another host's nor another scheme's");
        assert_eq!(of("c", "/only/../x"), Err(Denial::AmbiguousPath));
        assert_eq!(of("c", "/"), Err(Denial::NotGranted));
    }

    #[test]
    fn an_origin_is_shown_as_a_url_begins() {
        for (scheme, authority, shown) in [
            (Scheme::Https, "A.b.:443", "https://a.b"),
            (Scheme::Http, "[::1]:8080", "http://[::1]:8080"),
            (Scheme::Http, "10.0.0.1:443", "http://10.0.0.1:443"),
        ] {
            assert_eq!(Origin::parse(scheme, authority).unwrap().to_string(), shown);
        }
    }
}
