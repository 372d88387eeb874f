//! The plugins of a config: loaded, each with what it is granted and no more.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::config::{self, CommandPattern, Config, EventGrant, PluginName, StoreGrant};
use crate::plugin::{
    CommandGate, CoreDumps, EventsGrant, Grants, HttpGrant, Instances, Kept, Plugin, Sandbox, SandboxLimits,
    Spec, Stores, VolumeLimits,
};
use crate::state::{Engine, Namespace, Quota};

/// Loads all plugins, one after the other: each compilation uses all cores. Reports every plugin that can't be loaded, not
/// the first only.
pub(super) async fn load(
    config: &Config,
    state: &dyn Engine,
) -> anyhow::Result<Vec<(PluginName, Arc<Plugin>)>> {
    let limits = &config.limits;
    let bounds = SandboxLimits {
        concurrent_calls: u32::try_from(limits.concurrent_commands).unwrap_or(u32::MAX),
        concurrent_streams: u32::try_from(limits.concurrent_streams).unwrap_or(u32::MAX),
        waiting_calls: limits.queue,
        max_wait: limits.queue_timeout,
        memory_bytes: limits.plugin_memory_bytes,
        http_requests: limits.http_requests,
    };
    let core_dumps = config.server.core_dumps.as_deref().map_or(CoreDumps::None, CoreDumps::In);
    let kept = Kept { compiled: Some(&config.server.cache), core_dumps };
    let sandbox = Arc::new(Sandbox::new(bounds, kept)?);
    let mut plugins = Vec::new();
    let mut faults = Vec::new();
    for (name, plugin) in &config.plugins {
        let began = Instant::now();
        let stores = open_stores(config, name, state).await?;
        match Plugin::load(Arc::clone(&sandbox), spec(name, plugin, stores)).await {
            Ok(plugin) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(target: "lictor::plugin", plugin = %name, millis, "loaded");
                plugins.push((name.clone(), Arc::new(plugin)));
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    // The process does not end before it is done, and nobody waits for it else.
    tokio::task::spawn_blocking(move || sandbox.prune_cache());
    Ok(plugins)
}

/// The stores that the plugin `name` was granted, by the names by which it opens them. A store's quota is its owner's,
/// whoever writes to it.
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
        let quota = config.plugins.get(owner).map_or_else(Quota::default, |owner| Quota {
            max_keys: owner.store_keys,
            max_bytes: owner.store_bytes,
        });
        let opened = state.open(Namespace::new(owner.as_ref(), store.as_ref()), quota).await;
        let opened = opened.with_context(|| format!("plugin {name}: the store {grant} cannot be opened"))?;
        stores.0.insert(grant.to_string(), opened);
    }
    Ok(Some(stores))
}

fn spec(name: &PluginName, plugin: &config::Plugin, stores: Option<Stores>) -> Spec {
    Spec {
        name: name.as_ref().into(),
        component: plugin.component.clone(),
        sha256: plugin.sha256,
        instances: match plugin.instances {
            config::Instances::PerRequest => Instances::PerRequest,
            config::Instances::PerClient => Instances::PerClient,
            config::Instances::Shared => Instances::Shared,
        },
        timeout: plugin.timeout,
        cpu_time: plugin.cpu_time,
        volume: VolumeLimits { calls: plugin.host_calls, bytes: plugin.host_bytes },
        memory_bytes: plugin.memory_bytes,
        reply_bytes: plugin.reply_bytes,
        concurrency: plugin.concurrency,
        max_calls: plugin.max_calls,
        idle: plugin.idle,
        grants: grants(plugin, stores),
    }
}

fn grants(plugin: &config::Plugin, stores: Option<Stores>) -> Grants {
    let granted = &plugin.grants;
    let gate = |commands: &Vec<CommandPattern>| {
        let commands = commands.clone();
        CommandGate(Arc::new(move |command| commands.iter().any(|pattern| pattern.allows(command))))
    };
    let topics = |events: &Vec<EventGrant>| {
        let listed = |may: fn(&EventGrant) -> bool| {
            events.iter().filter(|grant| may(grant)).map(|grant| grant.topics.clone()).collect()
        };
        EventsGrant { publishes: listed(|grant| grant.publish), subscribes: listed(|grant| grant.subscribe) }
    };
    let to = |urls: &Vec<String>| HttpGrant { urls: urls.clone(), networks: granted.http_networks.clone() };
    Grants {
        config: plugin.config.clone(),
        logging: granted.logging,
        stores,
        files: granted.files.as_ref().map(|files| files.iter().cloned().collect()),
        directories: granted.directories.clone(),
        commands: granted.commands.as_ref().map(gate),
        events: granted.events.as_ref().map(topics),
        http: granted.http.as_ref().map(to),
    }
}
