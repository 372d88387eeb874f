//! The dates of all that a config names and that has dates: the server's certificate, authorities, revocation lists, pins.

use std::time::{Duration, SystemTime};

use crate::config::{Config, Fault, ServerCertificate};
use crate::identity::{Validity, describe};

/// Long enough to replace a certificate in working hours.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What to do about the certificate of a server or a client that ends.
const RENEW: &str =
    "`lictor cert renew` makes its successor; or, where an authority signed it, have that make one";

/// What to do about that of an authority.
const RENEW_AUTHORITY: &str = "put its successor beside it into `authorities`";

/// What to do about a revocation list that has a successor.
const RENEW_LIST: &str = "put the authority's new list there, and reload";

/// What can't be used at `now`, or only for some days more, and why.
pub(super) fn advice(config: &Config, now: SystemTime) -> Vec<Fault> {
    let told = |(whose, validity): (String, Validity), help| {
        let notice = validity.notice_at(now, SOON)?;
        let help = Some(help).filter(|_| validity.not_before <= now);
        Some(Fault::warning(&config.path, &sentence(&whose, &notice), help))
    };
    let own = of_server(config).chain(of_clients(config)).filter_map(|one| told(one, RENEW));
    let authorities = of_authorities(config).filter_map(|one| told(one, RENEW_AUTHORITY));
    own.chain(authorities).chain(of_lists(config, now)).collect()
}

/// Says `notice`, which begins with "it", of `whose`.
fn sentence(whose: &str, notice: &str) -> String {
    format!("{whose} {}", notice.strip_prefix("it ").unwrap_or(notice))
}

/// The server's own certificate, and each that it is shown with.
fn of_server(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    let ServerCertificate { path, chain } = &config.server.certificate;
    chain.iter().enumerate().filter_map(|(place, certificate)| {
        let (name, validity) = describe(certificate);
        let whose = match place {
            0 => format!("the server's certificate ({name}) in {}", path.display()),
            _ => format!("the certificate ({name}) of the server's chain in {}", path.display()),
        };
        Some((whose, validity?))
    })
}

fn of_authorities(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    let files = config.identity.authorities.iter();
    let authorities = files.flat_map(|file| file.authorities.iter().map(|authority| (&file.path, authority)));
    authorities.map(|(path, authority)| {
        let whose = format!("the certificate of the authority {} in {}", authority.name(), path.display());
        (whose, authority.validity())
    })
}

/// The certificates that are pinned by file; what those have that are pinned by thumbprint is not known.
fn of_clients(config: &Config) -> impl Iterator<Item = (String, Validity)> {
    config.clients.iter().flat_map(|(name, client)| {
        let pins = client.thumbprints.iter().filter_map(|pin| Some((pin.thumbprint, pin.validity?)));
        // Which of several files a pin is of is not kept.
        let place = match &*client.certificates {
            [path] => format!(" in {}", path.display()),
            _ => String::new(),
        };
        pins.map(move |(thumbprint, validity)| {
            let thumbprint = thumbprint.to_string();
            (format!("the certificate {thumbprint:.8}… of the client {name}{place}"), validity)
        })
    })
}

/// Revocation lists. One that is out of date is followed all the same.
fn of_lists(config: &Config, now: SystemTime) -> impl Iterator<Item = Fault> {
    let files = config.identity.revocation_lists.iter();
    let lists = files.flat_map(|file| file.lists.iter().map(move |list| (&file.path, list)));
    lists.filter_map(move |(path, list)| {
        let whose = format!("the revocation list of {} in {}", list.issuer(), path.display());
        let help = Some(RENEW_LIST).filter(|_| list.is_overdue_at(now));
        Some(Fault::warning(&config.path, &sentence(&whose, &list.notice_at(now)?), help))
    })
}
