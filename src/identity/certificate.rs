//! Names and validity read from a certificate.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::names::{MAX_NAME_CHARS, UNKNOWN, last_name};
use crate::text::shown;

/// Validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
}

impl Validity {
    /// Returns the reason why the certificate cannot be used at `now`, if there is one.
    #[must_use]
    pub fn fault_at(&self, now: SystemTime) -> Option<String> {
        if now < self.not_before {
            Some(format!("it is not valid before {}", Utc(self.not_before)))
        } else if now > self.not_after {
            Some(format!("it expired at {}", Utc(self.not_after)))
        } else {
            None
        }
    }

    /// Returns [`fault_at`](Self::fault_at), or a notice that the certificate expires in less than `soon`.
    #[must_use]
    pub fn notice_at(&self, now: SystemTime, soon: Duration) -> Option<String> {
        self.fault_at(now).or_else(|| {
            let left = self.not_after.duration_since(now).ok().filter(|left| *left < soon)?;
            let left = match left.as_secs() / (24 * 3600) {
                0 => "less than a day".to_owned(),
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            };
            Some(format!("it ends in {left}, at {}", Utc(self.not_after)))
        })
    }

    /// The period in which both are valid.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// The URIs among the subject alternative names, or `None` if the names cannot be read.
pub(super) fn uris(der: &[u8]) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let Some(names) = certificate.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            // Another parser might read an invalid name as a URI.
            GeneralName::Invalid(..) => return None,
            _ => {}
        }
    }
    Some(uris)
}

/// The DNS names and IP addresses among the subject alternative names, escaped.
#[must_use]
pub fn host_names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(shown(name, MAX_NAME_CHARS).to_string()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.filter_map(host).collect()
}

/// The last entry of the subject (mostly the CN), escaped and truncated, and the validity; no validity if the
/// certificate cannot be parsed.
#[must_use]
pub fn describe(der: &[u8]) -> (String, Option<Validity>) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return (UNKNOWN.to_owned(), None) };
    let validity = certificate.validity();
    let validity = Validity {
        not_before: from_unix(validity.not_before.timestamp()),
        not_after: from_unix(validity.not_after.timestamp()),
    };
    (last_name(certificate.subject()), Some(validity))
}

pub(super) fn from_unix(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time as RFC 3339 in UTC, to the second.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::try_from(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => f.write_str("a time that cannot be shown"),
        }
    }
}
