//! A server's address: host and port. Knows no sockets; names are resolved when a connection is made.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// Default port.
pub const DEFAULT_PORT: u16 = 4888;

/// A server's host name or IP address, and its port. Shown as `host:port` in lower case, which is also the
/// key in the list of known servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    name: ServerName<'static>,
    port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The part before the port is neither a DNS name nor an IP address.
    #[error(
        "{0:?} is neither a host name nor an IP address; write HOST:PORT, with an IPv6 address in brackets"
    )]
    Host(String),
    /// A Unix socket, such as `unix:/run/x.sock`.
    #[error(
        "{0:?} is not a TCP address, and servers listen only on TCP; write HOST:PORT, such as localhost:4888"
    )]
    NoTcp(String),
    /// A URL.
    #[error("{0:?} is a URL; write HOST:PORT alone, without `{scheme}` and anything after the port", scheme = scheme_of(.0))]
    Url(String),
    /// A port without a host.
    #[error("{0:?} has no host; write HOST:PORT, such as localhost:4888")]
    NoHost(String),
    /// An IPv6 address with a zone, such as `fe80::1%eth0`.
    #[error(
        "{0:?} names an interface, which no certificate can; write HOST:PORT with a name or another address of the server"
    )]
    Interface(String),
    /// The part after the colon is no port.
    #[error("{0:?} is not a port; write a number from 1 to 65535")]
    Port(String),
}

impl Address {
    /// The server name requested in the TLS handshake.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// The host in the resolver's form: without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { name: ServerName::IpAddress(address.ip().into()), port: address.port() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        look_alike(text).map_or(Ok(()), Err)?;
        let (host, port) = split(text)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse::<u16>() {
                Ok(number) if number > 0 && !port.starts_with('+') => number,
                _ => return Err(AddressError::Port(port.to_owned())),
            },
        };
        let name = ServerName::try_from(host.to_ascii_lowercase())
            .map_err(|_| AddressError::Host(host.to_owned()))?;
        Ok(Self { name, port })
    }
}

/// Recognizes texts of other forms that may be mistaken for an address.
fn look_alike(text: &str) -> Option<AddressError> {
    let fault = match text {
        _ if text.contains("://") => AddressError::Url,
        _ if ["unix:", "/", "./", "@"].iter().any(|start| text.starts_with(start)) => AddressError::NoTcp,
        _ if text.starts_with(':') && !text.starts_with("::") => AddressError::NoHost,
        _ if text.contains('%') => AddressError::Interface,
        _ => return None,
    };
    Some(fault(text.to_owned()))
}

fn scheme_of(url: &str) -> &str {
    url.find("://").and_then(|at| url.get(..at + 3)).unwrap_or_default()
}

/// Splits the host from the text after its colon. An IPv6 address contains colons, so with a port it must be
/// in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let bad = || AddressError::Host(text.to_owned());
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        host.parse::<Ipv6Addr>().map_err(|_| bad())?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(bad()),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    Ok(text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host();
        if host.contains(':') {
            write!(f, "[{host}]:{}", self.port)
        } else {
            write!(f, "{host}:{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, shown) in [
            ("127.0.0.1:4888", "127.0.0.1:4888"),
            ("127.0.0.1", "127.0.0.1:4888"),
            ("Example.COM:5000", "example.com:5000"),
            ("localhost", "localhost:4888"),
            ("[::1]:99", "[::1]:99"),
            ("[::1]", "[::1]:4888"),
            ("::1", "[::1]:4888"),
            ("2001:DB8::1", "[2001:db8::1]:4888"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Address>().unwrap(), address, "{text}");
        }
        assert!(matches!("::1".parse::<Address>().unwrap().server_name(), ServerName::IpAddress(_)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":4888",
            "a b",
            "host:",
            "host:0",
            "host:70000",
            "host:+5",
            "[::1",
            "[::1]x",
            "[name]:1",
            "a:b:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_looks_like_an_address_is_told_what_it_is() {
        for (text, words) in [
            ("unix:/run/x.sock", "not a TCP address"),
            ("/run/x.sock", "not a TCP address"),
            ("@x", "not a TCP address"),
            ("tcp://localhost:4888", "without `tcp://`"),
            ("https://example.org/", "without `https://`"),
            (":4888", "has no host"),
            ("[fe80::1%eth0]:4888", "names an interface"),
            ("host:70000", "a number from 1 to 65535"),
            ("", "neither a host name nor an IP address"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("write"), "{text}: {error}");
        }
    }

    #[test]
    fn a_socket_address_is_an_address() {
        let socket: SocketAddr = "[::1]:7".parse().unwrap();
        assert_eq!(Address::from(socket).to_string(), "[::1]:7");
    }
}
