//! `[identity]`, and the URIs of clients: the authorities trusted to vouch for them.
//!
//! Reads the certificates of the authorities and their revocation lists. Never checks their dates: that
//! happens when a client connects.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::folder::{self, Folder};
use crate::config::fields::{Field, Findings, List, Named};
use crate::config::names::ClientName;
use crate::config::raw::{RawClient, RawIdentity};
use crate::config::values::PathText;
use crate::config::{AuthorityFile, Identity, RevocationFile, files};
use crate::identity::ClientUri;
use crate::text::InvalidText;

pub(super) fn resolve(
    field: &Field<RawIdentity>,
    clients: &Field<Named<ClientName, RawClient>>,
    folder: &Folder,
    findings: &mut Findings,
) -> Identity {
    let Some(raw) = field.value() else { return Identity::default() };
    warn_of_no_effect(raw, clients, findings);
    let remedy = "put the certificate of the authority that signs those of clients there, as PEM";
    let authorities = read(("authorities", &raw.authorities, remedy), files::authorities, folder, findings);
    let authorities = authorities.into_iter().map(|(path, authorities)| AuthorityFile { path, authorities });
    let remedy = "put the list of the authority there, as PEM";
    let lists =
        read(("revocation_lists", &raw.revocation_lists, remedy), files::revocation_lists, folder, findings);
    let revocation_lists = lists.into_iter().map(|(path, lists)| RevocationFile { path, lists });
    Identity { authorities: authorities.collect(), revocation_lists: revocation_lists.collect() }
}

fn warn_of_no_effect(
    raw: &RawIdentity,
    clients: &Field<Named<ClientName, RawClient>>,
    findings: &mut Findings,
) {
    let named = |field: &Field<List<PathText>>| {
        field.given().filter(|list| !list.get_ref().items.is_empty()).map(Spanned::span)
    };
    if let Some(span) = named(&raw.authorities)
        && are_without_uris(clients)
    {
        findings
            .warning("`identity.authorities` has no effect: no client is identified by a URI that they could certify")
            .at(span, "no certificate is checked against them")
            .help("write the `uris` of a client, such as `uris = [\"spiffe://example.org/laptop\"]`; or leave this out")
            .done();
    }
    if let Some(span) = named(&raw.revocation_lists)
        && raw.authorities.has_none()
    {
        findings
            .warning("`identity.revocation_lists` has no effect: there are no `authorities`")
            .at(span, "a pinned certificate is admitted even if its authority revokes it")
            .help("take the pin of a certificate out of the config instead")
            .done();
    }
}

/// Reads each file of a key with `read_file`, and returns its path and contents.
fn read<T>(
    (key, field, remedy): (&str, &Field<List<PathText>>, &str),
    read_file: fn(&[u8]) -> Result<Vec<T>, InvalidText>,
    folder: &Folder,
    findings: &mut Findings,
) -> Vec<(PathBuf, Vec<T>)> {
    let mut read = Vec::new();
    for path in field.value().into_iter().flat_map(|list| &list.items) {
        let named = folder::Named { key: &format!("identity.{key}"), path, remedy };
        if let Some(contents) = folder.read_pem(named, read_file, findings) {
            read.push((folder.path(path), contents));
        }
    }
    read
}

/// Returns true if it is certain that no client has a URI.
fn are_without_uris(clients: &Field<Named<ClientName, RawClient>>) -> bool {
    match clients {
        Field::Absent => true,
        Field::Faulty => false,
        Field::Given(named) => {
            let named = named.get_ref();
            named.whole && named.entries.iter().all(|(_, raw)| raw.get_ref().uris.has_none())
        }
    }
}

/// The first client to have each URI, and the URI's position; and the authorities that could vouch for it.
pub(super) struct Uris<'r> {
    owners: HashMap<ClientUri, (ClientName, Range<usize>)>,
    authorities: &'r Field<List<PathText>>,
}

impl<'r> Uris<'r> {
    pub(super) fn new(field: &'r Field<RawIdentity>) -> Self {
        let authorities = match field {
            Field::Absent => &Field::Absent,
            Field::Faulty => &Field::Faulty,
            Field::Given(raw) => &raw.get_ref().authorities,
        };
        Self { owners: HashMap::new(), authorities }
    }

    /// Returns the URIs of `client`. A URI that another client has, or that this one has twice, is a fault.
    pub(super) fn of(
        &mut self,
        client: &ClientName,
        raw: &RawClient,
        findings: &mut Findings,
    ) -> Vec<ClientUri> {
        let Some(given) = raw.uris.given() else { return Vec::new() };
        let uris = &given.get_ref().items;
        if !uris.is_empty() {
            self.report_unvouched(client, given, findings);
        }
        for uri in uris {
            self.claim(client, &uri.get_ref().0, uri.span(), findings);
        }
        uris.iter().map(|uri| uri.get_ref().0.clone()).collect()
    }

    fn claim(&mut self, client: &ClientName, uri: &ClientUri, span: Range<usize>, findings: &mut Findings) {
        let Some((owner, earlier)) = self.owners.get(uri) else {
            self.owners.insert(uri.clone(), (client.clone(), span));
            return;
        };
        let (message, help) = if owner == client {
            (format!("the client `{client}` has a URI twice"), "leave one out".to_owned())
        } else {
            let help =
                format!("a URI can belong to only one client: remove it from `{owner}` or from `{client}`");
            (format!("the clients `{owner}` and `{client}` have the same URI"), help)
        };
        let fault = findings.error(message).at(span, "and again here");
        fault.at(earlier.clone(), "here").help(help).done();
    }

    fn report_unvouched<T>(&self, client: &ClientName, uris: &Spanned<T>, findings: &mut Findings) {
        if self.authorities.has_none() {
            findings
                .error(format!("the client `{client}` has `uris`, and there is no authority to certify them"))
                .at(uris.span(), "anybody can write these into a certificate")
                .help("add a section [identity] with `authorities = [\"certs/ca.pem\"]`, which signs their certificates")
                .done();
        }
    }
}
