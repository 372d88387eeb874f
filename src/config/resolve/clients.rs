//! `[clients]`: the certificates that identify each client, its expiry and its limits.
//!
//! Reads the certificates that are pinned by file, to hash them. Never checks their dates: that happens when
//! a client connects, and the answer may change until then.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use toml::Spanned;

use super::bounds;
use super::folder::{self, Folder};
use super::identity::Uris;
use super::permissions::{Granted, Roles};
use crate::config::fields::{Field, Findings, Named};
use crate::config::files::{self, Pinnable};
use crate::config::limits::{Limits, RawLimits};
use crate::config::moment::Moment;
use crate::config::names::ClientName;
use crate::config::raw::{RawClient, RawIdentity};
use crate::config::values::PathText;
use crate::config::{Client, Identity, Pin, Server, TlsVersion};
use crate::identity::{Authority, Doubt, Thumbprint};

/// Other parts of the config that bear on a client.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    pub(super) server: Option<&'a Server>,
    pub(super) identity: &'a Identity,
    pub(super) limits: (&'a Field<RawLimits>, &'a Limits),
}

impl<'a> Beside<'a> {
    /// The server's own certificate.
    fn certificate(self) -> Option<&'a CertificateDer<'static>> {
        self.server?.certificate.chain.first()
    }

    fn has_tls12(self) -> bool {
        self.server.is_some_and(|server| server.min_tls == TlsVersion::V1_2)
    }
}

pub(super) fn resolve(
    field: &Field<Named<ClientName, RawClient>>,
    identity: &Field<RawIdentity>,
    beside: Beside<'_>,
    roles: &Roles<'_>,
    folder: &Folder,
    findings: &mut Findings,
) -> BTreeMap<ClientName, Client> {
    let (mut owners, mut known_uris) = (Owners::default(), Uris::new(identity));
    let mut clients = BTreeMap::new();
    let now = SystemTime::now();
    for (key, section) in field.value().into_iter().flat_map(|named| &named.entries) {
        let name = key.get_ref();
        let thumbprints = pins(name, section, beside, &mut owners, folder, findings);
        let uris = known_uris.of(name, section.get_ref(), findings);
        let Granted { roles, commands, permissions, trace } = roles.granted(name, section, findings);
        let certificates = certificates(section.get_ref()).map(|path| folder.path(path)).collect();
        let at = format!("{}.limits", name.key());
        let limits = bounds::own(&at, &section.get_ref().limits, beside.limits, findings);
        let place = findings.place(key.span().start);
        let expires = section.get_ref().expires.value().map(|moment| moment.0);
        let report_until = report_until(name, &section.get_ref().report_until, now, findings);
        let client = Client {
            thumbprints,
            certificates,
            uris,
            roles,
            commands,
            permissions: permissions.reporting_until(report_until),
            trace,
            place,
            report_until,
            expires,
            limits,
        };
        clients.insert(name.clone(), client);
    }
    clients
}

/// The longest time for which denials may be only reported: without an end there would be no permissions.
const MAX_REPORTING_DAYS: u64 = 90;

fn report_until(
    name: &ClientName,
    field: &Field<Moment>,
    now: SystemTime,
    findings: &mut Findings,
) -> Option<SystemTime> {
    let given = field.given()?;
    let until = given.get_ref().0;
    let key = format!("{}.report_until", name.key());
    if until > now + Duration::from_secs(MAX_REPORTING_DAYS * 24 * 3600) {
        findings
            .error(format!("`{key}` is more than {MAX_REPORTING_DAYS} days ahead"))
            .at(given.span(), "until then nearly nothing would be forbidden to the client")
            .help(format!(
                "write a time within {MAX_REPORTING_DAYS} days; when it is near, write a later one"
            ))
            .done();
    } else if until <= now {
        findings
            .warning(format!("`{key}` has no effect any more"))
            .at(given.span(), "this time is past")
            .help("leave it out")
            .done();
    }
    Some(until)
}

/// The first client to pin each certificate, and the position of the pin. A certificate pinned by file is
/// listed under both hashes, so that it is found whichever one another client pins.
#[derive(Default)]
struct Owners(HashMap<Thumbprint, (ClientName, Range<usize>, Written)>);

/// The form of a pin.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Thumbprint,
    File,
}

impl Owners {
    /// Records that `client` pins the certificate with these `hashes`. A second pin by another client, or by
    /// this one in the same form, is a fault: the server could not tell which client a peer is.
    fn claim(
        &mut self,
        client: &ClientName,
        hashes: &[Thumbprint],
        (written, span): (Written, Range<usize>),
        findings: &mut Findings,
    ) {
        let earlier = hashes.iter().filter_map(|hash| self.0.get(hash));
        let clash =
            |(owner, _, how): &&(ClientName, Range<usize>, Written)| owner != client || *how == written;
        if let Some((owner, earlier, _)) = earlier.into_iter().find(clash) {
            let (message, help) = if owner == client {
                (format!("the client `{client}` pins a certificate twice"), "leave one out".to_owned())
            } else {
                let help = format!(
                    "a certificate can belong to only one client: remove it from `{owner}` or from `{client}`"
                );
                (format!("the clients `{owner}` and `{client}` pin the same certificate"), help)
            };
            findings
                .error(message)
                .at(span.clone(), "and again here")
                .at(earlier.clone(), "here")
                .help(help)
                .done();
        }
        for hash in hashes {
            self.0.entry(*hash).or_insert_with(|| (client.clone(), span.clone(), written));
        }
    }
}

fn certificates(raw: &RawClient) -> impl Iterator<Item = &Spanned<PathText>> {
    raw.certificates.value().into_iter().flat_map(|list| &list.items)
}

fn pins(
    name: &ClientName,
    section: &Spanned<RawClient>,
    beside: Beside<'_>,
    owners: &mut Owners,
    folder: &Folder,
    findings: &mut Findings,
) -> Vec<Pin> {
    let raw = section.get_ref();
    report_unknowable(name, section, findings);
    let mut thumbprints = Vec::new();
    let mut old = Vec::new();
    for pin in raw.thumbprints.value().into_iter().flat_map(|list| &list.items) {
        let thumbprint = pin.get_ref().0;
        owners.claim(name, &[thumbprint], (Written::Thumbprint, pin.span()), findings);
        let is_of = |own: &CertificateDer<'_>| {
            thumbprint == Thumbprint::sha256_of(own) || thumbprint == Thumbprint::sha1_of(own)
        };
        if beside.certificate().is_some_and(is_of) {
            warn_of_server(name, pin.span(), findings);
        }
        thumbprints.push(Pin { thumbprint, validity: None });
        if matches!(thumbprint, Thumbprint::Sha1(_)) {
            old.push((thumbprint, pin.span()));
        }
    }
    let mut by_file = Vec::new();
    for path in certificates(raw) {
        let key = &format!("{}.certificates", name.key());
        let named = folder::Named { key, path, remedy: &format!("`lictor cert new {name}` creates one") };
        let found = folder.read_pem(named, files::pinnable, findings);
        let Some(pinnable) = found else { continue };
        warn_of_file(name, path, &pinnable, beside, findings);
        let Pinnable { sha256, sha1, validity, .. } = pinnable;
        owners.claim(name, &[sha256, sha1], (Written::File, path.span()), findings);
        by_file.push(sha1);
        match thumbprints.iter_mut().find(|pin| pin.thumbprint == sha256) {
            Some(pin) => pin.validity = validity,
            None => thumbprints.push(Pin { thumbprint: sha256, validity }),
        }
    }
    warn_of_sha1(name, &old, &by_file, findings);
    thumbprints
}

/// Warns of a certificate file that will not, or not always, admit the client.
fn warn_of_file(
    name: &ClientName,
    path: &Spanned<PathText>,
    Pinnable { doubt, stray, certificate, .. }: &Pinnable,
    beside: Beside<'_>,
    findings: &mut Findings,
) {
    let shown = path.get_ref().0.display();
    if beside.certificate() == Some(certificate) {
        warn_of_server(name, path.span(), findings);
    }
    let authorities = || beside.identity.authorities.iter().flat_map(|file| &file.authorities);
    if Authority::new(certificate.clone()).is_ok_and(|own| authorities().any(|other| *other == own)) {
        findings
            .warning(format!("the client `{name}` is pinned to the certificate of an authority, {shown}"))
            .at(path.span(), "only the holder of the authority's key is this client")
            .help("pin the client's own certificate; or write in `uris` the URI of those that the authority signs")
            .done();
    }
    if beside
        .identity
        .revocation_lists
        .iter()
        .flat_map(|file| &file.lists)
        .any(|list| list.names(certificate))
    {
        findings
            .warning(format!(
                "the client `{name}` is admitted by a certificate that a revocation list names, {shown}"
            ))
            .at(path.span(), "a pin takes precedence over its authority")
            .help("remove the pin if nobody should be admitted by it")
            .done();
    }
    if let Some(stray) = stray {
        findings
            .warning(format!(
                "of the certificates in {shown} only the first is pinned, for the client `{name}`"
            ))
            .at(path.span(), stray.clone())
            .help("put each certificate to be pinned into a separate file")
            .done();
    }
    let another = format!("`lictor cert new {name}` creates another");
    match doubt {
        Some(Doubt::Always(why)) => findings
            .warning(format!("the certificate {shown} of the client `{name}` will never let it in: {why}"))
            .at(path.span(), "the holder of its key can't prove possession")
            .help(another)
            .done(),
        Some(Doubt::WithTls12(why)) if beside.has_tls12() => findings
            .warning(format!(
                "the certificate {shown} of the client `{name}` will not let it in with TLS 1.2: {why}"
            ))
            .at(path.span(), "TLS 1.2 can't prove its key")
            .help(format!("keep it if this client speaks TLS 1.3; otherwise {another}"))
            .done(),
        _ => {}
    }
}

fn warn_of_server(name: &ClientName, span: Range<usize>, findings: &mut Findings) {
    findings
        .warning(format!("the client `{name}` is known by the server's own certificate"))
        .at(span, "whoever has the server's key is this client")
        .help(format!("pin another here: `lictor cert new {name}` creates one"))
        .done();
}

fn report_unknowable(name: &ClientName, section: &Spanned<RawClient>, findings: &mut Findings) {
    let raw = section.get_ref();
    let keys = ["thumbprints", "certificates", "uris"];
    let is_told = keys.iter().any(|key| findings.is_misspelt(&name.key(), key));
    if raw.thumbprints.has_none() && raw.certificates.has_none() && raw.uris.has_none() && !is_told {
        findings
            .error(format!("the client `{name}` has neither `thumbprints` nor `certificates`, nor `uris`"))
            .at(section.span(), "nobody could authenticate as this client")
            .help(format!(
                "`lictor cert new {name}` creates a certificate; then write `certificates = [\"certs/{name}.pem\"]`"
            ))
            .done();
    }
}

/// Warns once of all the client's SHA-1 pins. `by_file` lists the SHA-1 hashes of the certificates it pins by
/// file.
fn warn_of_sha1(
    name: &ClientName,
    old: &[(Thumbprint, Range<usize>)],
    by_file: &[Thumbprint],
    findings: &mut Findings,
) {
    if old.is_empty() {
        return;
    }
    let help = if old.iter().all(|(thumbprint, _)| by_file.contains(thumbprint)) {
        "leave it out: `certificates` pins the same certificate by SHA-256"
    } else {
        "pin the SHA-256 instead: `lictor cert thumbprint FILE` prints it; or name the file in `certificates`"
    };
    let mut fault = findings
        .warning(format!("the client `{name}` is pinned by SHA-1, which is no longer considered safe"));
    for (_, span) in old {
        fault = fault.at(span.clone(), "SHA-1");
    }
    fault.help(help).done();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Severity;
    use crate::config::raw::SECTIONS;
    use crate::config::redact::Grammar;

    #[test]
    fn denials_are_only_reported_for_ninety_days_at_most() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        const SECOND: Duration = Duration::from_secs(1);
        let (name, now) = ("ci".to_owned().try_into().unwrap(), SystemTime::UNIX_EPOCH + DAY * 20_000);
        for (until, severity) in [
            (now - DAY, Some(Severity::Warning)),
            (now, Some(Severity::Warning)),
            (now + SECOND, None),
            (now + DAY * 90, None),
            (now + DAY * 90 + SECOND, Some(Severity::Error)),
        ] {
            let mut findings = Findings::new(Path::new("server.toml"), "", Grammar::Toml, SECTIONS);
            let field = Field::Given(Spanned::new(0..0, Moment(until)));
            assert_eq!(report_until(&name, &field, now, &mut findings), Some(until));
            let severities: Vec<_> = match findings.verdict(Some(())) {
                Ok(((), warnings)) => warnings.iter().map(|warning| warning.severity()).collect(),
                Err(faults) => faults.iter().map(|fault| fault.severity()).collect(),
            };
            assert_eq!(severities, severity.into_iter().collect::<Vec<_>>(), "{until:?}");
        }
    }
}
