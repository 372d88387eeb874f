//! A component without a server and without a config: looked at, or called.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bytes::BytesMut;
use tracing::Level;

use super::company::Company;
use super::plugins::{grants, instances};
use super::trial_call::TrialCall;
use crate::config::{self, CommandName, PluginName, Refusal, ScriptGrants, StoreGrant, key_text};
use crate::files::Authors;
use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    self, CommandGate, CommandInfo, Compiling, CoreDumps, EventsGrant, Grants, HttpGrant, Inspection,
    Instances, Kept, Sandbox, SandboxLimits, Spec, Stores, Trial, VolumeLimits,
};
use crate::state::{Engine, MemoryEngine, Namespace, Quota};
use crate::telemetry::{self, Format};
use crate::text::shown;
use crate::wire::{Code, CommandError, Decoder, Request};

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

/// What a plugin says of its commands that no config can say: then nobody can call them.
#[must_use]
pub fn name_faults(commands: &[CommandInfo]) -> Option<String> {
    let mut names = BTreeSet::new();
    let faults = commands.iter().filter_map(|CommandInfo { name, .. }| match CommandName::from_str(name) {
        Err(Refusal { what, .. }) => Some(format!("\"{}\": {what}", shown(name, MAX_NAME_CHARS))),
        Ok(_) if !names.insert(name) => Some(format!("\"{name}\": it is there twice")),
        Ok(_) => None,
    });
    let faults: Vec<_> = faults.take(MAX_NAME_FAULTS).collect();
    let words =
        "its `describe` names commands as none can be named; name them otherwise in the plugin's source:";
    (!faults.is_empty()).then(|| format!("{words}\n{}", faults.join("\n")))
}

/// Names that are told to be wrong, and characters of each that are shown.
const MAX_NAME_FAULTS: usize = 16;
const MAX_NAME_CHARS: usize = 64;

/// How long an inspected component may take to describe itself, and the most memory that it may use for that.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;

/// A component, and perhaps others beside it, to be called without a server.
#[derive(Clone, Debug)]
pub struct TrialRun {
    /// The component's file.
    pub component: PathBuf,
    /// Other plugins, which it may call: their names and their files. They get what it gets.
    pub others: Vec<(String, PathBuf)>,
    /// Whose calls share an instance of the component.
    pub instances: config::Instances,
    /// What plugins are granted by a script, each by its name; the others get what the following say.
    pub granted: BTreeMap<PluginName, ScriptGrants>,
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
    /// The largest reply, in bytes.
    pub reply_bytes: usize,
    /// The most operations of the host in a call.
    pub host_calls: u64,
    /// The most bytes that these carry.
    pub host_bytes: u64,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a call may take that does not say so itself.
    pub timeout: Duration,
    /// Whether a core dump is wanted if it traps.
    pub core_dump: bool,
}

/// Runs one command of a component in this process, in a fresh instance; `part` is given each part of a stream. What the plugin
/// prints and logs goes to the log, in lines for people.
///
/// # Errors
///
/// When a component does not load, its state can't be opened, or no instance can be made.
pub fn try_out(run: &TrialRun, call: &TrialCall, part: &mut dyn FnMut(&[u8])) -> anyhow::Result<Trial> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, std::slice::from_ref(call)).await?;
        let (plugin, call) = company.routed(call, 1)?;
        let trial = plugin::try_out(&plugin, &call, part).await;
        company.close().await?;
        trial.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

/// What a call gave that is one of several.
pub struct Tried {
    /// What the client would get; of a stream all of it.
    pub answer: Result<Vec<u8>, CommandError>,
    /// The parts of a stream that then failed.
    pub sent: Vec<u8>,
    /// How long it took.
    pub time: Duration,
}

/// Runs several calls in the same way, one after the other, in what instances there are then; `ended` is told of each what it gave.
///
/// # Errors
///
/// When a component does not load, or its state can't be opened.
pub fn try_all(
    run: &TrialRun,
    calls: &[TrialCall],
    mut ended: impl FnMut(usize, Tried),
) -> anyhow::Result<()> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, calls).await?;
        for (number, call) in calls.iter().enumerate() {
            let (plugin, call) = company.routed(call, number as u64 + 1)?;
            let (began, mut sent) = (Instant::now(), Vec::new());
            let answer = company.run(&plugin, &call, &mut sent).await;
            ended(number, Tried { answer, sent, time: began.elapsed() });
        }
        company.close().await
    })
}

/// Has the log written in lines for people, until what is given is dropped. The first log of a process is the only one.
#[must_use]
pub fn log_for_authors() -> telemetry::Log {
    telemetry::init(Level::INFO, Format::Human)
}

impl TrialRun {
    /// The component's own name: that of the plugin whose stores it has.
    #[must_use]
    pub fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| stem(&self.component))
    }

    /// The names of all plugins that may have one.
    #[must_use]
    pub fn names(&self) -> Vec<PluginName> {
        let others = self.others.iter().map(|(name, _)| name.clone());
        std::iter::once(self.own_name()).chain(others).filter_map(|name| name.parse().ok()).collect()
    }

    /// Whether anything is said of what a plugin may reach that no script grants anything.
    #[must_use]
    pub fn has_grants(&self) -> bool {
        let paths = self.files.len() + self.directories.len();
        self.config.len() + self.stores.len() + paths + self.http.urls.len() > 0
    }

    pub(super) async fn spec(&self, state: &dyn Engine) -> anyhow::Result<Spec> {
        let compiling = self.compiling.clone();
        let spec = unserved(&self.component, Grants::default(), self.memory_bytes, self.timeout, compiling);
        let owner = self.own_name();
        let grants = match self.granted.get(owner.as_str()) {
            Some(granted) => granted_by_script(granted, &owner, state).await?,
            None => self.everything(&owner, state).await?,
        };
        let instances = instances(self.instances);
        let (max_calls, idle) = (u32::MAX, Duration::MAX);
        let (key, reply_bytes) = (section_key(&owner), self.reply_bytes);
        let volume = VolumeLimits { calls: self.host_calls, bytes: self.host_bytes };
        Ok(Spec { name: owner.into(), key, instances, max_calls, idle, grants, reply_bytes, volume, ..spec })
    }

    async fn everything(&self, owner: &str, state: &dyn Engine) -> anyhow::Result<Grants> {
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).chain([DEFAULT_STORE]).collect();
        let stores = open_stores(state, owner, &stores).await?;
        let named = |path: &PathBuf| (path.display().to_string(), path.clone());
        Ok(Grants {
            files: Some(self.files.iter().map(named).collect()),
            directories: self.directories.clone(),
            http: Some(self.http.clone()),
            ..everything(self.config.clone(), stores)
        })
    }
}

/// What a script grants the plugin `owner`, and no more.
async fn granted_by_script(
    granted: &ScriptGrants,
    owner: &str,
    state: &dyn Engine,
) -> anyhow::Result<Grants> {
    let mut stores = granted.grants.keyvalue.as_ref().map(|_| Stores::default());
    for grant in granted.grants.keyvalue.iter().flatten() {
        let StoreGrant { plugin, store } = grant;
        let owner = plugin.as_ref().map_or(owner, AsRef::as_ref);
        let opened = state.open(Namespace::new(owner, store.as_ref()), Quota::default()).await?;
        stores.get_or_insert_default().0.insert(grant.to_string(), opened);
    }
    Ok(grants(granted.config.as_ref(), &granted.grants, stores))
}

/// The codes with which commands fail.
#[must_use]
pub fn codes() -> Vec<&'static str> {
    Code::ALL.into_iter().map(Code::as_str).collect()
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
        is_written: false,
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

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The key of a section for a plugin that may have any name.
fn section_key(name: &str) -> String {
    format!("plugins.{}", key_text(name))
}

/// A plugin that no config file names.
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

pub(super) fn small_sandbox(core_dumps: CoreDumps<'_>) -> anyhow::Result<Arc<Sandbox>> {
    let limits = SandboxLimits {
        // One at a time; as many instances stay warm.
        concurrent_calls: 16,
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
#[must_use]
pub fn own_cache() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    base.is_absolute().then(|| base.join("lictor"))
}

pub(super) fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
