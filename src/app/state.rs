//! Where plugins' state is kept: the engine that the config names.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{Config, StateEngine};
use crate::state::sqlite::{self, Existing};
use crate::state::{Engine, MemoryEngine, SqliteEngine, SqliteOptions};

pub use crate::state::sqlite::Progress;

/// Opens the engine. Where no plugin is granted a store there is nothing to keep, and no file is made.
///
/// It blocks, for milliseconds as a rule.
pub(super) fn open(config: &Config) -> anyhow::Result<Arc<dyn Engine>> {
    let Some(path) = file(config) else { return Ok(Arc::new(MemoryEngine::new())) };
    let options = SqliteOptions { max_file_bytes: config.state.file_size, ..SqliteOptions::default() };
    let engine = SqliteEngine::open(path, options).context("the plugins' state cannot be opened")?;
    tracing::info!(path = %path.display(), "state opened");
    Ok(Arc::new(engine))
}

/// What can be said of the state without opening it for writing: another process may be using it.
pub(super) fn look(config: &Config) -> anyhow::Result<()> {
    match file(config) {
        Some(path) if path.exists() => sqlite::look(path).context("the plugins' state cannot be used"),
        _ => Ok(()),
    }
}

fn file(config: &Config) -> Option<&Path> {
    let is_used = config
        .plugins
        .values()
        .any(|plugin| plugin.grants.keyvalue.as_ref().is_some_and(|stores| !stores.is_empty()));
    match config.state.engine {
        StateEngine::Sqlite if is_used => config.state.path.as_deref(),
        StateEngine::Sqlite | StateEngine::Memory => None,
    }
}

/// Copies the state of `config` to the file `target`, while a server may be using it; tells of its progress.
///
/// # Errors
///
/// When the state is not in a file, or either file can't be used; when `target` is there and `replace` is not said.
pub fn back_up(
    config: &Config,
    target: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<()> {
    let source = match (config.state.engine, &config.state.path) {
        (StateEngine::Sqlite, Some(path)) => path,
        _ => anyhow::bail!("there is nothing to back up: `state.engine` is not \"sqlite\""),
    };
    anyhow::ensure!(source.exists(), "there is no state yet: {} is not there", source.display());
    let existing = if replace { Existing::Replace } else { Existing::Keep };
    Ok(sqlite::backup(source, target, existing, progress)?)
}
