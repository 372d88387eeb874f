//! The values of `[telemetry]`: the collector's URL, and the part of the requests that is traced.

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Findings, Shape, refused, wrong_type};
use super::resources::{authority, has_odd_character};
use crate::text::InvalidText;
use crate::units::Ratio;

/// A collector of traces, which takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// The URL as written.
    pub url: String,
    /// True for `https`.
    pub is_tls: bool,
    /// The name or the address, that of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path that traces are sent to.
    pub path: String,
}

/// The URL of a collector.
pub(super) struct CollectorUrl(pub(super) Collector);

/// The port of OTLP over HTTP.
const PORT: u16 = 4318;

/// The port of OTLP over gRPC.
pub(super) const GRPC_PORT: u16 = 4317;

/// The path of traces, below the collector's own.
const TRACES: &str = "/v1/traces";

impl TryFrom<String> for CollectorUrl {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let refuse = |what: &str| {
            let advice = format!(
                "write the scheme, the host, the port and if wanted a path, such as \"http://127.0.0.1:{PORT}\""
            );
            Err(InvalidText::new(what).advise(advice))
        };
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ if text.starts_with("grpc://") || text.starts_with("grpcs://") => {
                return refuse("spans are sent over HTTP, not gRPC");
            }
            _ => return refuse("a collector's URL begins with http:// or https://"),
        };
        if has_odd_character(rest) {
            return refuse("this URL holds a character that none may");
        }
        let (before, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if before.contains('@') {
            return refuse("a collector's URL can't hold a user or a password");
        }
        if path.contains(['?', '#']) {
            return refuse("a collector's URL can't hold a query or a fragment");
        }
        let (host, port) = match authority(before) {
            Ok((host, port)) => (host.to_owned(), port.unwrap_or(if is_tls { 443 } else { 80 })),
            Err(what) => return refuse(what),
        };
        let path = path.trim_end_matches('/');
        let path = if path.ends_with(TRACES) { path.to_owned() } else { format!("{path}{TRACES}") };
        Ok(Self(Collector { url: text, is_tls, host, port, path }))
    }
}

impl Shape for Ratio {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        const WANTED: &str = "a number from 0 to 1";
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
            _ => {
                let fault = wrong_type(at, WANTED, value, findings);
                fault.help("write a number without quotes, such as 0.01 for one in a hundred").done();
                return None;
            }
        };
        let ratio = number.and_then(Self::new);
        if ratio.is_none() {
            let advice = "write 0.01 for one in a hundred, 1 for all, 0 for none";
            let invalid = InvalidText::new("this is no part of a whole").advise(advice);
            refused(at, WANTED, invalid, value.span(), findings);
        }
        ratio
    }

    fn schema() -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_scheme_a_host_and_a_path() {
        for (text, is_tls, host, port, path) in [
            ("http://127.0.0.1:4318", false, "127.0.0.1", 4318, "/v1/traces"),
            ("http://127.0.0.1:4318/", false, "127.0.0.1", 4318, "/v1/traces"),
            ("https://otel.example.org", true, "otel.example.org", 443, "/v1/traces"),
            ("http://collector", false, "collector", 80, "/v1/traces"),
            ("https://a.org/otlp/", true, "a.org", 443, "/otlp/v1/traces"),
            ("https://a.org/otlp/v1/traces", true, "a.org", 443, "/otlp/v1/traces"),
            ("http://[::1]:4318", false, "::1", 4318, "/v1/traces"),
        ] {
            let CollectorUrl(collector) = CollectorUrl::try_from(text.to_owned()).unwrap();
            let (host, path, url) = (host.to_owned(), path.to_owned(), text.to_owned());
            assert_eq!(collector, Collector { url, is_tls, host, port, path });
        }
    }

    #[test]
    fn what_is_no_collector_is_refused() {
        for (text, what) in [
            ("", "begins with"),
            ("127.0.0.1:4318", "begins with"),
            ("grpc://127.0.0.1:4317", "not gRPC"),
            ("unix:/run/otel.sock", "begins with"),
            ("HTTP://a", "begins with"),
            ("http://", "needs a host"),
            ("http://:4318", "needs a host"),
            ("http://user:word@a", "user"),
            ("http://a?token=x", "query"),
            ("http://a/#x", "fragment"),
            ("http://a b", "character"),
            ("http://a/\r\nX: y", "character"),
            ("http://a:0", "port"),
            ("http://a:65536", "port"),
            ("http://a:", "port"),
            ("http://*.a", "one host"),
            ("http://[::g]", "IPv6"),
            ("http://é", "character"),
        ] {
            let invalid = CollectorUrl::try_from(text.to_owned()).err().expect(text);
            assert!(invalid.what.contains(what), "{text}: {}", invalid.what);
        }
    }
}
