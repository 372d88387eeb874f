//! Who is admitted.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::authority::{Authorities, Authority, Unverified, Verified};
use super::certificate::{Validity, describe, uris};
use super::rejection::Rejection;
use super::revocation::RevocationList;
use super::thumbprint::Thumbprint;
use super::uri::ClientUri;

/// Who is admitted: by which certificates, and by which URIs where an authority vouches for them.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    pins: HashMap<Thumbprint, Pinned>,
    uris: HashMap<ClientUri, Arc<str>>,
    authorities: Option<Authorities>,
}

/// Whose a pinned certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The client's name.
    pub client: Arc<str>,
    /// When the certificate ends, where that is known before the client comes.
    pub ends: Option<SystemTime>,
}

impl From<Arc<str>> for Pinned {
    fn from(client: Arc<str>) -> Self {
        Self { client, ends: None }
    }
}

impl<P: Into<Pinned>> FromIterator<(Thumbprint, P)> for Roster {
    fn from_iter<I: IntoIterator<Item = (Thumbprint, P)>>(pins: I) -> Self {
        let pins = pins.into_iter().map(|(thumbprint, pinned)| (thumbprint, pinned.into())).collect();
        Self { pins, ..Self::default() }
    }
}

impl Roster {
    /// The same, and the clients that are known by these URIs if one of these authorities vouches for them.
    #[must_use]
    pub fn with_uris(
        mut self,
        authorities: impl IntoIterator<Item = Authority>,
        uris: impl IntoIterator<Item = (ClientUri, Arc<str>)>,
    ) -> Self {
        self.uris = uris.into_iter().collect();
        // Without authorities nobody's word is taken, and without URIs nobody can be meant.
        let mut authorities = authorities.into_iter().peekable();
        let is_wanted = !self.uris.is_empty() && authorities.peek().is_some();
        self.authorities = is_wanted.then(|| Authorities::new(authorities));
        self
    }

    /// The same, but for what authorities have taken back by these lists.
    #[must_use]
    pub fn without_revoked(mut self, lists: impl IntoIterator<Item = RevocationList>) -> Self {
        self.authorities = self.authorities.map(|authorities| authorities.with_lists(lists));
        self
    }

    /// Whether `identity`, which was admitted once with this `chain`, would be again at `now`, as the same client; and the
    /// identity that it has then, which may be known by something else and until another time.
    ///
    /// # Errors
    ///
    /// Why not, in the words of [`authenticate`].
    pub fn check(
        &self,
        identity: &PeerIdentity,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        let Peer { name, thumbprint, sha1, certificate_name, known_by, authorities, .. } = &*identity.0;
        let pin = self.pin(*thumbprint, *sha1);
        let is_as_before = match known_by {
            KnownBy::Pin => pin.is_some_and(|pin| pin.client == *name),
            // Signatures that were good are so still; their dates are in the identity's.
            KnownBy::Uri { uri, .. } => {
                pin.is_none()
                    && self.uris.get(uri) == Some(name)
                    && *authorities == self.authorities.as_ref().map(Authorities::digest)
            }
        };
        if is_as_before {
            return identity.check_validity(now).map(|()| identity.clone());
        }
        let renewed = authenticate(chain, self, now)?;
        if renewed.name() == &**name {
            return Ok(renewed);
        }
        let detail = Some("it is another client's".to_owned());
        Err(Rejection::Unknown { name: certificate_name.clone(), thumbprint: *sha1, detail })
    }

    /// The names of the clients.
    pub fn clients(&self) -> BTreeSet<&str> {
        self.pins.values().map(|pin| &*pin.client).chain(self.uris.values().map(|name| &**name)).collect()
    }

    /// The certificates that are pinned for `client`, as far as it is known when they end.
    pub fn ends_of(&self, client: &str) -> impl Iterator<Item = (Thumbprint, SystemTime)> {
        let pins = self.pins.iter().filter(move |(_, pin)| &*pin.client == client);
        pins.filter_map(|(thumbprint, pin)| Some((*thumbprint, pin.ends?)))
    }

    fn pin(&self, sha256: Thumbprint, sha1: Thumbprint) -> Option<&Pinned> {
        self.pins.get(&sha256).or_else(|| self.pins.get(&sha1))
    }

    /// Whose the first certificate of `chain` is by a URI, and all that was found out about that.
    fn vouched_for(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(&Arc<str>, ClientUri, Verified), Unverified> {
        let unknown = |words: &str| Unverified::Unknown(words.to_owned());
        let authorities = self.authorities.as_ref().ok_or_else(|| unknown("it is not pinned"))?;
        let uris = chain.first().and_then(|certificate| uris(certificate));
        let uris = uris.ok_or_else(|| unknown("it is not pinned, and its names cannot be read"))?;
        // Strangers with other URIs cost no look at a signature.
        let known = uris.iter().find_map(|uri| self.uris.get_key_value(uri.as_str()));
        let (uri, client) =
            known.ok_or_else(|| unknown("it is not pinned, and no client has a URI of it"))?;
        let verified = authorities.verify(chain, now)?;
        if uris.len() > 1 {
            let words = format!("it has {} URIs, and a client's has exactly one", uris.len());
            return Err(Unverified::Unusable(words));
        }
        Ok((client, uri.clone(), verified))
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
    /// When its certificate is valid.
    own_validity: Validity,
    /// When all that it was known by is valid, the certificate among it.
    validity: Validity,
    known_by: KnownBy,
    /// The [digest](Authorities::digest) of those that vouched for it.
    authorities: Option<Thumbprint>,
}

/// What a client is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// Its certificate, which is pinned.
    Pin,
    /// A URI in its certificate, for which an authority vouches.
    Uri {
        /// The URI.
        uri: ClientUri,
        /// The name in the authority's certificate, escaped and cut.
        authority: Arc<str>,
    },
}

impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin => f.write_str("pin"),
            Self::Uri { uri, authority } => write!(f, "{uri} by {authority}"),
        }
    }
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

    /// What it is known by.
    #[must_use]
    pub fn known_by(&self) -> &KnownBy {
        &self.0.known_by
    }

    /// When its certificate is valid, with all of the chain by which an authority vouches for it.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Whether it is [valid](Self::validity) at `now`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the words of [`authenticate`].
    pub fn check_validity(&self, now: SystemTime) -> Result<(), Rejection> {
        let Peer { sha1, certificate_name, own_validity, validity, .. } = &*self.0;
        let fault = own_validity.fault_at(now);
        let fault =
            fault.or_else(|| Some(format!("of its chain, a certificate: {}", validity.fault_at(now)?)));
        fault.map_or(Ok(()), |reason| {
            Err(Rejection::Unusable { name: certificate_name.clone(), thumbprint: *sha1, reason })
        })
    }
}

/// Admits the holder of the first certificate of `chain`, whose possession of the key the handshake has proven: a certificate
/// that is pinned as it is, whoever signed it; another if it has the URI of a client and the chain leads to an authority.
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
    let thumbprint = Thumbprint::sha256_of(certificate);
    let (certificate_name, own_validity) = describe(certificate);
    let unusable = |reason| Rejection::Unusable { name: certificate_name.clone(), thumbprint: sha1, reason };
    let unreadable = || unusable("it is not a valid X.509 certificate".to_owned());
    let (name, known_by, authorities, validity) = match roster.pin(thumbprint, sha1) {
        Some(Pinned { client, .. }) => {
            let validity = own_validity.ok_or_else(unreadable)?;
            if let Some(fault) = validity.fault_at(now) {
                return Err(unusable(fault));
            }
            (client, KnownBy::Pin, None, validity)
        }
        None => match roster.vouched_for(chain, now) {
            Ok((client, uri, Verified { validity, authority })) => {
                let digest = roster.authorities.as_ref().map(Authorities::digest);
                (client, KnownBy::Uri { uri, authority }, digest, validity)
            }
            Err(Unverified::Unusable(reason)) => return Err(unusable(reason)),
            Err(Unverified::Unknown(detail)) => {
                let detail = Some(detail);
                return Err(Rejection::Unknown { name: certificate_name, thumbprint: sha1, detail });
            }
        },
    };
    let name = Arc::clone(name);
    let own_validity = own_validity.ok_or_else(unreadable)?;
    let peer =
        Peer { name, thumbprint, sha1, certificate_name, own_validity, validity, known_by, authorities };
    Ok(PeerIdentity(Arc::new(peer)))
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
        let chain = [certificate];
        let identity = authenticate(&chain, &roster(sha256), year(2030)).unwrap();
        for pin in [sha1, sha256] {
            assert!(roster(pin).check(&identity, &chain, year(2030)).is_ok());
        }
        let words = |roster: &Roster, now| roster.check(&identity, &chain, now).unwrap_err().to_string();
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
