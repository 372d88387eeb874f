//! A component without a server and without a config: looked at, or run once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::BytesMut;
use tracing::Level;

use crate::files::Authors;
use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    self, Call, CommandGate, CommandInfo, Compiling, CoreDumps, EventsGrant, Grants, HttpGrant, Inspection,
    Instances, Kept, Plugin, Sandbox, SandboxLimits, Spec, Stores, Trial, VolumeLimits,
};
use crate::state::{Engine, MemoryEngine, Namespace, Quota, SqliteEngine, SqliteOptions};
use crate::telemetry::{self, ConnectionId, Format, RequestId};
use crate::wire::{Decoder, Request};

/// What is said of a component by its type alone, and its commands, or why it does not load with everything granted.
pub type Inspected = (Inspection, anyhow::Result<Vec<CommandInfo>>);

/// Looks at the component in the file `path`, and asks it for its commands.
///
/// # Errors
///
/// When it can't be read, or is no component.
pub fn inspect(path: &Path, compiling: Compiling) -> anyhow::Result<Inspected> {
    let inspected = single_threaded()?.block_on(async {
        let stores = open_stores(&MemoryEngine::new(), "inspected", &[DEFAULT_STORE]).await?;
        let grants = everything(BTreeMap::new(), stores);
        let spec = unserved(path, grants, DESCRIBE_MEMORY_BYTES, DESCRIBE_TIME, compiling);
        anyhow::Ok(plugin::inspect(small_sandbox(CoreDumps::None)?, spec).await)
    })?;
    let (inspection, plugin) = inspected.map_err(|reason| anyhow::anyhow!("{reason}"))?;
    Ok((inspection, plugin.map(|plugin| plugin.commands().to_vec()).map_err(Into::into)))
}

/// How long an inspected component may take to describe itself, and the most memory that it may use for that.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;

/// One command of a component, to be run without a server.
#[derive(Clone, Debug)]
pub struct TrialRun {
    /// The component's file.
    pub component: PathBuf,
    /// The client that it sees.
    pub client: String,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// The file that its stores are in; none for stores in memory.
    pub state: Option<PathBuf>,
    /// The plugin whose stores they are; none for the component's file name.
    pub name: Option<String>,
    /// Stores that it may open, beside `default`.
    pub stores: Vec<String>,
    /// Single files that it may read.
    pub files: Vec<PathBuf>,
    /// Folders that it may read: as it sees them, and where they are.
    pub directories: Vec<(String, PathBuf)>,
    /// Where it may send HTTP requests.
    pub http: HttpGrant,
    /// What compiling it may take.
    pub compiling: Compiling,
    /// The most memory that it may use, in bytes.
    pub memory_bytes: usize,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether a core dump is wanted if it traps.
    pub core_dump: bool,
    /// The request, as a client sends it.
    pub request: Vec<u8>,
}

/// Runs one command of a component in this process. What the plugin prints and logs goes to the log, in lines for
/// people.
///
/// # Errors
///
/// When the component does not load, its state can't be opened, or no instance can be made.
pub fn try_out(run: &TrialRun) -> anyhow::Result<Trial> {
    let _log = telemetry::init(Level::INFO, Format::Human);
    let state: Arc<dyn Engine> = match &run.state {
        Some(path) => Arc::new(SqliteEngine::open(path, SqliteOptions::default())?),
        None => Arc::new(MemoryEngine::new()),
    };
    single_threaded()?.block_on(async {
        let spec = run.spec(&*state).await?;
        let core_dumps = if run.core_dump { CoreDumps::HandedOver } else { CoreDumps::None };
        let plugin = Plugin::load(small_sandbox(core_dumps)?, spec).await?;
        let request = decoded(&run.request)?;
        let caller = stand_in(&run.client)?;
        let id = RequestId { connection: ConnectionId(0), number: 1 };
        let call = Arc::new(Call::new(request, caller, id, tokio::time::Instant::now() + run.timeout));
        let trial = plugin::try_out(&plugin, &call).await;
        state.close().await?;
        trial.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

impl TrialRun {
    async fn spec(&self, state: &dyn Engine) -> anyhow::Result<Spec> {
        let compiling = self.compiling.clone();
        let mut spec =
            unserved(&self.component, Grants::default(), self.memory_bytes, self.timeout, compiling);
        let owner = self.name.as_deref().unwrap_or(&spec.name);
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).chain([DEFAULT_STORE]).collect();
        let stores = open_stores(state, owner, &stores).await?;
        let named = |path: &PathBuf| (path.display().to_string(), path.clone());
        spec.grants = Grants {
            files: Some(self.files.iter().map(named).collect()),
            directories: self.directories.clone(),
            http: Some(self.http.clone()),
            ..everything(self.config.clone(), stores)
        };
        Ok(spec)
    }
}

/// The store that every plugin has here.
const DEFAULT_STORE: &str = "default";

/// Everything that can be granted, and as good as nothing behind it but these.
pub(super) fn everything(config: BTreeMap<String, String>, stores: Stores) -> Grants {
    Grants {
        config: Some(config),
        logging: true,
        stores: Some(stores),
        files: Some(HashMap::new()),
        directories: Vec::new(),
        commands: Some(CommandGate(Arc::new(|_| true))),
        events: Some(EventsGrant { publishes: vec!["*".to_owned()], subscribes: vec!["*".to_owned()] }),
        http: Some(HttpGrant::default()),
    }
}

/// The stores `names` of the plugin `owner`.
pub(super) async fn open_stores(state: &dyn Engine, owner: &str, names: &[&str]) -> anyhow::Result<Stores> {
    let mut stores = Stores::default();
    for name in names {
        let opened = state.open(Namespace::new(owner, name), Quota::default()).await?;
        stores.0.insert((*name).to_owned(), opened);
    }
    Ok(stores)
}

/// The request that these bytes are, as they would come over the wire.
pub(super) fn decoded(bytes: &[u8]) -> anyhow::Result<Request> {
    Decoder::new(usize::MAX).decode(&mut BytesMut::from(bytes))?.context("the request is incomplete")
}

/// A client for when there is none: it holds a certificate that was made for it and is forgotten after. Identities are
/// only ever made of certificates, here too.
pub(super) fn stand_in(name: &str) -> anyhow::Result<PeerIdentity> {
    let certificate = rcgen::generate_simple_self_signed([name.to_owned()])?.cert;
    let roster: Roster = [(Thumbprint::sha256_of(certificate.der()), Arc::from(name))].into_iter().collect();
    let identity = identity::authenticate(&[certificate.der().clone()], &roster, SystemTime::now());
    identity.map_err(|rejection| anyhow::anyhow!("{rejection}"))
}

/// A plugin that no config file names.
pub(super) fn unserved(
    path: &Path,
    grants: Grants,
    memory_bytes: usize,
    timeout: Duration,
    compiling: Compiling,
) -> Spec {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Spec {
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

pub(super) fn small_sandbox(core_dumps: CoreDumps<'_>) -> anyhow::Result<Arc<Sandbox>> {
    let limits = SandboxLimits {
        concurrent_calls: 2,
        concurrent_streams: 2,
        waiting_calls: 0,
        max_wait: Duration::ZERO,
        // The plugin's own bound holds.
        memory_bytes: usize::MAX,
        http_requests: 64,
    };
    let cache = own_cache();
    let sandbox = Sandbox::new(limits, Kept { compiled: cache.as_deref(), core_dumps })?;
    sandbox.prune_cache(OWN_CACHE_BYTES);
    Ok(Arc::new(sandbox))
}

/// What is kept there: an author compiles the same plugin again and again.
const OWN_CACHE_BYTES: u64 = 256 << 20;

/// Where compiled components of the person who runs this are kept: `$XDG_CACHE_HOME/lictor` or `~/.cache/lictor`. A
/// component of Python takes seconds to compile.
fn own_cache() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    base.is_absolute().then(|| base.join("lictor"))
}

pub(super) fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
