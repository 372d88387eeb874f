//! Metrics of the config in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use super::state;
use crate::config::{Config, ServerCertificate};
use crate::identity::describe;
use crate::server::CertificateEnd;
use crate::sync::locked;
use crate::telemetry::metrics::Family;

/// The config in force, as metrics tell it.
#[derive(Debug, Default)]
pub(super) struct InForce(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    digest: String,
    since: Option<SystemTime>,
    ends: Vec<CertificateEnd>,
    state: Option<PathBuf>,
}

impl InForce {
    /// Notes that the whole of a config came into force, of files with this digest.
    pub(super) fn loaded(&self, digest: String) {
        let mut facts = locked(&self.0);
        (facts.digest, facts.since) = (digest, Some(SystemTime::now()));
    }

    /// Notes what `config`, which came into force, names.
    pub(super) fn serve(&self, config: &Config) {
        let (ends, state) = (certificate_ends(config), state::file(config).map(Path::to_owned));
        let mut facts = locked(&self.0);
        (facts.ends, facts.state) = (ends, state);
    }

    /// The ends of the certificates that the config names, without clients'.
    pub(super) fn certificate_ends(&self) -> Vec<CertificateEnd> {
        locked(&self.0).ends.clone()
    }

    /// Its metrics, with those of reloads.
    pub(super) fn metrics(&self, reloads: [(&'static str, u64); 3]) -> Vec<Family> {
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
                reloads.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
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
