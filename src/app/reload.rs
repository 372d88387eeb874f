//! A reload in two steps: the new config's removals apply at once, its additions once all of them are loaded.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};

use super::advice;
use super::live::{Live, Served};
use super::plugins::Plugins;
use super::service::{all_idempotency_limits, service, tls_files};
use super::usage::Watched;
use crate::config::{self, Applies, Change, Config, Faults, Kind, Loaded, PluginName};
use crate::plugin::Difference;
use crate::reload::{Begun, Stage};
use crate::server::{Current, tls_acceptor};
use crate::state::Engine;

impl Live {
    /// Rereads the config file, and narrows the state in force to it. The returned future loads the plugins
    /// on `workers` and then swaps everything at once; if dropped, it changes nothing more.
    ///
    /// # Errors
    ///
    /// All faults of the file and the certificates; then nothing is changed.
    pub(super) async fn reload(self: Arc<Self>, workers: Handle, stage: Stage) -> anyhow::Result<Begun> {
        let before = self.served();
        let (running, at) = (Arc::clone(&before), stage.clone());
        // Not on this thread, which handles signals.
        let reading = spawn_blocking(move || {
            let Loaded { config: wanted, digest, sightings, .. } = read(&running.config, &at)?;
            let acceptor = tls_acceptor(&tls_files(&wanted))?;
            anyhow::Ok((wanted, digest, sightings, acceptor))
        });
        let (wanted, digest, sightings, acceptor) = reading.await.context("the config cannot be read")??;
        let mut changes = config::diff(&before.config, &wanted);
        let config = Arc::new(wanted.applied_to(&before.config));
        let narrowed = self.narrow(&config);

        let loading = Box::pin(async move {
            let watched = Arc::new(self.usage.watched(&config.entries));
            let (plugins, engine, replaced) =
                self.load(Arc::clone(&config), Arc::clone(&watched), workers, stage).await?;
            changes.extend(new_components(&before.plugins, &plugins, &changes));
            let config = Arc::unwrap_or_clone(config);
            let old = self.served();
            let ledger = old.current.service.idempotency.renewed(engine, all_idempotency_limits(&config));
            let (running, exporting) = (Some(&*old.current.service), &self.exporting);
            let service = service(&config, &plugins, &watched, ledger, running);
            let service = Arc::new(exporting.serve(&config, service, running));
            let current = Current { service, acceptor, handshake_timeout: config.limits.handshake_timeout };
            plugins.reserve(&config);
            self.serve(Served { config, plugins, current });
            self.in_force.loaded(digest, sightings);
            for (plugin, difference) in replaced {
                let difference = difference.to_string();
                tracing::info!(target: "lictor::reload", %plugin, difference, "a component was replaced");
            }
            Ok(changes)
        });
        Ok(Begun { narrowed, loading })
    }

    /// Loads the plugins of `config` on `workers`, and compares replaced components; dropping the future
    /// stops it.
    async fn load(
        self: &Arc<Self>,
        config: Arc<Config>,
        watched: Arc<Watched>,
        workers: Handle,
        stage: Stage,
    ) -> anyhow::Result<(Plugins, Arc<dyn Engine>, Vec<(PluginName, Difference)>)> {
        let live = Arc::clone(self);
        let mut loading = JoinSet::new();
        let load = async move {
            let engine = live.state.lock().await.engine(&config)?;
            let old = live.served();
            let at = |plugin: &PluginName| stage.set(&format!("loading plugin {plugin}"));
            let plugins = old.plugins.renewed(&config, &*engine, &watched, at).await?;
            advice::log(&advice::advice(&config, &plugins, SystemTime::now()));
            let replaced = plugins.replaced_since(&old.plugins);
            Ok((plugins, engine, replaced))
        };
        loading.spawn_on(load, &workers);
        loading.join_next().await.context("nothing was loaded")?.context("the plugins cannot be loaded")?
    }

    /// Narrows the state in force to `wanted`; returns the removals.
    fn narrow(&self, wanted: &Config) -> Vec<Change> {
        let old = self.served();
        let config = old.config.narrowed_to(wanted);
        let narrowed = config::diff(&old.config, &config);
        if narrowed.is_empty() {
            return narrowed;
        }
        let watched = self.usage.watched(&config.entries);
        let plugins = old.plugins.narrowed_to(&config, &watched);
        let ledger = old.current.service.idempotency.limited(all_idempotency_limits(&config));
        let running = Some(&*old.current.service);
        let service = service(&config, &plugins, &watched, ledger, running);
        let service = Arc::new(self.exporting.serve(&config, service, running));
        self.serve(Served { config, plugins, current: Current { service, ..old.current.clone() } });
        narrowed
    }
}

/// Rereads the config file of `running`.
fn read(running: &Config, stage: &Stage) -> anyhow::Result<Loaded> {
    let loaded = config::load_again(running);
    stage.has_read(loaded.as_ref().map_or_else(Faults::sightings, |loaded| &loaded.sightings));
    let loaded = loaded.map_err(|faults| anyhow!("{}\n\n{faults}", faults.headline()))?;
    advice::log(&loaded.warnings);
    Ok(loaded)
}

/// Returns plugins whose component has changed, although none of their keys has.
fn new_components(old: &Plugins, new: &Plugins, changes: &[Change]) -> Vec<Change> {
    let keys = new.new_since(old).into_iter().map(PluginName::key);
    let is_told = |key: &String| changes.iter().any(|change| change.key.starts_with(key.as_str()));
    let components = keys.filter(|key| !is_told(key)).map(|key| format!("{key}.component"));
    components.map(|key| Change { key, applies: Applies::Live, kind: Kind::Changed }).collect()
}
