//! The files and folders that no plugin may be granted: the server's secrets, and all plugins' state.

use std::path::{Path, PathBuf};

use super::model::{Config, Server, State};
use super::values::StateEngine;
use crate::files::Reserved;

impl Config {
    /// The files and folders that no plugin may read, regardless of its grants.
    #[must_use]
    pub fn reserved(&self) -> Reserved {
        let settings = self.plugins.values().flat_map(|plugin| plugin.config.iter().flatten());
        let secrets = settings.filter_map(|(_, setting)| setting.file());
        with_secrets(&self.kept(), secrets.chain(self.disabled.plugins.values().flatten().cloned()))
    }

    /// These without the files of plugins' secrets: a secret may not be kept there either.
    pub(super) fn kept(&self) -> Reserved {
        let authorities = self.identity.authorities.iter().map(|file| &file.path);
        let clients = self.clients.values().map(|client| &client.certificates);
        let clients = clients.chain(self.disabled.clients.values()).flatten();
        let configs = std::iter::once(&self.path).chain(&self.included).map(PathBuf::as_path);
        kept((configs, &self.patterns), Some(&self.server), &self.state, authorities.chain(clients))
    }

    /// The file that keeps the use of each entry over restarts: beside the state, or else in the folder
    /// `cache` of compiled plugins.
    #[must_use]
    pub fn usage_file(&self, cache: &Path) -> PathBuf {
        usage_file(&self.state, cache)
    }
}

/// Returns the files and folders that no plugin may be granted, since they hold the server's secrets or all
/// plugins' state. `certificates` are files of authorities and clients; `lictor cert` puts their keys beside
/// them. Files of plugins' secrets are added by [`with_secrets`].
pub(super) fn kept<'a>(
    (configs, patterns): (impl Iterator<Item = &'a Path>, &[PathBuf]),
    server: Option<&Server>,
    state: &State,
    certificates: impl Iterator<Item = &'a PathBuf>,
) -> Reserved {
    let mut reserved: Vec<_> = configs.map(|path| (path.to_owned(), "the server's config file")).collect();
    if let Some(server) = server {
        reserved.push((server.private_key.clone(), "the server's private key"));
        reserved.push((server.cache.clone(), "the server's compiled code"));
        let usage = usage_file(state, &server.cache);
        reserved.extend([set_aside(&usage), usage].map(|file| (file, "the record of use")));
        reserved.extend(server.core_dumps.clone().map(|folder| (folder, "core dumps")));
    }
    if let Some(path) = &state.path {
        reserved.extend(files_of_state(path).map(|file| (file, "all plugins' state")));
    }
    let keys = certificates.map(|certificate| certificate.with_extension("key"));
    // Most clients' keys are on the clients' own machines.
    reserved.extend(keys.filter(|key| key.exists()).map(|key| (key, "a private key")));
    Reserved::new(reserved)
        .with_patterns(patterns.iter().map(|pattern| (pattern.clone(), "an included file")))
}

/// Returns `kept` and the files of plugins' secrets.
pub(super) fn with_secrets(kept: &Reserved, secrets: impl Iterator<Item = PathBuf>) -> Reserved {
    let all = Reserved::default();
    all.extend(kept);
    all.extend(&Reserved::new(secrets.map(|file| (file, "a plugin's secret")).collect()));
    all
}

fn usage_file(state: &State, cache: &Path) -> PathBuf {
    let beside = state.path.as_deref().filter(|_| state.engine != StateEngine::Memory).and_then(Path::parent);
    beside.unwrap_or(cache).join("usage.json")
}

/// Returns the name that a record of use keeps if it can't be used.
#[must_use]
pub fn set_aside(usage: &Path) -> PathBuf {
    usage.with_extension("json.aside")
}

/// Iterates over the state file and the files beside it in which SQLite keeps recent writes.
pub(super) fn files_of_state(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(|ending| {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        file.into()
    })
}
