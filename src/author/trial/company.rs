//! Plugins that are called without a server: their calls take the same path as in one, from permission and
//! routing to the reply.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use super::call::TrialCall;
use super::run::TrialRun;
use crate::app::{connection_limits, idempotency_limits};
use crate::author::fixtures::{decoded, small_sandbox, stand_in};
use crate::authz::{self, PermissionPattern};
use crate::config;
use crate::idempotency::{self, Asked, Claimed, Ledger};
use crate::identity::PeerIdentity;
use crate::plugin::{
    Call, ClientLimits, Commands, CoreDumps, DeadlineOf, Exchange, Plugin, pipe, run_one, run_streaming,
};
use crate::route::{Routes, Target};
use crate::server::{RateLimits, Rechecks, Service, named_commands};
use crate::state::{Engine, MemoryEngine, SqliteEngine, SqliteOptions};
use crate::telemetry::{Arguments, CommandLog, ConnectionId, RequestId};
use crate::text::shown;
use crate::wire::{Code, CommandError, Outcome, Reply};

/// Plugins without a server, and the services that their calls go through.
pub(super) struct Company {
    state: Arc<dyn Engine>,
    service: Arc<Service>,
    clients: HashMap<String, PeerIdentity>,
    timeout: Duration,
}

impl Company {
    pub(super) async fn of(run: &TrialRun, calls: &[TrialCall]) -> anyhow::Result<Self> {
        let state: Arc<dyn Engine> = match &run.state {
            Some(path) => {
                // The engine makes the folder too, which here may be misspelt.
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                anyhow::ensure!(
                    folder.is_none_or(Path::is_dir),
                    "{}: there is no such folder for the state: create it, or correct --state",
                    folder.unwrap_or(path).display()
                );
                Arc::new(SqliteEngine::open(path, SqliteOptions::default())?)
            }
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
        let service = Arc::new(service(&clients, routes));
        Ok(Self { state, service, clients, timeout: run.timeout })
    }

    /// Returns the call of this number, and the plugin that carries it out.
    pub(super) fn routed(&self, call: &TrialCall, number: u64) -> anyhow::Result<(Arc<Plugin>, Arc<Call>)> {
        let request = decoded(&call.request)?;
        let command = shown(request.command(), MAX_COMMAND_CHARS).to_string();
        let caller = self.clients.get(&call.client).context("the client is nobody")?.clone();
        let of_server = || anyhow::anyhow!("there is no server to run {command}: leave it out");
        let permit = authz::permit(&caller, &request, &self.service.policy, SystemTime::now);
        let permit = permit.ok_or_else(of_server)?;
        let Some(Target::Plugin(plugin)) = self.service.routes.route(&permit) else {
            return Err(of_server());
        };
        let id = RequestId { connection: ConnectionId(0), number };
        let timeout = request.timeout_ms().map_or(self.timeout, Duration::from_millis);
        let whose = if timeout == self.timeout { DeadlineOf::Plugin } else { DeadlineOf::Client };
        let arrived = tokio::time::Instant::now();
        let call = Call::new(Exchange::new(id, arrived, request), caller, arrived + timeout);
        let call = call.with_deadline_of(whose).with_commands(Arc::clone(&self.service) as Arc<dyn Commands>);
        Ok((Arc::clone(plugin), Arc::new(call)))
    }

    /// Runs `call`, or returns the answer already kept for its Idempotency-Key. If a stream fails after some
    /// of its parts were sent, they are put into `sent`.
    pub(super) async fn run(&self, plugin: &Arc<Plugin>, call: &Arc<Call>, sent: &mut Vec<u8>) -> Reply {
        let Some(key) = call.request().idempotency_key() else {
            return run_whole(plugin, call, sent).await;
        };
        if plugin.is_streaming() {
            return Err(idempotency::refused_of_stream());
        }
        let client = call.caller.name_shared();
        loop {
            let time_left = call.deadline.saturating_duration_since(tokio::time::Instant::now());
            let asked = Asked { client: &client, key, request: call.request(), time_left };
            let begun = Arc::clone(call);
            let has_begun = move || begun.outcome_if_stopped() == Outcome::Unknown;
            match self.service.idempotency.claim(asked, (), has_begun).await {
                Claimed::Free(claim) => {
                    let answer = run_whole(plugin, call, sent).await;
                    let settled = claim.settle(answer, ()).await.map(|(answer, ..)| answer);
                    let lost = || Err(CommandError::unknown(Code::Internal, "The answer was lost"));
                    return settled.unwrap_or_else(lost);
                }
                Claimed::Kept(kept) => {
                    if let Some(answer) = kept.read().await {
                        return answer;
                    }
                }
                Claimed::Refused(error) => return Err(error),
            }
        }
    }

    /// Closes everything in good order.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.service.idempotency.close().await;
        Ok(self.state.close().await?)
    }
}

/// Characters of a command that are shown.
const MAX_COMMAND_CHARS: usize = 64;

/// The most of a stream that is held to be compared. No key bounds a stream, as it is held nowhere else.
const MAX_JOINED_BYTES: usize = 64 << 20;

/// Runs `call` as a server does, in a warm instance where there is one and the plugin keeps them; returns the
/// reply, of a stream all of it. The parts of a stream that then fails are put into `sent`.
async fn run_whole(plugin: &Arc<Plugin>, call: &Arc<Call>, sent: &mut Vec<u8>) -> Reply {
    if !plugin.is_streaming() {
        return run_one(None, plugin, Arc::clone(call)).await.reply;
    }
    let (writer, mut parts) = pipe();
    let mut is_whole = true;
    let joining = async {
        while let Some(part) = poll_fn(|cx| parts.poll_next(cx)).await {
            is_whole &= part.len() <= MAX_JOINED_BYTES - sent.len();
            if is_whole {
                sent.extend(part);
            }
        }
    };
    let (ended, ()) = tokio::join!(run_streaming(None, plugin, Arc::clone(call), writer), joining);
    ended.reply?;
    match is_whole {
        true => Ok(std::mem::take(sent)),
        false => Err(CommandError::unknown(
            Code::PluginLimit,
            format!("Its parts are more than {}MiB", MAX_JOINED_BYTES >> 20),
        )),
    }
}

/// Returns the commands of `plugins`: those that they describe, or their names if they describe none. Other
/// commands in `called` go to `own`.
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

/// Makes a server's service with its default limits; each client may run all plugins' commands.
fn service(clients: &HashMap<String, PeerIdentity>, routes: Routes<Arc<Plugin>>) -> Service {
    let limits = config::Limits::default();
    let names = || clients.values().map(PeerIdentity::name_shared);
    let pins = clients.values().map(|client| (client.thumbprint(), client.name_shared()));
    let all = || PermissionPattern::try_from("*".to_owned()).into_iter().collect();
    Service {
        roster: pins.collect(),
        rechecks: Rechecks::default(),
        policy: names().map(|name| (name, all())).collect(),
        client_limits: ClientLimits::new(
            names().map(|name| (name, limits.concurrent_commands_per_client)),
            0,
        ),
        rate_limits: RateLimits::default(),
        most_connections: HashMap::new(),
        // Apart from the state, which may outlive this process: an earlier run's answers do not count in this
        // one.
        idempotency: Ledger::new(Arc::new(MemoryEngine::new()), idempotency_limits(&limits)),
        limits: connection_limits(&limits),
        close_on_error: false,
        log: CommandLog::new(0, Arguments::Hidden, names(), named_commands(&routes), &[], 0),
        traces: None,
        routes,
    }
}
