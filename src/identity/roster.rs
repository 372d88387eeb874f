//! Who is admitted.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::certificate::{Validity, describe};
use super::thumbprint::Thumbprint;

/// The certificates that are admitted, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    pins: HashMap<Thumbprint, Arc<str>>,
}

impl FromIterator<(Thumbprint, Arc<str>)> for Roster {
    fn from_iter<I: IntoIterator<Item = (Thumbprint, Arc<str>)>>(pins: I) -> Self {
        Self { pins: pins.into_iter().collect() }
    }
}

impl Roster {
    /// Whether `identity`, which was admitted once, would be again at `now`, as the same client.
    ///
    /// # Errors
    ///
    /// Why not, in the words of [`authenticate`].
    pub fn check(&self, identity: &PeerIdentity, now: SystemTime) -> Result<(), Rejection> {
        let Peer { name, thumbprint, sha1, certificate_name, .. } = &*identity.0;
        let owner = self.pins.get(thumbprint).or_else(|| self.pins.get(sha1));
        if owner.is_none_or(|owner| owner != name) {
            return Err(Rejection::Unknown { name: certificate_name.clone(), thumbprint: *sha1 });
        }
        identity.check_validity(now)
    }

    /// The names of the clients.
    pub fn clients(&self) -> BTreeSet<&str> {
        self.pins.values().map(|name| &**name).collect()
    }
}

/// A client that proved that it holds the key of an admitted certificate. Only [`authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct PeerIdentity(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    name: Arc<str>,
    thumbprint: Thumbprint,
    sha1: Thumbprint,
    certificate_name: String,
    validity: Validity,
}

impl PeerIdentity {
    /// The client's name in the config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The same, to be kept.
    #[must_use]
    pub fn name_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint
    }

    /// The name in its certificate, escaped and cut.
    #[must_use]
    pub fn certificate_name(&self) -> &str {
        &self.0.certificate_name
    }

    /// When its certificate is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Whether its certificate is valid at `now`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the words of [`authenticate`].
    pub fn check_validity(&self, now: SystemTime) -> Result<(), Rejection> {
        let Peer { sha1, certificate_name, validity, .. } = &*self.0;
        validity.fault_at(now).map_or(Ok(()), |reason| {
            Err(Rejection::Unusable { name: certificate_name.clone(), thumbprint: *sha1, reason })
        })
    }
}

/// Why a peer is not admitted. Shown, it is the text that the peer is sent behind `ERR `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The peer sent no certificate.
    NoCertificate,
    /// The certificate is nobody's.
    Unknown {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        thumbprint: Thumbprint,
    },
    /// The certificate is a client's, but not now.
    Unusable {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        thumbprint: Thumbprint,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("No certificate was provided"),
            Self::Unknown { name, thumbprint } => {
                write!(f, "certificate ({name}) thumbprint '{thumbprint}' is unknown")
            }
            Self::Unusable { name, thumbprint, reason } => {
                write!(f, "certificate ({name}) thumbprint '{thumbprint}' cannot be used: {reason}")
            }
        }
    }
}

/// Admits the holder of the first certificate of `chain`, whose possession of the key the handshake has proven.
///
/// # Errors
///
/// When there is no certificate, it is not on the `roster`, or it is not valid at `now`.
pub fn authenticate(
    chain: &[CertificateDer<'_>],
    roster: &Roster,
    now: SystemTime,
) -> Result<PeerIdentity, Rejection> {
    let certificate = chain.first().ok_or(Rejection::NoCertificate)?;
    let sha1 = Thumbprint::sha1_of(certificate);
    let sha256 = Thumbprint::sha256_of(certificate);
    let (name, validity) = describe(certificate);
    let Some(client) = roster.pins.get(&sha256).or_else(|| roster.pins.get(&sha1)) else {
        return Err(Rejection::Unknown { name, thumbprint: sha1 });
    };
    let unusable = |reason| Rejection::Unusable { name: name.clone(), thumbprint: sha1, reason };
    let validity = validity.ok_or_else(|| unusable("it is not a valid X.509 certificate".to_owned()))?;
    if let Some(fault) = validity.fault_at(now) {
        return Err(unusable(fault));
    }
    Ok(PeerIdentity(Arc::new(Peer {
        name: Arc::clone(client),
        thumbprint: sha256,
        sha1,
        certificate_name: name,
        validity,
    })))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(name: &str, years: std::ops::Range<i32>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "an organization");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn roster(thumbprint: Thumbprint) -> Roster {
        [(thumbprint, Arc::from("laptop"))].into_iter().collect()
    }

    fn year(year: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
    }

    #[test]
    fn either_hash_admits() {
        let certificate = certificate("its name", 2020..2040);
        for pin in [Thumbprint::sha1_of(&certificate), Thumbprint::sha256_of(&certificate)] {
            let identity =
                authenticate(std::slice::from_ref(&certificate), &roster(pin), year(2030)).unwrap();
            assert_eq!((identity.name(), identity.certificate_name()), ("laptop", "its name"));
            assert_eq!(identity.thumbprint(), Thumbprint::sha256_of(&certificate));
        }
    }

    #[test]
    fn who_was_admitted_is_checked_anew_against_another_roster_and_time() {
        let certificate = certificate("its name", 2020..2040);
        let (sha1, sha256) = (Thumbprint::sha1_of(&certificate), Thumbprint::sha256_of(&certificate));
        let identity = authenticate(&[certificate], &roster(sha256), year(2030)).unwrap();
        for pin in [sha1, sha256] {
            assert_eq!(roster(pin).check(&identity, year(2030)), Ok(()));
        }
        let words = |roster: &Roster, now| roster.check(&identity, now).unwrap_err().to_string();
        assert!(words(&Roster::default(), year(2030)).ends_with("is unknown"));
        let of_another: Roster = [(sha256, Arc::from("other"))].into_iter().collect();
        assert!(words(&of_another, year(2030)).ends_with("is unknown"), "its name and rights were another's");
        assert!(words(&roster(sha256), year(2041)).ends_with("it expired at 2040-01-01T00:00:00Z"));
    }

    #[test]
    fn only_the_first_certificate_counts() {
        let (shown, pinned) = (certificate("a", 2020..2040), certificate("b", 2020..2040));
        let roster = roster(Thumbprint::sha256_of(&pinned));
        assert!(authenticate(&[shown, pinned], &roster, year(2030)).is_err());
    }

    #[test]
    fn each_refusal_has_the_contracts_words() {
        let certificate = certificate("evil\r\nERR", 2020..2040);
        let sha1 = Thumbprint::sha1_of(&certificate);
        let words = |chain: &[CertificateDer<'_>], roster, now| {
            authenticate(chain, &roster, now).unwrap_err().to_string()
        };
        let chain = [certificate];
        assert_eq!(words(&[], Roster::default(), year(2030)), "No certificate was provided");
        assert_eq!(
            words(&chain, Roster::default(), year(2030)),
            format!("certificate (evil\\r\\nERR) thumbprint '{sha1}' is unknown")
        );
        let unusable = format!("certificate (evil\\r\\nERR) thumbprint '{sha1}' cannot be used: ");
        assert_eq!(
            words(&chain, roster(sha1), year(2019)),
            format!("{unusable}it is not valid before 2020-01-01T00:00:00Z")
        );
        assert_eq!(
            words(&chain, roster(sha1), year(2041)),
            format!("{unusable}it expired at 2040-01-01T00:00:00Z")
        );
    }

    #[test]
    fn what_is_no_certificate_is_never_admitted() {
        let garbage = CertificateDer::from(b"garbage".to_vec());
        let roster = roster(Thumbprint::sha256_of(&garbage));
        let refusal = authenticate(&[garbage], &roster, year(2030)).unwrap_err();
        assert!(matches!(refusal, Rejection::Unusable { ref name, .. } if name == "<Unknown>"), "{refusal}");
    }
}
