//! The part of the config in force that a new config keeps. Pure.
//!
//! A reload applies this part before it loads any plugin, so that revoked rights do not wait for the loading.

use std::collections::HashSet;

use super::{
    Client, ClientName, Config, Entry, EventGrant, Grants, HttpUrl, Limits, OwnLimits, Plugin, RevocationFile,
};
use crate::identity::RevocationList;

impl Config {
    /// Returns this config without anything that `wanted` removes: clients, their proofs and permissions,
    /// authorities, plugins, their commands and grants. Everything `wanted` revokes is revoked, and of the
    /// two bounds on one client the smaller applies. Nothing that `wanted` adds is included.
    ///
    /// Invariant: the result admits a client, or allows it something, only if both `self` and `wanted` do.
    /// Every other value is that of `self`; if nothing is removed, the result equals `self`.
    #[must_use]
    pub fn narrowed_to(&self, wanted: &Self) -> Self {
        let mut narrowed = self.clone();
        for file in &mut narrowed.identity.authorities {
            let wanted = || wanted.identity.authorities.iter().flat_map(|file| &file.authorities);
            file.authorities.retain(|authority| wanted().any(|wanted| wanted == authority));
        }
        narrowed.identity.authorities.retain(|file| !file.authorities.is_empty());
        wanted
            .identity
            .revocation_lists
            .iter()
            .for_each(|file| revoke(&mut narrowed.identity.revocation_lists, file));
        let (limits, wanted_limits) = (&mut narrowed.limits, &wanted.limits);
        limits.requests_per_second = limits.requests_per_second.min(wanted_limits.requests_per_second);
        limits.concurrent_commands_per_client =
            limits.concurrent_commands_per_client.min(wanted_limits.concurrent_commands_per_client);
        limits.idempotency_keys = limits.idempotency_keys.min(wanted_limits.idempotency_keys);
        limits.idempotency_bytes = limits.idempotency_bytes.min(wanted_limits.idempotency_bytes);
        let both = |(name, client): (&ClientName, &Client)| {
            let other = wanted.clients.get(name)?;
            let limits = client.limits.narrowed_to(&self.limits, (&other.limits, &wanted.limits));
            Some((name.clone(), Client { limits, ..client.narrowed_to(other) }))
        };
        narrowed.clients = self.clients.iter().filter_map(both).collect();
        narrowed.plugins = self
            .plugins
            .iter()
            .filter_map(|(name, plugin)| Some((name.clone(), plugin.narrowed_to(wanted.plugins.get(name)?))))
            .collect();
        let wanted: HashSet<_> = wanted.entries.iter().map(Entry::name).collect();
        let kept = self.entries.iter().filter(|entry| wanted.contains(&entry.name()));
        narrowed.entries = kept.cloned().collect();
        narrowed
    }
}

/// Returns the keys of what differs of clients without a change to a key: one of the configs is narrowed.
pub(super) fn only_narrowed<'a>(old: &'a Config, new: &'a Config) -> impl Iterator<Item = String> {
    let both = new.clients.iter().filter_map(|(name, new)| Some((name, old.clients.get(name)?, new)));
    let only_narrowed = both.filter(|(_, before, after)| {
        let is_same_role = |role| old.roles.get(role) == new.roles.get(role);
        (&before.permissions, before.trace) != (&after.permissions, after.trace)
            && (&before.commands, &before.roles, before.report_until)
                == (&after.commands, &after.roles, after.report_until)
            && after.roles.iter().all(is_same_role)
    });
    only_narrowed.map(|(name, before, after)| {
        let key = if before.permissions == after.permissions { "roles" } else { "commands" };
        format!("{}.{key}", name.key())
    })
}

/// Adds the lists of `file` to those in `force`. Replaces lists that an earlier, failed reload added from the
/// same file if the new ones revoke at least as much, so that failing reloads do not pile up lists. The lists
/// of the config that was served in full stay.
fn revoke(force: &mut Vec<RevocationFile>, file: &RevocationFile) {
    let is_new = |force: &[RevocationFile], list| !force.iter().any(|known| known.lists.contains(list));
    if !file.lists.iter().any(|list| is_new(force, list)) {
        return;
    }
    let is_covered = |list: &RevocationList| file.lists.iter().any(|new| new.covers(list));
    let mut is_first = true;
    force.retain(|known| {
        let is_another = known.path != file.path;
        is_another || std::mem::replace(&mut is_first, false) || !known.lists.iter().all(is_covered)
    });
    let lists = file.lists.iter().filter(|list| is_new(force, list)).cloned().collect();
    force.push(RevocationFile { path: file.path.clone(), lists });
}

impl Client {
    fn narrowed_to(&self, wanted: &Self) -> Self {
        let is_pinned =
            |pin: &super::Pin| wanted.thumbprints.iter().any(|other| other.thumbprint == pin.thumbprint);
        Self {
            thumbprints: self.thumbprints.iter().filter(|pin| is_pinned(pin)).copied().collect(),
            // Only paths to watch; the pins they hold are in `thumbprints`.
            certificates: self.certificates.clone(),
            uris: self.uris.iter().filter(|uri| wanted.uris.contains(uri)).cloned().collect(),
            roles: self.roles.clone(),
            commands: self.commands.clone(),
            permissions: self.permissions.narrowed_to(&wanted.permissions),
            trace: self.trace && wanted.trace,
            place: self.place.clone(),
            // Without a time, which is least, nothing is only reported.
            report_until: self.report_until.min(wanted.report_until),
            expires: self.expires.into_iter().chain(wanted.expires).min(),
            limits: self.limits,
        }
    }
}

impl OwnLimits {
    /// Returns the smaller of each limit of `self` and of `wanted`. Beside each stand the limits on every
    /// client, which apply where a client has none of its own.
    fn narrowed_to(&self, every: &Limits, (wanted, wanted_every): (&Self, &Limits)) -> Self {
        fn least<T: Ord + Copy>(
            (own, every): (Option<T>, T),
            (wanted, wanted_every): (Option<T>, T),
        ) -> Option<T> {
            // Without an own one in either, those on every client are compared.
            own.or(wanted)?;
            let least = own.unwrap_or(every).min(wanted.unwrap_or(wanted_every));
            (own.is_some() || least < every).then_some(least)
        }
        Self {
            requests_per_second: least(
                (self.requests_per_second, every.requests_per_second),
                (wanted.requests_per_second, wanted_every.requests_per_second),
            ),
            concurrent_commands: least(
                (self.concurrent_commands, every.concurrent_commands_per_client),
                (wanted.concurrent_commands, wanted_every.concurrent_commands_per_client),
            ),
            connections: least(
                (self.connections, every.connections),
                (wanted.connections, wanted_every.connections),
            ),
            idempotency_keys: least(
                (self.idempotency_keys, every.idempotency_keys),
                (wanted.idempotency_keys, wanted_every.idempotency_keys),
            ),
            idempotency_bytes: least(
                (self.idempotency_bytes, every.idempotency_bytes),
                (wanted.idempotency_bytes, wanted_every.idempotency_bytes),
            ),
        }
    }
}

impl Plugin {
    fn narrowed_to(&self, wanted: &Self) -> Self {
        let commands = self.commands.iter().filter(|command| wanted.commands.contains(command)).cloned();
        Self { commands: commands.collect(), grants: self.grants.narrowed_to(&wanted.grants), ..self.clone() }
    }
}

impl Grants {
    /// A removed grant becomes an empty one: the plugin keeps its import, but reaches nothing through it.
    fn narrowed_to(&self, wanted: &Self) -> Self {
        fn each<T: Clone + PartialEq>(
            old: Option<&Vec<T>>,
            wanted: Option<&Vec<T>>,
            both: impl Fn(&T, &T) -> Option<T>,
        ) -> Option<Vec<T>> {
            old.map(|old| meet(old, wanted.map_or(&[], Vec::as_slice), both))
        }
        Self {
            // Logging reaches only the log, as does a plugin's output, which needs no grant.
            logging: self.logging,
            keyvalue: each(self.keyvalue.as_ref(), wanted.keyvalue.as_ref(), same),
            commands: self
                .commands
                .as_ref()
                .map(|commands| commands.narrowed_to(&wanted.commands.clone().unwrap_or_default())),
            files: each(self.files.as_ref(), wanted.files.as_ref(), same),
            directories: meet(&self.directories, &wanted.directories, same),
            events: each(self.events.as_ref(), wanted.events.as_ref(), EventGrant::both),
            http: each(self.http.as_ref(), wanted.http.as_ref(), HttpUrl::both),
            is_written: self.is_written,
        }
    }
}

/// Returns everything that an entry of `old` and one of `wanted` have in common by `both`. If all of `old` is
/// kept, the result is that very list.
fn meet<T: Clone + PartialEq>(old: &[T], wanted: &[T], both: impl Fn(&T, &T) -> Option<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for entry in old {
        let common = || wanted.iter().filter_map(|wanted| both(entry, wanted));
        if common().any(|common| common == *entry) {
            kept.push(entry.clone());
        } else {
            kept.extend(common());
        }
    }
    let mut distinct: Vec<T> = Vec::with_capacity(kept.len());
    kept.into_iter().for_each(|entry| {
        if !distinct.contains(&entry) {
            distinct.push(entry)
        }
    });
    distinct
}

fn same<T: Clone + PartialEq>(a: &T, b: &T) -> Option<T> {
    (a == b).then(|| a.clone())
}

impl HttpUrl {
    /// The longer of the two URLs if it lies below the other, with the networks they have in common.
    fn both(&self, other: &Self) -> Option<Self> {
        let is_below = |url: &str, of: &str| {
            let rest = url.strip_prefix(of);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of.ends_with('/'))
        };
        let url = match (is_below(&self.url, &other.url), is_below(&other.url, &self.url)) {
            (true, _) => &self.url,
            (_, true) => &other.url,
            _ => return None,
        };
        let networks = meet(&self.networks, &other.networks, |a, b| {
            let narrower = if a.contains(b) { b } else { a };
            (a.contains(b) || b.contains(a)).then_some(*narrower)
        });
        Some(Self { url: url.clone(), networks })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
        KeyIdMethod, KeyPair, RevokedCertParams, date_time_ymd,
    };

    use crate::config::{Config, Limits, OwnLimits, diff, parse};

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn issuer() -> Issuer {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Writes a revocation list; lists differ by their numbers.
    fn write_list(file: &Path, issuer: &Issuer, number: u64, revoked: &[u64]) {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2022, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2022, 1, 1),
            next_update: date_time_ymd(2040, 1, 1),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(file, params.signed_by(issuer).unwrap().pem().unwrap()).unwrap();
    }

    /// A config of these authorities and these list files, with their current contents.
    fn config(folder: &Path, authorities: &[&Issuer], lists: &[&str]) -> Config {
        let pem: String = authorities.iter().map(|issuer| issuer.pem()).collect();
        std::fs::write(folder.join("ca.pem"), pem).unwrap();
        let server = rcgen::generate_simple_self_signed(["server".to_owned()]).unwrap();
        std::fs::write(folder.join("server.pem"), server.cert.pem()).unwrap();
        std::fs::write(folder.join("server.key"), server.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:1\"]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n\
             [identity]\nauthorities = [\"ca.pem\"]\nrevocation_lists = {lists:?}\n\
             [clients.a]\nuris = [\"urn:a\"]\ncommands = []\n"
        );
        let parsed = parse(&folder.join("server.toml"), &text);
        parsed.unwrap_or_else(|faults| panic!("{faults}")).config
    }

    #[test]
    fn the_smaller_limit_on_a_client_holds() {
        let every = |requests_per_second| Limits { requests_per_second, ..Limits::default() };
        let own = |requests_per_second| OwnLimits { requests_per_second, ..OwnLimits::default() };
        for (before, wanted, narrowed) in [
            ((100, None), (50, None), None), // as that on every client is narrowed too
            ((100, None), (100, Some(50)), Some(50)),
            ((100, None), (200, Some(150)), None),
            ((100, Some(50)), (100, None), Some(50)),
            ((100, Some(50)), (40, None), Some(40)),
            ((100, Some(50)), (100, Some(60)), Some(50)),
            ((100, Some(50)), (100, Some(40)), Some(40)),
        ] {
            let wanted = (&own(wanted.1), &every(wanted.0));
            assert_eq!(
                own(before.1).narrowed_to(&every(before.0), wanted),
                own(narrowed),
                "{before:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn authorities_of_both_are_left_and_lists_of_either() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (issuer(), issuer());
        write_list(&folder.path().join("a.crl"), &one, 1, &[]);
        let old = config(folder.path(), &[&one, &other], &["a.crl"]);
        let mut force = old.clone();
        // Failing reloads, each with a different list.
        for number in 2..6 {
            write_list(&folder.path().join("a.crl"), &one, number, &[]);
            write_list(&folder.path().join("b.crl"), &other, number, &[]);
            let wanted = config(folder.path(), &[&other], &["a.crl", "b.crl"]);
            force = force.narrowed_to(&wanted);
            let lists: Vec<_> = force.identity.revocation_lists.iter().flat_map(|file| &file.lists).collect();
            for list in [&old, &wanted].iter().flat_map(|config| &config.identity.revocation_lists) {
                assert!(list.lists.iter().all(|list| lists.contains(&list)), "{number}");
            }
            assert!(lists.len() <= 4, "{number}: {}", lists.len());
            let authorities = force.identity.authorities.iter().flat_map(|file| &file.authorities);
            assert_eq!(authorities.count(), 1);
        }
        let changed: Vec<_> = diff(&old, &force).iter().map(|change| change.key.clone()).collect();
        assert_eq!(changed, ["identity.authorities", "identity.revocation_lists"]);
    }

    #[test]
    fn what_a_reload_revoked_that_failed_stays_revoked_by_the_next_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let one = issuer();
        write_list(&folder.path().join("a.crl"), &one, 1, &[]);
        let mut force = config(folder.path(), &[&one], &["a.crl"]);
        for (number, revoked, count) in [(2, &[5][..], 2), (3, &[6], 3), (4, &[5, 6], 2), (5, &[5, 6, 7], 2)]
        {
            write_list(&folder.path().join("a.crl"), &one, number, revoked);
            force = force.narrowed_to(&config(folder.path(), &[&one], &["a.crl"]));
            let lists: Vec<_> = force.identity.revocation_lists.iter().flat_map(|file| &file.lists).collect();
            assert_eq!(lists.len(), count, "{number}");
        }
    }
}
