//! Fixtures of a run without a server: the client, the grants, the plugin's spec and the sandbox that a
//! config would otherwise define.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::BytesMut;
use tracing::Level;

use crate::config::key_text;
use crate::files::Authors;
use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    CommandGate, Compiling, CoreDumps, EventsGrant, Grants, HttpGrant, Instances, Kept, Sandbox,
    SandboxLimits, Settings, Spec, Stores, VolumeLimits,
};
use crate::state::{Engine, Namespace, Quota};
use crate::telemetry::{self, Format};
use crate::wire::{Decoder, Request};

/// Writes the log in lines for people until the returned value is dropped. Only a process's first log takes
/// effect.
#[must_use]
pub fn log_for_authors() -> telemetry::Log {
    telemetry::init(Level::INFO, Format::Human)
}

/// Name of the store that every plugin has here.
pub(super) const DEFAULT_STORE: &str = "default";

/// Returns all grants, with nothing behind them except `config` and `stores`.
pub(super) fn everything(config: BTreeMap<String, String>, stores: Stores) -> Grants {
    let all = || "*".to_owned().into();
    Grants {
        config: Some(Settings(config).into()),
        logging: true,
        stores: Some(stores),
        files: Some(HashMap::new()),
        directories: Vec::new(),
        commands: Some(CommandGate(Arc::new(|_| true))),
        events: Some(EventsGrant { publishes: vec![all()], subscribes: vec![all()] }),
        http: Some(HttpGrant::default()),
        is_written: false,
    }
}

/// Opens the stores `names` of the plugin `owner`.
pub(super) async fn open_stores(state: &dyn Engine, owner: &str, names: &[&str]) -> anyhow::Result<Stores> {
    let mut stores = Stores::default();
    for name in names {
        let opened = state.open(Namespace::new(owner, name), Quota::default()).await?;
        stores.0.insert((*name).to_owned(), opened.into());
    }
    Ok(stores)
}

/// Decodes a request, as from the wire.
pub(super) fn decoded(bytes: &[u8]) -> anyhow::Result<Request> {
    Decoder::new(usize::MAX).decode(&mut BytesMut::from(bytes))?.context("the request is incomplete")
}

/// Makes a client's identity, from a certificate that is made for it and dropped: identities come from
/// certificates alone, here too.
pub(super) fn stand_in(name: &str) -> anyhow::Result<PeerIdentity> {
    let certificate = rcgen::generate_simple_self_signed([name.to_owned()])?.cert;
    let roster: Roster = [(Thumbprint::sha256_of(certificate.der()), Arc::from(name))].into_iter().collect();
    let identity = identity::authenticate(&[certificate.der().clone()], &roster, SystemTime::now());
    identity.map_err(|rejection| anyhow::anyhow!("{rejection}"))
}

pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the key of a plugin's section. The name may be any.
pub(super) fn section_key(name: &str) -> String {
    format!("plugins.{}", key_text(name))
}

/// Returns the spec of a plugin without a config.
pub(super) fn unserved(
    path: &Path,
    grants: Grants,
    memory_bytes: usize,
    timeout: Duration,
    compiling: Compiling,
) -> Spec {
    let name = stem(path);
    Spec {
        key: section_key(&name),
        name: name.into(),
        component: path.to_owned(),
        authors: Authors::Anybody,
        sha256: None,
        instances: Instances::PerRequest,
        timeout,
        cpu_time: None,
        volume: VolumeLimits { calls: u64::MAX, bytes: u64::MAX },
        memory_bytes,
        reply_bytes: 64 << 20,
        concurrency: None,
        max_calls: 1,
        idle: Duration::ZERO,
        grants,
        compiling,
    }
}

pub(super) fn small_sandbox(core_dumps: CoreDumps) -> anyhow::Result<Arc<Sandbox>> {
    let limits = SandboxLimits {
        // Calls run one at a time; this many instances stay warm.
        concurrent_calls: 16,
        concurrent_streams: 2,
        waiting_calls: 0,
        max_wait: Duration::ZERO,
        // The plugin's own bound applies.
        memory_bytes: usize::MAX,
        http_requests: 64,
    };
    let sandbox = Sandbox::new(limits, Kept { compiled: own_cache(), core_dumps })?;
    sandbox.prune_cache(OWN_CACHE_BYTES);
    Ok(Arc::new(sandbox))
}

/// Bound on an author's cache: the same plugin is compiled again and again.
const OWN_CACHE_BYTES: u64 = 256 << 20;

/// Returns the user's folder of compiled components: `$XDG_CACHE_HOME/lictor` or `~/.cache/lictor`. A
/// component of Python takes seconds to compile.
#[must_use]
pub fn own_cache() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    base.is_absolute().then(|| base.join("lictor"))
}
