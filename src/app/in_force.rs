//! Metrics of the config in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use super::access::line_to_allow;
use super::state;
use crate::config::{Client, ClientName, Config, ServerCertificate};
use crate::files::Sightings;
use crate::identity::describe;
use crate::reload;
use crate::server::{CertificateEnd, ConfigLine, Words};
use crate::sync::locked;
use crate::telemetry::metrics::Family;

/// The config in force, as metrics tell it.
#[derive(Debug, Default)]
pub(super) struct InForce(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    digest: String,
    files: Sightings,
    since: Option<SystemTime>,
    ends: Vec<CertificateEnd>,
    state: Option<PathBuf>,
    clients: BTreeMap<ClientName, Client>,
}

impl InForce {
    /// Notes that the whole of a config came into force, of files with this digest, and these stamps of all
    /// that it names.
    pub(super) fn loaded(&self, digest: String, files: Sightings) {
        let mut facts = locked(&self.0);
        (facts.digest, facts.files, facts.since) = (digest, files.of_content(), Some(SystemTime::now()));
    }

    /// Notes what `config`, which came into force, names.
    pub(super) fn serve(&self, config: &Config) {
        let (ends, state) = (certificate_ends(config), state::file(config).map(Path::to_owned));
        let mut facts = locked(&self.0);
        (facts.ends, facts.state) = (ends, state);
        facts.clients.clone_from(&config.clients);
    }

    /// The ends of the certificates that the config names, without clients'.
    pub(super) fn certificate_ends(&self) -> Vec<CertificateEnd> {
        locked(&self.0).ends.clone()
    }

    /// Number of files that differ from those in force. The lock is not held meanwhile: a disk may hang.
    fn changed_files(&self) -> usize {
        let files = locked(&self.0).files.clone();
        files.into_iter().filter(|(path, stamp)| stamp.again(path) != *stamp).count()
    }

    /// The line that would allow `client` a request, if there is such a client.
    pub(super) fn line_to_allow(&self, client: &str, words: Words<'_>) -> Option<ConfigLine> {
        let facts = locked(&self.0);
        let (name, client) = facts.clients.get_key_value(client)?;
        line_to_allow(name, client, words).ok()
    }

    /// Its metrics, with those of reloads.
    pub(super) fn metrics(&self, reloads: &reload::Status) -> Vec<Family> {
        let changed = self.changed_files();
        let facts = locked(&self.0);
        let since = facts.since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
        let sha256 = vec![("sha256", facts.digest.clone())];
        vec![
            Family::gauges(
                "lictor_config_info",
                "SHA-256 of the config's files, as a label.",
                [(sha256, 1_u64)],
            ),
            Family::counters(
                "lictor_config_reloads_total",
                "Reloads of the config.",
                reloads.outcomes().map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
            ),
            Family::gauge(
                "lictor_config_last_reload_successful",
                "1, or 0 from a reload that failed to the next that succeeds.",
                u64::from(!reloads.has_failed()),
            ),
            Family::gauge(
                "lictor_config_changed_files",
                "Files of the config in force, and files that it names, that have changed since they were read.",
                changed,
            ),
            Family::gauges(
                "lictor_config_last_reload_timestamp_seconds",
                "Time at which the config in force was loaded.",
                since.map(|since| (Vec::new(), since.as_secs_f64())),
            ),
            Family::gauges(
                "lictor_state_file_bytes",
                "Size of the file with the state, and of its log.",
                facts.state.as_deref().and_then(size).map(|size| (Vec::new(), size)),
            ),
        ]
    }
}

/// Returns the size of the file at `path` and of the log beside it.
fn size(path: &Path) -> Option<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| path.metadata().map(|file| file.len());
    Some(size(path).ok()? + size(Path::new(&log)).unwrap_or_default())
}

/// Of several with one name, the first to end.
fn certificate_ends(config: &Config) -> Vec<CertificateEnd> {
    let ServerCertificate { chain, .. } = &config.server.certificate;
    let own = chain.iter().enumerate().filter_map(|(place, certificate)| {
        let (name, validity) = describe(certificate);
        let kind = if place == 0 { "server" } else { "authority" };
        Some(((kind, name), validity?.not_after))
    });
    let authorities = config.identity.authorities.iter().flat_map(|file| &file.authorities);
    let authorities = authorities
        .map(|authority| (("authority", authority.name().to_owned()), authority.validity().not_after));
    let mut first = BTreeMap::new();
    for (of, ends) in own.chain(authorities) {
        let end = first.entry(of).or_insert(ends);
        *end = ends.min(*end);
    }
    first.into_iter().map(|((kind, name), ends)| CertificateEnd { kind, name, ends }).collect()
}
