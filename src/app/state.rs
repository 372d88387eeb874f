//! The engine that the config names, which stores plugins' state and clients' answers.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{Config, StateEngine};
use crate::state::sqlite;
use crate::state::{Engine, MemoryEngine, SqliteEngine, SqliteOptions};

pub use crate::state::sqlite::{ByHand, Existing, Listed, Progress};
pub use crate::state::{Entry, Key, Namespace, StateError};

/// Opens the engine. Creates no file if no plugin is granted a store and no answers are kept.
///
/// Blocks, usually for milliseconds.
fn open(config: &Config) -> anyhow::Result<Arc<dyn Engine>> {
    let Some(path) = file(config) else { return Ok(Arc::new(MemoryEngine::new())) };
    let options = SqliteOptions { max_file_bytes: config.state.file_size, ..SqliteOptions::default() };
    let engine = SqliteEngine::open(path, options).context("the state cannot be opened")?;
    tracing::info!(target: "lictor::app", path = %path.display(), "state opened");
    Ok(Arc::new(engine))
}

/// A server's engine, opened once there is something to store, which may be at a reload.
pub(super) struct Kept {
    engine: Arc<dyn Engine>,
    is_used: bool,
}

impl Kept {
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { engine: open(config)?, is_used: is_used(config) })
    }

    /// Returns the engine for `config`.
    pub(super) fn engine(&mut self, config: &Config) -> anyhow::Result<Arc<dyn Engine>> {
        if !self.is_used && is_used(config) {
            *self = Self::open(config)?;
        }
        Ok(Arc::clone(&self.engine))
    }

    pub(super) async fn close(&self) -> anyhow::Result<()> {
        self.engine.close().await.context("the plugins' state was not closed cleanly")
    }
}

/// Checks the state without opening it for writing, since another process may be using it.
pub(super) fn look(config: &Config) -> anyhow::Result<()> {
    match file(config) {
        Some(path) if path.exists() => sqlite::look(path).context("the plugins' state cannot be used"),
        _ => Ok(()),
    }
}

/// Returns true if there is something to store: stores of plugins, or answers to requests with an
/// `Idempotency-Key`.
fn is_used(config: &Config) -> bool {
    let mut granted = config.plugins.values().filter_map(|plugin| plugin.grants.keyvalue.as_ref());
    !config.limits.idempotency_window.is_zero() || granted.any(|stores| !stores.is_empty())
}

/// Returns the file that the server keeps the state of `config` in, if there is one.
pub(super) fn file(config: &Config) -> Option<&Path> {
    match config.state.engine {
        StateEngine::Sqlite if is_used(config) => config.state.path.as_deref(),
        StateEngine::Sqlite | StateEngine::Memory => None,
    }
}

/// Returns the existing file that holds the state of `config`, for inspection.
///
/// # Errors
///
/// If the state is not in a file, or the file does not exist yet.
pub fn state_file(config: &Config) -> anyhow::Result<&Path> {
    let path = match (config.state.engine, &config.state.path) {
        (StateEngine::Sqlite, Some(path)) => path,
        _ => anyhow::bail!(
            "the state is in the server's memory, not in a file: `state.engine` is not \"sqlite\"; to keep it in a file, \
             write `engine = \"sqlite\"` and a `path` into [state], and restart the server"
        ),
    };
    anyhow::ensure!(path.exists(), "there is no state yet: {} does not exist", path.display());
    Ok(path)
}

/// Copies the state of `config` to the file `target`, while a server may be using it; reports its progress.
///
/// # Errors
///
/// If the state is not in a file, or either file can't be used; if `target` exists and is to be kept.
pub fn back_up(
    config: &Config,
    target: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<()> {
    let source = state_file(config)?;
    Ok(sqlite::backup(source, target, existing, progress)?)
}
