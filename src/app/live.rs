//! The running server: its state in force, which can be read without waiting, and its start.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::advice;
use super::in_force::InForce;
use super::memory;
use super::operator::Operator;
use super::plugins::Plugins;
use super::service::{admission_limits, all_idempotency_limits, service, tls_files};
use super::state;
use super::traces::Exporting;
use super::usage::Usage;
use crate::config::Config;
use crate::idempotency::Ledger;
use crate::server::{Current, Server, tls_acceptor};
use crate::sync::locked;
use crate::watermark::Watch;

/// A server, and its state in force.
pub(super) struct Live {
    pub(super) server: Server,
    _memory: Watch,
    pub(super) exporting: Exporting,
    pub(super) usage: Arc<Usage>,
    pub(super) in_force: Arc<InForce>,
    /// Locked only for an assignment, never while anything is loaded: stopping and housekeeping read it.
    served: Mutex<Arc<Served>>,
    /// Locked while plugins are loaded, and otherwise only by [`Self::close`].
    pub(super) state: tokio::sync::Mutex<state::Kept>,
}

/// The state in force. A reload swaps all of it.
pub(super) struct Served {
    pub(super) config: Config,
    pub(super) plugins: Plugins,
    pub(super) current: Current,
}

impl Live {
    /// Does everything that precedes the first socket. Compiled plugins are kept in `cache`.
    pub(super) async fn start(config: Config, cache: &Path, operator: Arc<Operator>) -> anyhow::Result<Self> {
        let acceptor = tls_acceptor(&tls_files(&config))?;
        let mut state = state::Kept::open(&config)?;
        let engine = state.engine(&config)?;
        let (usage, in_force) = (Arc::clone(&operator.usage), Arc::clone(&operator.in_force));
        let watched = usage.watched(&config.entries);
        let plugins = Plugins::load(&config, cache, &*engine, &watched).await?;
        let ledger = Ledger::new(engine, all_idempotency_limits(&config));
        let exporting = Exporting::new(Handle::current());
        let service = service(&config, &plugins, &watched, ledger, None);
        let service = Arc::new(exporting.serve(&config, service, None));
        advice::log(&advice::advice(&config, &plugins, SystemTime::now()));
        let current = Current { service, acceptor, handshake_timeout: config.limits.handshake_timeout };
        let server = Server::new(current.clone(), admission_limits(&config), Some(operator))?;
        let memory = memory::watch(&config, plugins.sandbox(), &server)?;
        usage.serve(&config.entries);
        in_force.serve(&config);
        let served = Mutex::new(Arc::new(Served { config, plugins, current }));
        let state = tokio::sync::Mutex::new(state);
        Ok(Self { server, _memory: memory, exporting, usage, in_force, served, state })
    }

    /// Returns the state in force.
    pub(super) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.lock())
    }

    /// Puts `next` in force.
    pub(super) fn serve(&self, next: Served) {
        memory::set_mark(&next.config);
        self.usage.serve(&next.config.entries);
        self.in_force.serve(&next.config);
        self.server.swap(next.current.clone());
        *self.lock() = Arc::new(next);
    }

    /// Does periodic housekeeping.
    pub(super) fn look_after(&self, now: Instant) {
        let served = self.served();
        served.plugins.iter().for_each(|(_, plugin)| plugin.retire_idle(now));
    }

    /// Closes everything that needs an orderly close.
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        let usage = Arc::clone(&self.usage);
        let saved = spawn_blocking(move || usage.save());
        self.served().current.service.idempotency.close().await;
        // A panic is logged where it happens.
        let _ = saved.await;
        self.state.lock().await.close().await
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Served>> {
        locked(&self.served)
    }
}
