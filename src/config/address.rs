//! Listen addresses, and advice for the many texts that are nearly one.
//!
//! Knows the forms of addresses. Other modules check whether an address can be bound, and which conflict.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::values::PathText;
use crate::text::InvalidText;

/// A listener that an address may be for: the port advised where the text has no usable one, and words for
/// what is no IP address.
struct Listener {
    port: u16,
    /// Said of a socket without an IP address.
    only_tcp: &'static str,
    /// Said of a URL.
    no_scheme: &'static str,
}

const OF_CLIENTS: Listener = Listener {
    port: 4888,
    only_tcp: "clients connect over TCP with TLS; other sockets can't be listened on",
    no_scheme: "a listen address has no scheme: the server speaks one protocol, over TLS",
};
const OF_ADMIN: Listener = Listener {
    port: 4889,
    only_tcp: "a socket is written as `unix:` and its path",
    no_scheme: "a listen address has no scheme: this listener speaks HTTP without TLS",
};
const OF_ADMIN_TLS: Listener = Listener {
    port: 4889,
    only_tcp: "this is for TCP with TLS; a socket goes into `listen`",
    no_scheme: "a listen address has no scheme: this listener speaks HTTP over TLS",
};
const OF_HEALTH: Listener = Listener {
    port: 4890,
    only_tcp: "this is for TCP; a socket goes into `listen`",
    no_scheme: "a listen address has no scheme: this listener speaks HTTP without TLS",
};

/// An address of `[server]` with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub(super) SocketAddr);

/// An address of `admin.tls_listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TlsListen(pub(super) SocketAddr);

/// An address of `admin.health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HealthListen(pub(super) SocketAddr);

/// An entry of `admin.listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AdminListen {
    /// A Unix socket.
    Socket(PathText),
    /// A loopback address.
    Loopback(SocketAddr),
}

impl Listen {
    /// Returns the address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<String> for Listen {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        address(&text, &OF_CLIENTS).map(Self)
    }
}

impl TryFrom<String> for TlsListen {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        address(&text, &OF_ADMIN_TLS).map(Self)
    }
}

impl TryFrom<String> for HealthListen {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        address(&text, &OF_HEALTH).map(Self)
    }
}

impl TryFrom<String> for AdminListen {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(path).map(Self::Socket);
        }
        if text.ends_with(".sock") || (text.contains('/') && !text.contains("://")) {
            return Err(refused(OF_ADMIN.only_tcp, SOCKET.to_owned()));
        }
        let address = address(&text, &OF_ADMIN)?;
        if !address.ip().is_loopback() {
            let what = "other machines reach this address, and metrics would be shown to anybody there";
            let advice = "write it into `tls_listen`, for clients with their certificates, or into `health`, which shows \
                          /livez and /readyz alone; or write a loopback address or a socket";
            return Err(refused(what, advice.to_owned()));
        }
        Ok(Self::Loopback(address))
    }
}

/// Advice for a text that is meant to be a socket.
const SOCKET: &str = "write its path behind `unix:`, such as \"unix:run/admin.sock\"";

/// Returns the path of a Unix socket.
fn socket(path: &str) -> Result<PathText, InvalidText> {
    let what = match path {
        "" => "a socket needs its path",
        _ if path.starts_with('@') => "any user can connect to an abstract socket: it has no mode",
        _ if path.starts_with("//") => "the path of a socket stands right behind `unix:`, without `//`",
        _ if path.ends_with('/') => "this is a folder",
        _ => return PathText::try_from(path.to_owned()),
    };
    Err(refused(what, SOCKET.to_owned()))
}

/// Parses an address that `listener` may listen on.
fn address(text: &str, listener: &Listener) -> Result<SocketAddr, InvalidText> {
    match text.parse() {
        Ok(address) => reachable(address),
        Err(_) => Err(invalid(text, listener)),
    }
}

fn refused(what: &str, advice: String) -> InvalidText {
    InvalidText::new(what).advise(advice)
}

fn write(ip: IpAddr, port: u16) -> String {
    format!("write \"{}\"", SocketAddr::new(ip, port))
}

/// Returns `address`, unless no client could ever connect to it.
fn reachable(address: SocketAddr) -> Result<SocketAddr, InvalidText> {
    let is_link_local = |ip: &Ipv6Addr| ip.segments()[0] & 0xffc0 == 0xfe80;
    let port = address.port();
    if address.ip().is_multicast() || address.ip() == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        let what = "this is an address of many machines, to which nobody can connect";
        return Err(refused(what, "write one of this machine's own: `ip address` shows them".to_owned()));
    }
    let SocketAddr::V6(v6) = address else { return Ok(address) };
    if let ip @ IpAddr::V4(_) = v6.ip().to_canonical() {
        return Err(refused("this is an IPv4 address, written as an IPv6 one", write(ip, port)));
    }
    if is_link_local(v6.ip()) && v6.scope_id() == 0 {
        let what = "an address that begins with fe80 is another one on each interface";
        return Err(refused(what, with_interface(*v6.ip(), port)));
    }
    Ok(address)
}

fn with_interface(ip: Ipv6Addr, port: u16) -> String {
    format!("add the interface's number, such as \"[{ip}%2]:{port}\": `ip link` shows it")
}

/// Explains why a text is not an address and port, guided by the form it resembles most.
fn invalid(text: &str, listener: &Listener) -> InvalidText {
    let default = listener.port;
    if ["unix:", "/", "./", "@", "vsock:", "fd:"].iter().any(|start| text.starts_with(start)) {
        return refused(
            listener.only_tcp,
            format!("write \"127.0.0.1:{default}\", which only this machine reaches"),
        );
    }
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        let what = listener.no_scheme;
        return match address(rest, listener) {
            Ok(address) => refused(what, format!("write \"{address}\"")),
            Err(InvalidText { advice, .. }) => InvalidText { advice, ..InvalidText::new(what) },
        };
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let (host, number) = (host.trim_matches(['[', ']']), port.parse::<u16>());
    if let (Ok(IpAddr::V6(ip)), Ok(port)) = (host.parse(), &number) {
        return refused(
            "an IPv6 address is written in brackets, followed by its port",
            write(ip.into(), *port),
        );
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return refused("a listen address needs its port", write(ip, default));
    }
    if let (Ok(ip), Err(_)) = (host.parse::<IpAddr>(), &number) {
        return refused("a port is a number from 0 to 65535", write(ip, default));
    }
    let port = number.unwrap_or(default);
    let before_zone = text.trim_start_matches('[').split_once('%').map(|(ip, _)| ip);
    if let Some(ip) = before_zone.and_then(|ip| ip.parse::<Ipv6Addr>().ok()) {
        return refused("an interface is written as its number", with_interface(ip, port));
    }
    if matches!(host, "" | "*") {
        let what = "a listen address needs the IP address to listen on";
        let advice = format!(
            "write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 one, or both"
        );
        return refused(what, advice);
    }
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let what =
        if is_name { "a host name can't be listened on" } else { "this is not an address to listen on" };
    refused(
        what,
        format!("write the IP address and the port, such as \"127.0.0.1:{port}\" or \"[::1]:{port}\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_have_an_ip_and_a_port() {
        for text in ["127.0.0.1:4888", "[::1]:4888", "0.0.0.0:0", "[::]:4888", "[fe80::1%2]:4888"] {
            assert!(Listen::try_from(text.to_owned()).is_ok(), "{text}");
        }
    }

    #[test]
    fn admin_listens_on_sockets_and_loopback_addresses() {
        for text in ["unix:a", "unix:/run/a b.sock", "unix:../x", "127.9.9.9:1", "[::1]:0"] {
            assert!(AdminListen::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "[::2]:1", "192.0.2.1:1", "unix:", "UNIX:a", "unix", "unix:a/"] {
            assert!(AdminListen::try_from(text.to_owned()).is_err(), "{text}");
        }
        let what = |text: &str| TlsListen::try_from(text.to_owned()).unwrap_err().what;
        assert!(what("unix:a").contains("goes into `listen`"), "{}", what("unix:a"));
    }

    #[test]
    fn what_is_nearly_one_is_told_what_to_write() {
        for (text, what, advice) in [
            ("127.0.0.1", "needs its port", "\"127.0.0.1:4888\""),
            ("::1", "needs its port", "\"[::1]:4888\""),
            ("[::1]", "needs its port", "\"[::1]:4888\""),
            ("::1:99", "in brackets", "\"[::1]:99\""),
            ("2001:db8::5:99", "in brackets", "\"[2001:db8::5]:99\""),
            ("127.0.0.1:70000", "from 0 to 65535", "\"127.0.0.1:4888\""),
            ("127.0.0.1:http", "from 0 to 65535", "\"127.0.0.1:4888\""),
            ("[::1]:70000", "from 0 to 65535", "\"[::1]:4888\""),
            (":4888", "needs the IP address", "\"[::]:4888\" for every IPv6 one"),
            ("*:99", "needs the IP address", "\"0.0.0.0:99\""),
            ("", "needs the IP address", "\"0.0.0.0:4888\""),
            ("localhost:99", "a host name", "\"127.0.0.1:99\""),
            ("localhost", "a host name", "\"127.0.0.1:4888\""),
            ("[fe80::1%eth0]:99", "as its number", "\"[fe80::1%2]:99\""),
            ("fe80::1%eth0", "as its number", "\"[fe80::1%2]:4888\""),
            ("[fe80::1]:99", "on each interface", "\"[fe80::1%2]:99\""),
            ("[::ffff:192.0.2.1]:99", "an IPv4 address", "\"192.0.2.1:99\""),
            ("224.0.0.1:99", "many machines", "`ip address`"),
            ("255.255.255.255:99", "many machines", "`ip address`"),
            ("[ff02::1%2]:99", "many machines", "`ip address`"),
            ("unix:/run/x.sock", "over TCP with TLS", "\"127.0.0.1:4888\""),
            ("/run/x.sock", "over TCP with TLS", "\"127.0.0.1:4888\""),
            ("tcp://127.0.0.1:99", "no scheme", "write \"127.0.0.1:99\""),
            ("https://[::1]:99/", "no scheme", "write \"[::1]:99\""),
            ("tls://localhost:99", "no scheme", "\"127.0.0.1:99\""),
            ("10.0.0.0/8:99", "not an address", "\"127.0.0.1:99\""),
        ] {
            let invalid = Listen::try_from(text.to_owned()).unwrap_err();
            assert!(invalid.what.contains(what), "{text}: {invalid:?}");
            assert!(invalid.advice.as_ref().is_some_and(|a| a.contains(advice)), "{text}: {invalid:?}");
        }
    }
}
