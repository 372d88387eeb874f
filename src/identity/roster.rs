//! The admitted clients.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::authorities::{Authorities, Unverified, Verified};
use super::authority::Authority;
use super::certificate::{describe, uris};
use super::peer::{KnownBy, Peer, PeerIdentity};
use super::rejection::Rejection;
use super::revocation::RevocationList;
use super::thumbprint::Thumbprint;
use super::uri::ClientUri;

/// The admitted clients: by pinned certificates, and by URIs that an authority vouches for.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    pins: HashMap<Thumbprint, Pinned>,
    uris: HashMap<ClientUri, Arc<str>>,
    authorities: Option<Authorities>,
}

/// The owner of a pinned certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The client's name.
    pub client: Arc<str>,
    /// End of the certificate's validity, if known before the client connects.
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
    /// Adds clients known by these URIs if one of these authorities vouches for them.
    #[must_use]
    pub fn with_uris(
        mut self,
        authorities: impl IntoIterator<Item = Authority>,
        uris: impl IntoIterator<Item = (ClientUri, Arc<str>)>,
    ) -> Self {
        self.uris = uris.into_iter().collect();
        // Authorities without URIs, or URIs without authorities, admit nobody.
        let mut authorities = authorities.into_iter().peekable();
        let is_wanted = !self.uris.is_empty() && authorities.peek().is_some();
        self.authorities = is_wanted.then(|| Authorities::new(authorities));
        self
    }

    /// Adds revocation lists of the authorities.
    #[must_use]
    pub fn without_revoked(mut self, lists: impl IntoIterator<Item = RevocationList>) -> Self {
        self.authorities = self.authorities.map(|authorities| authorities.with_lists(lists));
        self
    }

    /// Checks that `identity`, once admitted with this `chain`, would still be admitted at `now` as the same
    /// client. Returns its current identity, which may have another credential and another end.
    ///
    /// # Errors
    ///
    /// The reason, in the words of [`authenticate`].
    pub fn check(
        &self,
        identity: &PeerIdentity,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        if let Some(checked) = self.check_without_chain(identity, now) {
            return checked;
        }
        let renewed = authenticate(chain, self, now)?;
        if renewed.name() == identity.name() { Ok(renewed) } else { Err(of_another(identity.peer())) }
    }

    /// [`check`](Self::check) as far as it does not need the chain; `None` if the chain has to be verified
    /// again.
    #[must_use]
    pub fn check_without_chain(
        &self,
        identity: &PeerIdentity,
        now: SystemTime,
    ) -> Option<Result<PeerIdentity, Rejection>> {
        let peer = identity.peer();
        let is_still = |client: &Arc<str>| *client == peer.name;
        let kept = match (self.pin(peer.thumbprint, peer.sha1), &peer.known_by) {
            (Some(pin), _) if !is_still(&pin.client) => return Some(Err(of_another(peer))),
            (Some(_), KnownBy::Pin) => identity.clone(),
            (Some(_), KnownBy::Uri { .. }) => {
                let validity = peer.own_validity;
                Peer { known_by: KnownBy::Pin, rests_on: None, validity, ..peer.clone() }.into()
            }
            (None, KnownBy::Pin) if self.authorities.is_none() => {
                return Some(Err(unknown(peer, NOT_PINNED)));
            }
            (None, KnownBy::Pin) => return None,
            // A client's certificate has only one URI.
            (None, KnownBy::Uri { uri, .. }) if !self.uris.get(uri).is_some_and(is_still) => {
                return Some(Err(unknown(peer, NO_URI)));
            }
            (None, KnownBy::Uri { .. }) => {
                // Signatures verified once stay good; the identity holds the dates.
                let still =
                    |rests_on| self.authorities.as_ref().is_some_and(|all| all.still_verify(rests_on));
                if !peer.rests_on.is_some_and(still) {
                    return None;
                }
                identity.clone()
            }
        };
        Some(kept.check_validity(now).map(|()| kept))
    }

    /// The names of the clients.
    pub fn clients(&self) -> BTreeSet<&str> {
        self.pins.values().map(|pin| &*pin.client).chain(self.uris.values().map(|name| &**name)).collect()
    }

    /// The certificates pinned for `client` whose end is known.
    pub fn ends_of(&self, client: &str) -> impl Iterator<Item = (Thumbprint, SystemTime)> {
        let pins = self.pins.iter().filter(move |(_, pin)| &*pin.client == client);
        pins.filter_map(|(thumbprint, pin)| Some((*thumbprint, pin.ends?)))
    }

    /// The client for which a certificate with one of these hashes is pinned.
    #[must_use]
    pub fn pinned_for(&self, sha256: Thumbprint, sha1: Thumbprint) -> Option<&str> {
        Some(&*self.pin(sha256, sha1)?.client)
    }

    fn pin(&self, sha256: Thumbprint, sha1: Thumbprint) -> Option<&Pinned> {
        self.pins.get(&sha256).or_else(|| self.pins.get(&sha1))
    }

    /// Returns the client that owns the first certificate of `chain` by a URI, with the verdict on the chain.
    fn vouched_for(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(&Arc<str>, ClientUri, Verified), Unverified> {
        let unknown = |words: &str| Unverified::Unknown(words.to_owned());
        let authorities = self.authorities.as_ref().ok_or_else(|| unknown(NOT_PINNED))?;
        let uris = chain.first().and_then(|certificate| uris(certificate));
        let uris = uris.ok_or_else(|| unknown("it is not pinned, and its names cannot be read"))?;
        // Strangers with other URIs cost no signature check.
        let known = uris.iter().find_map(|uri| self.uris.get_key_value(uri.as_str()));
        let (uri, client) = known.ok_or_else(|| unknown(NO_URI))?;
        let verified = authorities.verify(chain, now)?;
        if uris.len() > 1 {
            let words = format!("it has {} URIs, and a client's has exactly one", uris.len());
            return Err(Unverified::Unusable(words));
        }
        Ok((client, uri.clone(), verified))
    }
}

const NOT_PINNED: &str = "it is not pinned";
const NO_URI: &str = "it is not pinned, and no client has a URI of it";

fn of_another(peer: &Peer) -> Rejection {
    unknown(peer, "it is another client's")
}

fn unknown(peer: &Peer, detail: &str) -> Rejection {
    let (name, detail) = (peer.certificate_name.clone(), Some(detail.to_owned()));
    Rejection::Unknown { name, sha1: peer.sha1, thumbprint: peer.thumbprint, detail }
}

/// Admits the holder of the first certificate of `chain`; the handshake has proven possession of the key. A
/// pinned certificate is accepted as it is, whoever signed it; any other needs a client's URI and a chain to
/// an authority.
///
/// Unless [`recognize`] decides, a stranger influences the duration.
///
/// # Errors
///
/// There is no certificate, it is not on the `roster`, or it is not valid at `now`.
pub fn authenticate(
    chain: &[CertificateDer<'_>],
    roster: &Roster,
    now: SystemTime,
) -> Result<PeerIdentity, Rejection> {
    if let Some(decided) = recognize(chain, roster, now) {
        return decided;
    }
    let certificate = chain.first().ok_or(Rejection::NoCertificate)?;
    let (sha1, thumbprint) = hashes(certificate);
    let (certificate_name, own_validity) = describe(certificate);
    let unusable = |name, reason| Err(Rejection::Unusable { name, sha1, thumbprint, reason });
    match (roster.vouched_for(chain, now), own_validity) {
        (Ok((client, uri, Verified { validity, authority, rests_on })), Some(own_validity)) => {
            let (name, known_by) = (Arc::clone(client), KnownBy::Uri { uri, authority });
            let rests_on = Some(rests_on);
            Ok(Peer { name, thumbprint, sha1, certificate_name, own_validity, validity, known_by, rests_on }
                .into())
        }
        (Ok(_), None) => unusable(certificate_name, UNREADABLE.to_owned()),
        (Err(Unverified::Unusable(reason)), _) => unusable(certificate_name, reason),
        (Err(Unverified::Unknown(detail)), _) => {
            let detail = Some(detail);
            Err(Rejection::Unknown { name: certificate_name, sha1, thumbprint, detail })
        }
    }
}

/// [`authenticate`] as far as pins decide, which is cheap; `None` if the chain has to be verified.
pub fn recognize(
    chain: &[CertificateDer<'_>],
    roster: &Roster,
    now: SystemTime,
) -> Option<Result<PeerIdentity, Rejection>> {
    let Some(certificate) = chain.first() else { return Some(Err(Rejection::NoCertificate)) };
    let (sha1, thumbprint) = hashes(certificate);
    let name = Arc::clone(&roster.pin(thumbprint, sha1)?.client);
    let (certificate_name, validity) = describe(certificate);
    let checked = validity.ok_or_else(|| UNREADABLE.to_owned());
    let checked = checked.and_then(|validity| validity.fault_at(now).map_or(Ok(validity), Err));
    Some(match checked {
        Ok(validity) => {
            let (own_validity, known_by, rests_on) = (validity, KnownBy::Pin, None);
            Ok(Peer { name, thumbprint, sha1, certificate_name, own_validity, validity, known_by, rests_on }
                .into())
        }
        Err(reason) => Err(Rejection::Unusable { name: certificate_name, sha1, thumbprint, reason }),
    })
}

const UNREADABLE: &str = "it is not a valid X.509 certificate";

fn hashes(certificate: &[u8]) -> (Thumbprint, Thumbprint) {
    (Thumbprint::sha1_of(certificate), Thumbprint::sha256_of(certificate))
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
