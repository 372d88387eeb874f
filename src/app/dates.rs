//! Dates in a config: of the server's certificate, authorities, revocation lists and pins, and the expiry of
//! clients.

use std::time::{Duration, SystemTime};

use crate::config::{Config, Fault, Place, ServerCertificate};
use crate::identity::{Utc, Validity, describe};

/// Notice before an expiry: long enough to replace a certificate in working hours.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Help for an expiring certificate of the server or a client.
const RENEW: &str =
    "renew it with `lictor cert renew`; or, if an authority signed it, request a new one there";

/// Help for an expiring certificate of an authority.
const RENEW_AUTHORITY: &str = "add its successor to `authorities`";

/// Help for a client that expires.
const EXTEND: &str = "write a later `expires` into its section, or remove the client";

/// Help for a client whose denials are only reported.
const STOP_REPORTING: &str =
    "leave its `report_until` out once the log has no `would-be-forbidden` that it should be able to run";

/// Help for a revocation list that is due to be replaced.
const RENEW_LIST: &str = "put the authority's new list there, and reload";

/// Warns of certificates, clients and lists that can't be used at `now` or expire within days, with the
/// reason.
pub(super) fn advice(config: &Config, now: SystemTime) -> Vec<Fault> {
    let told = |(whose, validity): (String, Validity), help| {
        let notice = validity.notice_at(now, SOON)?;
        let help = Some(help).filter(|_| validity.not_before <= now);
        Some(Fault::warning(&config.path, &sentence(&whose, &notice), help))
    };
    let told_of = |(place, one): (&Place, (String, Validity)), help| Some(told(one, help)?.of(place));
    let own = of_server(config).filter_map(|one| told(one, RENEW));
    let clients = of_clients(config).filter_map(|one| told_of(one, RENEW));
    let authorities = of_authorities(config).filter_map(|one| told(one, RENEW_AUTHORITY));
    let admissions = of_admissions(config).filter_map(|one| told_of(one, EXTEND));
    let reporting = of_reporting(config, now);
    let own = own.chain(clients).chain(admissions).chain(reporting);
    own.chain(authorities).chain(of_lists(config, now)).collect()
}

/// Replaces the "it" with which `notice` begins by `whose`.
fn sentence(whose: &str, notice: &str) -> String {
    format!("{whose} {}", notice.strip_prefix("it ").unwrap_or(notice))
}

/// The server's own certificate, and the rest of its chain.
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

/// Client certificates pinned by file; the dates of certificates pinned by thumbprint are unknown.
fn of_clients(config: &Config) -> impl Iterator<Item = (&Place, (String, Validity))> {
    config.clients.iter().flat_map(|(name, client)| {
        let pins = client.thumbprints.iter().filter_map(|pin| Some((pin.thumbprint, pin.validity?)));
        // With several files, the one that a pin came from is not recorded.
        let file = match &*client.certificates {
            [path] => format!(" in {}", path.display()),
            _ => String::new(),
        };
        pins.map(move |(thumbprint, validity)| {
            let thumbprint = thumbprint.to_string();
            let whose = format!("the certificate {thumbprint:.8}… of the client {name}{file}");
            (&client.place, (whose, validity))
        })
    })
}

/// Clients that expire.
fn of_admissions(config: &Config) -> impl Iterator<Item = (&Place, (String, Validity))> {
    config.clients.iter().filter_map(|(name, client)| {
        let (not_before, not_after) = (SystemTime::UNIX_EPOCH, client.expires?);
        let whose = format!("the admission of the client {name}");
        Some((&client.place, (whose, Validity { not_before, not_after })))
    })
}

/// Clients whose denials are only reported at `now`.
fn of_reporting(config: &Config, now: SystemTime) -> impl Iterator<Item = Fault> {
    config.clients.iter().filter_map(move |(name, client)| {
        let until = Utc(client.report_until.filter(|until| now < *until)?);
        let words =
            format!("until {until} the client {name} may run every plugin's command: what no pattern allows is only reported");
        Some(Fault::warning(&config.path, &words, Some(STOP_REPORTING)).of(&client.place))
    })
}

/// Revocation lists. An outdated list still applies.
fn of_lists(config: &Config, now: SystemTime) -> impl Iterator<Item = Fault> {
    let files = config.identity.revocation_lists.iter();
    let lists = files.flat_map(|file| file.lists.iter().map(move |list| (&file.path, list)));
    lists.filter_map(move |(path, list)| {
        let whose = format!("the revocation list of {} in {}", list.issuer(), path.display());
        let help = Some(RENEW_LIST).filter(|_| list.is_overdue_at(now));
        Some(Fault::warning(&config.path, &sentence(&whose, &list.notice_at(now)?), help))
    })
}
