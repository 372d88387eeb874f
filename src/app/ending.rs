//! Certificates that the config names and that end soon, or have ended; revocation lists that are out of date.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::identity::RevocationList;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Long enough to replace a certificate in working hours.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate that ends soon.
pub(super) struct Ending {
    /// Whose it is, and what it is known by.
    whose: String,
    /// What is left; `None` if it has ended.
    left: Option<Duration>,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left.map(|left| left.as_secs() / DAY.as_secs()) {
            None => write!(f, "the certificate {} has ended", self.whose),
            Some(0) => write!(f, "the certificate {} ends in less than a day", self.whose),
            Some(1) => write!(f, "the certificate {} ends in 1 day", self.whose),
            Some(days) => write!(f, "the certificate {} ends in {days} days", self.whose),
        }
    }
}

/// The clients' certificates that are pinned by file, and the authorities, which have ended at `now` or will soon.
pub(super) fn ending(config: &Config, now: SystemTime) -> Vec<Ending> {
    let pins = config.clients.iter().flat_map(|(name, client)| {
        let pins = client.thumbprints.iter().filter_map(|pin| Some((pin.thumbprint, pin.ends?)));
        pins.map(move |(thumbprint, ends)| {
            (format!("{:.8}… of the client {name}", thumbprint.to_string()), ends)
        })
    });
    let files = config.identity.authorities.iter();
    let authorities = files
        .flat_map(|file| &file.authorities)
        .map(|authority| (format!("of the authority {}", authority.name()), authority.validity().not_after));
    let left = |(whose, ends): (String, SystemTime)| Ending { whose, left: ends.duration_since(now).ok() };
    let all = pins.chain(authorities).map(left);
    all.filter(|ending| ending.left.is_none_or(|left| left < SOON)).collect()
}

/// The authorities whose revocation list should have been followed by another one before `now`.
pub(super) fn outdated(config: &Config, now: SystemTime) -> Vec<&str> {
    let lists = config.identity.revocation_lists.iter().flat_map(|file| &file.lists);
    let outdated = lists.filter(|list| list.next().is_some_and(|next| next < now));
    outdated.map(RevocationList::issuer).collect()
}

/// Tells the log of them.
pub(super) fn warn(config: &Config, now: SystemTime) {
    for Ending { whose, left } in ending(config, now) {
        match left.map(|left| left.as_secs() / DAY.as_secs()) {
            Some(days) => {
                tracing::warn!(target: "lictor::app", certificate = whose, days, "a certificate ends soon");
            }
            None => tracing::warn!(target: "lictor::app", certificate = whose, "a certificate has ended"),
        }
    }
    for authority in outdated(config, now) {
        tracing::warn!(target: "lictor::app", authority, "a revocation list is out of date");
    }
}
