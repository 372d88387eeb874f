//! The plugins of a config, loaded with their grants and no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::usage::Watched;
use crate::authz::Permissions;
use crate::config::{self, Config, EventGrant, PluginName, Setting, StoreGrant};
use crate::files::Authors;
use crate::plugin::{
    CommandGate, Compiling, CoreDumps, Difference, EventsGrant, Grants, HttpGrant, Instances, Kept, Plugin,
    Sandbox, SandboxLimits, Settings, Spec, Stores, VolumeLimits,
};
use crate::state::{Engine, Namespace, Quota, Store};
use crate::usage::{Observed, Used};

/// Bound on the cache of compiled plugins: about a hundred of Python, or ten thousand of Rust.
const CACHE_BYTES: u64 = 4 << 30;

/// The plugins of a config, and the sandbox that runs them.
pub(super) struct Plugins {
    sandbox: Arc<Sandbox>,
    loaded: BTreeMap<PluginName, Loaded>,
}

/// A plugin, and the settings it was loaded with.
#[derive(Clone)]
struct Loaded {
    plugin: Arc<Plugin>,
    config: config::Plugin,
    quotas: Vec<Quota>,
}

impl Plugins {
    /// Loads all plugins, one after the other: each compilation uses all cores, and two would take twice the
    /// memory. Reports every plugin that can't be loaded, not only the first. Compiled plugins are kept in
    /// `cache`.
    pub(super) async fn load(
        config: &Config,
        cache: &Path,
        state: &dyn Engine,
        watched: &Watched,
    ) -> anyhow::Result<Self> {
        let limits = &config.limits;
        let bounds = SandboxLimits {
            concurrent_calls: u32::try_from(limits.concurrent_commands).unwrap_or(u32::MAX),
            concurrent_streams: u32::try_from(limits.concurrent_streams).unwrap_or(u32::MAX),
            waiting_calls: limits.queue,
            max_wait: limits.queue_timeout,
            memory_bytes: limits.plugin_memory_bytes,
            http_requests: limits.http_requests,
        };
        let core_dumps = config.server.core_dumps.clone().map_or(CoreDumps::None, CoreDumps::In);
        let kept = Kept { compiled: Some(cache.to_owned()), core_dumps };
        let sandbox = Arc::new(Sandbox::new(bounds, kept)?);
        sandbox.reserved().replace(&config.reserved());
        let loaded = load_all(&sandbox, (config, watched), state, &BTreeMap::new(), |_| {}).await?;
        // The process does not end before this is done, and nothing else waits for it.
        let pruned = Arc::clone(&sandbox);
        tokio::task::spawn_blocking(move || pruned.prune_cache(CACHE_BYTES));
        Ok(Self { sandbox, loaded })
    }

    /// Loads the plugins of `config` into the same sandbox. A plugin whose config and component are unchanged
    /// stays, with its warm instances. Calls `at` with the name of each plugin that comes next.
    pub(super) async fn renewed(
        &self,
        config: &Config,
        state: &dyn Engine,
        watched: &Watched,
        at: impl Fn(&PluginName),
    ) -> anyhow::Result<Self> {
        // The sandbox reserves for both configs until only one of them remains.
        self.sandbox.reserved().extend(&config.reserved());
        let loaded = load_all(&self.sandbox, (config, watched), state, &self.loaded, at).await?;
        Ok(Self { sandbox: Arc::clone(&self.sandbox), loaded })
    }

    /// Reserves for the server what `config`, the one in force, reserves, and nothing else.
    pub(super) fn reserve(&self, config: &Config) {
        self.sandbox.reserved().replace(&config.reserved());
    }

    /// Returns the plugins that are also in `config`, each with its grants there. `config` only takes away,
    /// so nothing is loaded.
    pub(super) fn narrowed_to(&self, config: &Config, watched: &Watched) -> Self {
        let kept = self.loaded.iter().filter_map(|(name, loaded)| {
            let plugin = config.plugins.get(name)?;
            let loaded = match plugin.grants == loaded.config.grants {
                true => loaded.clone(),
                false => loaded.narrowed_to((name, plugin), quotas(config, name), watched),
            };
            Some((name.clone(), loaded))
        });
        Self { sandbox: Arc::clone(&self.sandbox), loaded: kept.collect() }
    }

    /// Returns the sandbox, which outlives reloads.
    pub(super) fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PluginName, &Arc<Plugin>)> {
        self.loaded.iter().map(|(name, loaded)| (name, &loaded.plugin))
    }

    /// Returns the plugins whose component is another one than in `old`, each with the difference.
    pub(super) fn replaced_since(&self, old: &Self) -> Vec<(PluginName, Difference)> {
        let both = self.iter().filter_map(|(name, new)| Some((name, &old.loaded.get(name)?.plugin, new)));
        let replaced = both.filter(|(_, old, new)| old.sha256() != new.sha256());
        replaced.map(|(name, old, new)| (name.clone(), old.difference_to(new))).collect()
    }

    /// Returns the plugins that are missing from `old`, or differ there.
    pub(super) fn new_since(&self, old: &Self) -> Vec<&PluginName> {
        let is_old = |name, plugin| old.loaded.get(name).is_some_and(|old| Arc::ptr_eq(&old.plugin, plugin));
        self.iter().filter(|(name, plugin)| !is_old(*name, *plugin)).map(|(name, _)| name).collect()
    }
}

async fn load_all(
    sandbox: &Arc<Sandbox>,
    (config, watched): (&Config, &Watched),
    state: &dyn Engine,
    old: &BTreeMap<PluginName, Loaded>,
    at: impl Fn(&PluginName),
) -> anyhow::Result<BTreeMap<PluginName, Loaded>> {
    let mut plugins = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, plugin) in &config.plugins {
        at(name);
        let quotas = quotas(config, name);
        if let Some(old) = old.get(name)
            && old.is_of(plugin, &quotas).await
        {
            plugins.insert(name.clone(), old.clone());
            continue;
        }
        let began = Instant::now();
        let stores = open_stores(config, name, state).await?;
        let spec = spec(config, (name, plugin), stores, watched);
        let loading = match old.get(name) {
            Some(old) => old.plugin.load_successor(spec).await,
            None => Plugin::load(Arc::clone(sandbox), spec).await,
        };
        match loading {
            Ok(loaded) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(target: "lictor::plugin", plugin = %name, millis, "loaded");
                let loaded = Loaded { plugin: Arc::new(loaded), config: plugin.clone(), quotas };
                plugins.insert(name.clone(), loaded);
            }
            Err(error) => {
                // Anything may have been written in place of a path.
                let path = plugin.component.to_string_lossy();
                faults.push(error.to_string().replace(&*path, &config::without_secrets(&path)));
            }
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(plugins)
}

impl Loaded {
    /// Returns the same component with the grants of `config`, a subset of its own.
    fn narrowed_to(
        &self,
        (name, config): (&PluginName, &config::Plugin),
        quotas: Vec<Quota>,
        watched: &Watched,
    ) -> Self {
        let mut stores = self.plugin.grants().stores.clone();
        if let Some(stores) = &mut stores {
            let granted: Vec<_> = config.grants.keyvalue.iter().flatten().map(ToString::to_string).collect();
            stores.0.retain(|name, _| granted.contains(name));
        }
        let used = |key: &str, text: &str| watched.of_grant(name, key, text);
        let grants = grants(config.config.as_ref(), &config.grants, stores, used);
        Self { plugin: Arc::new(self.plugin.with_grants(grants)), config: config.clone(), quotas }
    }

    /// Returns true if the plugin matches `config`, with the component and the debug file as they are now.
    async fn is_of(&self, config: &config::Plugin, quotas: &[Quota]) -> bool {
        self.config == *config && self.quotas == quotas && self.plugin.is_of_its_files().await
    }
}

/// Returns the quotas of the stores granted to the plugin `name`.
fn quotas(config: &Config, name: &PluginName) -> Vec<Quota> {
    let granted = config.plugins.get(name).and_then(|plugin| plugin.grants.keyvalue.as_deref());
    let owners = granted.unwrap_or_default().iter().map(|grant| grant.plugin.as_ref().unwrap_or(name));
    owners.map(|owner| quota(config, owner)).collect()
}

/// Returns a store's quota: that of its owner, whichever plugin writes to it.
fn quota(config: &Config, owner: &PluginName) -> Quota {
    config.plugins.get(owner).map_or_else(Quota::default, |owner| Quota {
        max_keys: owner.store_keys,
        max_bytes: owner.store_bytes,
    })
}

/// Opens the stores granted to the plugin `name`, under the names by which the plugin opens them.
async fn open_stores(
    config: &Config,
    name: &PluginName,
    state: &dyn Engine,
) -> anyhow::Result<Option<Stores>> {
    let granted = config.plugins.get(name).and_then(|plugin| plugin.grants.keyvalue.as_ref());
    let Some(granted) = granted else { return Ok(None) };
    let mut stores = Stores::default();
    for grant in granted {
        let StoreGrant { plugin: owner, store } = grant;
        let owner = owner.as_ref().unwrap_or(name);
        let opened = state.open(Namespace::new(owner.as_ref(), store.as_ref()), quota(config, owner)).await;
        let opened = opened.with_context(|| format!("plugin {name}: the store {grant} cannot be opened"))?;
        stores.0.insert(grant.to_string(), opened.into());
    }
    Ok(Some(stores))
}

fn spec(
    config: &Config,
    (name, plugin): (&PluginName, &config::Plugin),
    stores: Option<Stores>,
    watched: &Watched,
) -> Spec {
    let used = |key: &str, text: &str| watched.of_grant(name, key, text);
    Spec {
        compiling: compiling(&config.limits),
        name: name.as_ref().into(),
        key: name.key(),
        component: plugin.component.clone(),
        authors: Authors::Trusted,
        sha256: plugin.sha256,
        instances: instances(plugin.instances),
        timeout: plugin.timeout,
        cpu_time: plugin.cpu_time,
        volume: VolumeLimits { calls: plugin.host_calls, bytes: plugin.host_bytes },
        memory_bytes: plugin.memory_bytes,
        reply_bytes: plugin.reply_bytes,
        concurrency: plugin.concurrency,
        max_calls: plugin.max_calls,
        idle: plugin.idle,
        grants: grants(plugin.config.as_ref(), &plugin.grants, stores, used),
    }
}

pub(crate) fn instances(instances: config::Instances) -> Instances {
    match instances {
        config::Instances::PerRequest => Instances::PerRequest,
        config::Instances::PerClient => Instances::PerClient,
        config::Instances::Shared => Instances::Shared,
    }
}

/// Settings for compiling a component, with the running program as the compiler.
pub(super) fn compiling(limits: &config::Limits) -> Compiling {
    Compiling::by_itself(limits.component_bytes, limits.compile_memory_bytes, limits.compile_time)
}

/// Returns the grants of a plugin with these settings, `granted`, and the stores that follow from it. Their
/// use is noted in what `used` returns for the list or table, relative to the plugin's section, and the text.
pub(crate) fn grants(
    settings: Option<&BTreeMap<String, Setting>>,
    granted: &config::Grants,
    stores: Option<Stores>,
    used: impl Fn(&str, &str) -> Used,
) -> Grants {
    let gate = |commands: &Permissions| {
        let commands = commands.observed(|pattern| used("grants.commands", pattern.as_ref()));
        CommandGate(Arc::new(move |request| commands.allowing(request).map(Observed::note).is_some()))
    };
    let topics = |events: &Vec<EventGrant>| {
        let observed = |grant: &EventGrant| {
            Observed::new(grant.topics.clone(), used("grants.events", &grant.to_string()))
        };
        let listed =
            |may: fn(&EventGrant) -> bool| events.iter().filter(|grant| may(grant)).map(observed).collect();
        EventsGrant { publishes: listed(|grant| grant.publish), subscribes: listed(|grant| grant.subscribe) }
    };
    let to = |urls: &Vec<config::HttpUrl>| {
        let named = |granted: &config::HttpUrl| {
            Observed::new((granted.url.clone(), granted.networks.clone()), used("grants.http", &granted.url))
        };
        HttpGrant { urls: urls.iter().map(named).collect() }
    };
    let read = |settings: &BTreeMap<String, Setting>| {
        let read =
            settings.iter().filter_map(|(key, setting)| Some((key.clone(), setting.value()?.to_owned())));
        Observed::new(Settings(read.collect()), used("", "config"))
    };
    let at = |key: &'static str| {
        let used = &used;
        move |(name, path): &(String, PathBuf)| (name.clone(), Observed::new(path.clone(), used(key, name)))
    };
    let store = |(name, store): (String, Observed<Arc<dyn Store>>)| {
        let used = used("grants.keyvalue", &name);
        (name, Observed::new(Arc::clone(&store), used))
    };
    Grants {
        config: settings.map(read),
        logging: granted.logging,
        stores: stores.map(|stores| Stores(stores.0.into_iter().map(store).collect())),
        files: granted.files.as_ref().map(|files| files.iter().map(at("grants.files")).collect()),
        directories: granted.directories.iter().map(at("grants.directories")).collect(),
        commands: granted.commands.as_ref().map(gate),
        events: granted.events.as_ref().map(topics),
        http: granted.http.as_ref().map(to),
        is_written: granted.is_written,
    }
}
