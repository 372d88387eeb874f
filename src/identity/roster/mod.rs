//! The admitted clients.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::authorities::{Authorities, RestsOn, Unverified, Verified};
use super::authority::Authority;
use super::certificate::{Validity, describe, uris};
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
    expiries: HashMap<Arc<str>, SystemTime>,
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

    /// Ends the admission of clients, each at its time.
    #[must_use]
    pub fn with_expiries(mut self, expiries: impl IntoIterator<Item = (Arc<str>, SystemTime)>) -> Self {
        self.expiries = expiries.into_iter().collect();
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
        let expires = self.expiry_of(&peer.name);
        let kept = match peer.expires == expires {
            true => kept,
            false => Peer { expires, ..kept.peer().clone() }.into(),
        };
        Some(kept.check_validity(now).map(|()| kept))
    }

    /// The names of the clients.
    pub fn clients(&self) -> BTreeSet<&str> {
        self.pins.values().map(|pin| &*pin.client).chain(self.uris.values().map(|name| &**name)).collect()
    }

    /// The end of the client's admission, if it has one.
    #[must_use]
    pub fn expiry_of(&self, client: &str) -> Option<SystemTime> {
        self.expiries.get(client).copied()
    }

    /// The pinned certificates whose end is known, with their clients, in no order.
    pub fn ends(&self) -> impl Iterator<Item = (&str, Thumbprint, SystemTime)> {
        self.pins.iter().filter_map(|(thumbprint, pin)| Some((&*pin.client, *thumbprint, pin.ends?)))
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
    let shown = Shown::of(certificate, hashes(certificate));
    match roster.vouched_for(chain, now) {
        Ok((client, uri, Verified { validity, authority, rests_on })) => {
            let known_by = KnownBy::Uri { uri, authority };
            shown.admit_as(client, known_by, Some((validity, rests_on)), (roster, now))
        }
        Err(Unverified::Unusable(reason)) => Err(shown.unusable(reason)),
        Err(Unverified::Unknown(detail)) => Err(shown.unknown(detail)),
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
    let client = &roster.pin(thumbprint, sha1)?.client;
    let shown = Shown::of(certificate, (sha1, thumbprint));
    Some(shown.admit_as(client, KnownBy::Pin, None, (roster, now)))
}

/// The certificate that a peer shows.
struct Shown {
    sha1: Thumbprint,
    thumbprint: Thumbprint,
    name: String,
    /// `None` if it cannot be read.
    validity: Option<Validity>,
}

impl Shown {
    fn of(certificate: &[u8], (sha1, thumbprint): (Thumbprint, Thumbprint)) -> Self {
        let (name, validity) = describe(certificate);
        Self { sha1, thumbprint, name, validity }
    }

    /// Admits its holder as `client`, known by a pin, or by a chain that is `verified`.
    fn admit_as(
        self,
        client: &Arc<str>,
        known_by: KnownBy,
        verified: Option<(Validity, RestsOn)>,
        (roster, now): (&Roster, SystemTime),
    ) -> Result<PeerIdentity, Rejection> {
        let Some(own_validity) = self.validity else { return Err(self.unusable(UNREADABLE.to_owned())) };
        let (validity, rests_on) = verified.unzip();
        let identity = PeerIdentity::from(Peer {
            name: Arc::clone(client),
            thumbprint: self.thumbprint,
            sha1: self.sha1,
            certificate_name: self.name,
            own_validity,
            validity: validity.unwrap_or(own_validity),
            expires: roster.expiry_of(client),
            known_by,
            rests_on,
        });
        identity.check_validity(now).map(|()| identity)
    }

    fn unusable(self, reason: String) -> Rejection {
        Rejection::Unusable { name: self.name, sha1: self.sha1, thumbprint: self.thumbprint, reason }
    }

    fn unknown(self, detail: String) -> Rejection {
        let detail = Some(detail);
        Rejection::Unknown { name: self.name, sha1: self.sha1, thumbprint: self.thumbprint, detail }
    }
}

const UNREADABLE: &str = "it is not a valid X.509 certificate";

fn hashes(certificate: &[u8]) -> (Thumbprint, Thumbprint) {
    (Thumbprint::sha1_of(certificate), Thumbprint::sha256_of(certificate))
}

#[cfg(test)]
mod tests;
