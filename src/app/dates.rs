//! The dates of all that a config names and that has dates: the server's certificate, authorities, revocation lists, pins.

use std::time::{Duration, SystemTime};

use crate::config::{Config, Fault};
use crate::identity::{Validity, describe};

/// Long enough to replace a certificate in working hours.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What to do about the certificate of a server or a client that ends.
const RENEW: &str =
    "`lictor cert renew` makes its successor; or, where an authority signed it, have that make one";

/// What to do about that of an authority.
const RENEW_AUTHORITY: &str = "put its successor beside it into `authorities`";

/// What can't be used at `now`, or only for some days more, and why.
pub(super) fn advice(config: &Config, now: SystemTime) -> Vec<Fault> {
    let told = |(whose, validity): (String, Validity), help| {
        let notice = validity.notice_at(now, SOON)?;
        let help = Some(help).filter(|_| validity.not_before <= now);
        Some(Fault::warning(&config.path, &format!("{whose}: {notice}"), help))
    };
    let own = of_server(config).chain(of_clients(config)).filter_map(|one| told(one, RENEW));
    let authorities = of_authorities(config).filter_map(|one| told(one, RENEW_AUTHORITY));
    own.chain(authorities).chain(of_lists(config, now)).collect()
}

/// The server's own certificate, and each that it is shown with.
fn of_server(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    config.server.certificate.chain.iter().enumerate().filter_map(|(place, certificate)| {
        let (name, validity) = describe(certificate);
        let whose = match place {
            0 => format!("the server's certificate ({name})"),
            _ => format!("the certificate ({name}) in the chain of the server's"),
        };
        Some((whose, validity?))
    })
}

fn of_authorities(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    let authorities = config.identity.authorities.iter().flat_map(|file| &file.authorities);
    authorities.map(|authority| {
        let whose = format!("the certificate of the authority {}", authority.name());
        (whose, authority.validity())
    })
}

/// The certificates that are pinned by file; what those have that are pinned by thumbprint is not known.
fn of_clients(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    config.clients.iter().flat_map(|(name, client)| {
        let pins = client.thumbprints.iter().filter_map(|pin| Some((pin.thumbprint, pin.validity?)));
        pins.map(move |(thumbprint, validity)| {
            (format!("the certificate {:.8}… of the client {name}", thumbprint.to_string()), validity)
        })
    })
}

/// Revocation lists. One that is out of date is followed all the same.
fn of_lists(config: &Config, now: SystemTime) -> impl Iterator<Item = Fault> {
    let lists = config.identity.revocation_lists.iter().flat_map(|file| &file.lists);
    lists.filter_map(move |list| {
        let notice = list.notice_at(now)?;
        let words = format!("the revocation list of {}: {notice}", list.issuer());
        Some(Fault::warning(&config.path, &words, None))
    })
}
