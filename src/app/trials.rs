//! A component without a server and without a config: looked at, or called.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bytes::BytesMut;
use tracing::Level;

use super::plugins::instances;
use super::service::connection_limits;
use super::trial_call::TrialCall;
use crate::authz;
use crate::config::{self, CommandPattern};
use crate::files::Authors;
use crate::idempotency::{self, Ledger};
use crate::identity::{self, PeerIdentity, Roster, Thumbprint};
use crate::plugin::{
    self, Call, CommandGate, CommandInfo, Commands, Compiling, CoreDumps, DeadlineOf, EventsGrant, Grants,
    HttpGrant, Inspection, Instances, Kept, Plugin, Sandbox, SandboxLimits, Shares, Spec, Stores, Trial,
    VolumeLimits,
};
use crate::route::{Routes, Target};
use crate::server::{Rates, Rechecks, Service};
use crate::state::{Engine, MemoryEngine, Namespace, Quota, SqliteEngine, SqliteOptions};
use crate::telemetry::{self, CommandLog, ConnectionId, Format, RequestId};
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
    /// How long a call may take that does not say so itself.
    pub timeout: Duration,
    /// Whether a core dump is wanted if it traps.
    pub core_dump: bool,
}

/// Runs one command of a component in this process, in a fresh instance. What the plugin prints and logs goes to the log, in
/// lines for people.
///
/// # Errors
///
/// When a component does not load, its state can't be opened, or no instance can be made.
pub fn try_out(run: &TrialRun, call: &TrialCall) -> anyhow::Result<Trial> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, std::slice::from_ref(call)).await?;
        let (plugin, call) = company.routed(call, 1)?;
        let trial = plugin::try_out(&plugin, &call).await;
        company.state.close().await?;
        trial.map_err(|error| anyhow::anyhow!("{}", error.message))
    })
}

/// Runs several calls in the same way, one after the other, in what instances there are then; `ended` is told of each what it gave
/// and how long it took.
///
/// # Errors
///
/// When a component does not load, or its state can't be opened.
pub fn try_all(
    run: &TrialRun,
    calls: &[TrialCall],
    mut ended: impl FnMut(usize, Result<Vec<u8>, CommandError>, Duration),
) -> anyhow::Result<()> {
    let _log = log_for_authors();
    single_threaded()?.block_on(async {
        let company = Company::of(run, calls).await?;
        for (number, call) in calls.iter().enumerate() {
            let began = Instant::now();
            let answer = company.answer(call, number as u64 + 1).await?;
            ended(number, answer, began.elapsed());
        }
        Ok(company.state.close().await?)
    })
}

/// Has the log written in lines for people, until what is given is dropped. The first log of a process is the only one.
#[must_use]
pub fn log_for_authors() -> telemetry::Log {
    telemetry::init(Level::INFO, Format::Human)
}

/// Plugins without a server, and what their calls go through, which is what a server's go through.
struct Company {
    state: Arc<dyn Engine>,
    service: Arc<Service>,
    clients: HashMap<String, PeerIdentity>,
    timeout: Duration,
}

impl Company {
    async fn of(run: &TrialRun, calls: &[TrialCall]) -> anyhow::Result<Self> {
        let state: Arc<dyn Engine> = match &run.state {
            Some(path) => Arc::new(SqliteEngine::open(path, SqliteOptions::default())?),
            None => Arc::new(MemoryEngine::new()),
        };
        let mut clients = HashMap::new();
        for TrialCall { client, .. } in calls {
            if !clients.contains_key(client) {
                clients.insert(client.clone(), stand_in(client)?);
            }
        }
        let core_dumps = if run.core_dump { CoreDumps::HandedOver } else { CoreDumps::None };
        let sandbox = small_sandbox(core_dumps)?;
        let own = Arc::new(Plugin::load(Arc::clone(&sandbox), run.spec(&*state).await?).await?);
        let mut plugins = vec![Arc::clone(&own)];
        for (name, component) in &run.others {
            anyhow::ensure!(
                plugins.iter().all(|plugin| plugin.name() != name),
                "there are two plugins {name}: give one of them another name, --plugin NAME={}",
                component.display()
            );
            let other = TrialRun {
                component: component.clone(),
                name: Some(name.clone()),
                instances: config::Instances::PerRequest,
                ..run.clone()
            };
            plugins.push(Arc::new(Plugin::load(Arc::clone(&sandbox), other.spec(&*state).await?).await?));
        }
        plugins.iter().filter_map(|plugin| plugin.debug_fault()).for_each(|fault| fault.log());
        let called = calls.iter().map(|call| Ok(decoded(&call.request)?.command().to_owned()));
        let routes = routes(&plugins, &own, called.collect::<anyhow::Result<Vec<_>>>()?)?;
        let service = Arc::new(service(&clients, routes, &state));
        Ok(Self { state, service, clients, timeout: run.timeout })
    }

    /// What the call of this number gives.
    async fn answer(&self, call: &TrialCall, number: u64) -> anyhow::Result<Result<Vec<u8>, CommandError>> {
        let (plugin, call) = self.routed(call, number)?;
        Ok(plugin::invoke_whole(&plugin, &call).await)
    }

    /// The call of this number, and the plugin that carries it out.
    fn routed(&self, call: &TrialCall, number: u64) -> anyhow::Result<(Arc<Plugin>, Arc<Call>)> {
        let request = decoded(&call.request)?;
        let command = shown(request.command(), MAX_COMMAND_CHARS).to_string();
        let caller = self.clients.get(&call.client).context("the client is nobody")?.clone();
        let of_server = || anyhow::anyhow!("there is no server to carry out {command}: leave it out");
        let permit = authz::permit(&caller, request, &self.service.policy).map_err(|_| of_server())?;
        let Ok(Target::Plugin(_, plugin, request)) = self.service.routes.route(permit) else {
            return Err(of_server());
        };
        let id = RequestId { connection: ConnectionId(0), number };
        let timeout = request.timeout_ms().map_or(self.timeout, Duration::from_millis);
        let whose = if timeout == self.timeout { DeadlineOf::Plugin } else { DeadlineOf::Client };
        let call = Call::new(request, caller, id, tokio::time::Instant::now() + timeout);
        let call = call.with_deadline_of(whose).with_commands(Arc::clone(&self.service) as Arc<dyn Commands>);
        Ok((Arc::clone(plugin), Arc::new(call)))
    }
}

/// Characters of a command that are shown.
const MAX_COMMAND_CHARS: usize = 64;

/// The commands of `plugins`: those that they describe, or their names if they describe none. What is `called` besides is a
/// command of `own`.
fn routes(
    plugins: &[Arc<Plugin>],
    own: &Arc<Plugin>,
    called: Vec<String>,
) -> anyhow::Result<Routes<Arc<Plugin>>> {
    let mut commands = BTreeMap::<Arc<str>, Arc<Plugin>>::new();
    for plugin in plugins {
        let described = plugin.commands().iter().map(|info| info.name.as_str());
        let named = plugin.commands().is_empty().then_some(plugin.name());
        for command in described.chain(named) {
            let other = commands.insert(command.into(), Arc::clone(plugin));
            if let Some(other) = other.filter(|other| !Arc::ptr_eq(other, plugin)) {
                let command = shown(command, MAX_COMMAND_CHARS);
                anyhow::bail!("both {} and {} have the command {command}", other.name(), plugin.name());
            }
        }
    }
    for command in called {
        commands.entry(command.into()).or_insert_with(|| Arc::clone(own));
    }
    Ok(commands.into_iter().collect())
}

/// What a server works by, within its default limits; each client may run all plugins' commands.
fn service(
    clients: &HashMap<String, PeerIdentity>,
    routes: Routes<Arc<Plugin>>,
    state: &Arc<dyn Engine>,
) -> Service {
    let limits = config::Limits::default();
    let names = || clients.values().map(PeerIdentity::name_shared);
    let pins = clients.values().map(|client| (client.thumbprint(), client.name_shared()));
    let all = || CommandPattern::try_from("*".to_owned()).into_iter().collect();
    Service {
        roster: pins.collect(),
        rechecks: Rechecks::default(),
        policy: names().map(|name| (name, all())).collect(),
        shares: Shares::new(names(), limits.concurrent_commands_per_client, 0),
        rates: Rates::new(names(), None),
        idempotency: Ledger::new(
            Arc::clone(state),
            idempotency::Limits { window: Duration::ZERO, max_keys: 0, max_bytes: 0 },
        ),
        limits: connection_limits(&limits),
        close_on_error: false,
        log: CommandLog::new(0, false, names(), routes.commands(), &[]),
        routes,
    }
}

impl TrialRun {
    async fn spec(&self, state: &dyn Engine) -> anyhow::Result<Spec> {
        let compiling = self.compiling.clone();
        let spec = unserved(&self.component, Grants::default(), self.memory_bytes, self.timeout, compiling);
        let owner = self.name.as_deref().unwrap_or(&spec.name);
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).chain([DEFAULT_STORE]).collect();
        let stores = open_stores(state, owner, &stores).await?;
        let named = |path: &PathBuf| (path.display().to_string(), path.clone());
        let grants = Grants {
            files: Some(self.files.iter().map(named).collect()),
            directories: self.directories.clone(),
            http: Some(self.http.clone()),
            ..everything(self.config.clone(), stores)
        };
        let instances = instances(self.instances);
        let (max_calls, idle) = (u32::MAX, Duration::MAX);
        let reply_bytes = self.reply_bytes;
        Ok(Spec { name: owner.into(), instances, max_calls, idle, grants, reply_bytes, ..spec })
    }
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
