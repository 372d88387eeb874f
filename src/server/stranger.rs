//! Explains connections without a handshake: names the protocol that the peer speaks, and says what an
//! operator can do.
//!
//! Looks at bytes and errors; logs nothing and decides nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use rustls::{AlertDescription as Alert, InvalidMessage, PeerIncompatible, PeerMisbehaved};
use tokio::net::TcpStream;

use crate::telemetry::metrics::Handshake;
use crate::text::shown;

/// The first bytes of a connection. They are peeked, so TLS still reads them.
pub(super) struct FirstBytes {
    bytes: [u8; MOST],
    length: usize,
}

/// As many bytes as tell one protocol from another.
const MOST: usize = 32;

/// Characters of the first word, or bytes of anything that is not text, that the log shows. The rest may be a
/// secret.
const MOST_SHOWN: usize = 16;

/// Reason for which there was no handshake, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// The kind of client that connected, or the failure.
    pub(super) what: Cow<'static, str>,
    /// Advice for the operator.
    pub(super) advice: &'static str,
    /// The end of the handshake, for the metrics.
    pub(super) end: Handshake,
}

impl FirstBytes {
    /// Waits for the first bytes; returns `None` if the peer closes, or breaks the connection, before it
    /// sends any.
    pub(super) async fn peek(tcp: &TcpStream) -> Option<Self> {
        let mut bytes = [0; MOST];
        let length = tcp.peek(&mut bytes).await.ok().filter(|length| *length > 0)?;
        Some(Self { bytes, length })
    }

    /// Explains why the handshake that began with these bytes failed with `error`.
    pub(super) fn explain(&self, error: &io::Error) -> Explained {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        let no_tls = no_tls(bytes).map(|no_tls| Explained { end: Handshake::NotTls, ..no_tls });
        let old_tls = || Some(Explained { end: Handshake::OldTls, ..old_tls(bytes)? });
        no_tls.or_else(old_tls).unwrap_or_else(|| Explained { end: end_by(error), ..failed(error) })
    }
}

fn explained(what: impl Into<Cow<'static, str>>, advice: &'static str) -> Explained {
    Explained { what: what.into(), advice, end: Handshake::Other }
}

const OF_ANOTHER: &str =
    "point the client elsewhere; one that nobody knows is a scanner, which a firewall keeps out";

/// Names the protocol, if the bytes are no TLS record.
fn no_tls(bytes: &[u8]) -> Option<Explained> {
    const METHODS: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    if matches!(bytes, [0x16 | 0x15, 3, ..] | [0x16 | 0x15]) {
        return None;
    }
    let word = first_word(bytes);
    let named = match bytes {
        _ if bytes.starts_with(b"PRI * HTTP/2") => {
            explained("a client that speaks HTTP/2 without TLS", NO_HTTP)
        }
        _ if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => {
            explained("a balancer's PROXY header before TLS", NO_PROXY)
        }
        _ if bytes.starts_with(b"SSH-") => explained("a client that speaks SSH", OF_ANOTHER),
        // A CONNECT of TPKT, as remote desktops begin.
        [3, 0, _, _, _, 0xe0, ..] => explained("a client that speaks RDP", OF_ANOTHER),
        // A hello in the form of SSL 2, which some clients that know up to TLS 1.2 send.
        [0x80..=0xff, _, 1, 0 | 2 | 3, ..] => explained("a client that speaks SSL 2", TOO_OLD),
        _ => match word {
            Some(word) if METHODS.contains(&word) => {
                explained(format!("a client that speaks HTTP without TLS: {word}"), NO_HTTP)
            }
            Some(word @ ("EHLO" | "HELO")) => {
                explained(format!("a client that speaks SMTP: {word}"), OF_ANOTHER)
            }
            Some(word) => explained(format!("text without TLS: {}", shown(word, MOST_SHOWN)), TEXT),
            None => explained(format!("bytes that are no TLS: {}", digits(bytes)), OF_ANOTHER),
        },
    };
    Some(named)
}

const NO_HTTP: &str =
    "point the client elsewhere: this port speaks no HTTP. A balancer's check needs no more than to connect";
const NO_PROXY: &str = "switch the header off in the balancer (HAProxy: no `send-proxy`; nginx: `proxy_protocol off`): \
                        it is not read here";
const TOO_OLD: &str = "update the client: TLS 1.2 is the oldest that [server] min_tls_version can let in";
const TEXT: &str = "commands come over TLS: `lictor call`, or `openssl s_client`, speaks it";

/// Returns the text up to the first space or line end, if all of the bytes are text.
fn first_word(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || c.is_ascii_whitespace();
    if !text.chars().all(is_text) {
        return None;
    }
    text.split_ascii_whitespace().next()
}

fn digits(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes.iter().take(MOST_SHOWN) {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Names the version, if the bytes are a hello of a version before TLS 1.2; it follows the heads of the
/// record and the message.
fn old_tls(bytes: &[u8]) -> Option<Explained> {
    let [0x16, 3, _, _, _, 1, _, _, _, 3, version @ 0..=2, ..] = bytes else { return None };
    let name = match version {
        0 => "SSL 3",
        1 => "TLS 1.0",
        _ => "TLS 1.1",
    };
    Some(explained(format!("a client that speaks {name} at most"), TOO_OLD))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Returns the end of a handshake with a peer that speaks TLS.
fn end_by(error: &io::Error) -> Handshake {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(_)) => Handshake::Alert,
        Some(rustls::Error::PeerIncompatible(_)) => Handshake::Incompatible,
        Some(_) => Handshake::Other,
        None => Handshake::Gone,
    }
}

/// Explains a failed handshake with a peer that speaks TLS.
fn failed(error: &io::Error) -> Explained {
    match (tls_error(error), error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => alerted(*alert),
        (Some(rustls::Error::PeerIncompatible(why)), _) => incompatible(why),
        (Some(rustls::Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)), _) => {
            explained(
                "the client sent a server name (SNI) that is no host name",
                "have it send a host name without a port, or none; an IP address is taken as none",
            )
        }
        (Some(rustls::Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)), _) => {
            explained("a message that is larger than TLS allows", OF_ANOTHER)
        }
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            explained("the client ended the connection in the middle of the handshake", ENDED)
        }
        _ => explained(error.to_string(), ODD),
    }
}

const ENDED: &str =
    "its own message says why; a client that does not trust the server's certificate may end so";
const ODD: &str = "a client that is broken, or that attacks; its own message may say more";

/// Explains an alert from the client.
fn alerted(alert: Alert) -> Explained {
    const DISTRUST: &str = "have the client trust the server's certificate: `lictor call` by --pin or --ca, \
                            `openssl s_client` by -CAfile";
    const OWN: &str = "the client's own message says why";
    let (what, advice) = match alert {
        Alert::UnknownCA => ("the client does not trust the server's certificate: unknown_ca", DISTRUST),
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            return explained(
                format!("the client does not take the server's certificate: {alert:?}"),
                DISTRUST,
            );
        }
        Alert::CertificateExpired => (
            "the client says that the server's certificate has expired",
            "replace it; or the client's clock is wrong",
        ),
        Alert::CertificateRevoked => {
            ("the client says that the server's certificate is revoked", "replace it")
        }
        Alert::UnrecognisedName => ("the client knows the server by another name", OWN),
        Alert::ProtocolVersion => {
            ("the client takes none of the versions of TLS that the server has", VERSIONS)
        }
        Alert::CloseNotify | Alert::UserCanceled => ("the client ended the handshake", ENDED),
        other => return explained(format!("the client ended the handshake with the alert {other:?}"), OWN),
    };
    explained(what, advice)
}

const VERSIONS: &str = "update the client; or let it in with `min_tls_version = \"1.2\"` in [server]";

/// Explains what the two sides do not have in common.
fn incompatible(why: &PeerIncompatible) -> Explained {
    use PeerIncompatible as Why;
    const CRYPTO: &str =
        "update the client, or take its bounds on TLS away: a library of TLS 1.3 at its defaults will do";
    match why {
        Why::SupportedVersionsExtensionRequired | Why::Tls12NotOfferedOrEnabled => {
            explained("a client that speaks TLS 1.2 at most", VERSIONS)
        }
        Why::Tls12NotOffered => explained("a client that speaks nothing as new as TLS 1.2", TOO_OLD),
        Why::NoCipherSuitesInCommon => explained("no cipher suite that both client and server have", CRYPTO),
        Why::NoKxGroupsInCommon | Why::KeyShareExtensionRequired | Why::NamedGroupsExtensionRequired => {
            explained("no key exchange that both client and server have", CRYPTO)
        }
        Why::NoSignatureSchemesInCommon => {
            explained("no signature that the client takes and the server's key can make", CRYPTO)
        }
        other => explained(format!("the client lacks what the server needs: {other:?}"), CRYPTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(bytes: &[u8]) -> Explained {
        let mut first = FirstBytes { bytes: [0; MOST], length: bytes.len().min(MOST) };
        first.bytes[..first.length].copy_from_slice(&bytes[..first.length]);
        first.explain(&io::Error::new(io::ErrorKind::InvalidData, "odd"))
    }

    #[test]
    fn what_came_is_named() {
        for (bytes, named) in [
            (&b"GET /healthz?token=secret HTTP/1.1\r\n"[..], "a client that speaks HTTP without TLS: GET"),
            (b"CONNECT a:1 HTTP/1.1\r\n", "a client that speaks HTTP without TLS: CONNECT"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a client that speaks HTTP/2 without TLS"),
            (b"SSH-2.0-Go\r\n", "a client that speaks SSH"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a balancer's PROXY header before TLS"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "a balancer's PROXY header before TLS"),
            (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01", "a client that speaks RDP"),
            (b"\x80\x2e\x01\x03\x01\0\x15", "a client that speaks SSL 2"),
            (b"\x16\x03\0\0\x2d\x01\0\0\x29\x03\0", "a client that speaks SSL 3 at most"),
            (b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x01", "a client that speaks TLS 1.0 at most"),
            (b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x02", "a client that speaks TLS 1.1 at most"),
            (b"EHLO example.org\r\n", "a client that speaks SMTP: EHLO"),
            (b"deploy secret\r\n\r\n", "text without TLS: deploy"),
            (b"\x1b[2J\r\n", "bytes that are no TLS: 1b5b324a0d0a"),
            ("\u{202e}xyz".as_bytes(), "text without TLS: \\u{202e}xyz"),
            ("ä".repeat(20).as_bytes(), "text without TLS: ääääääääääääääää"),
            (b"abcdefghijklmnopqrstuvwxyz", "text without TLS: abcdefghijklmnop…"),
            (b"\r\n\r\n", "bytes that are no TLS: 0d0a0d0a"),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                "bytes that are no TLS: ffffffffffffffffffffffffffffffff",
            ),
            (b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03", "odd"),
            (b"\x16", "odd"),
        ] {
            let explained = explain(bytes);
            assert_eq!(explained.what, named, "{bytes:?}");
            assert!(!explained.advice.is_empty());
        }
    }
}
