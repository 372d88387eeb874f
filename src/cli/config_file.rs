//! The config file that a verb is given, or finds in the current folder.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::output;
use crate::config::{self, Config, Faults, Loaded};
use crate::files::{Fault, Opened};

/// Default config file, in the current folder.
pub(super) const CONFIG_FILE: &str = "server.toml";

/// The config file of `serve` and `check`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFile {
    /// Config file
    #[arg(long = "config", value_name = "FILE", default_value = CONFIG_FILE)]
    pub(super) path: PathBuf,
}

/// Loads a config only to locate a server or its state: it may belong to another user.
pub(super) fn load_named_config(path: &Path) -> Result<Loaded, Failure> {
    load_by(config::load_of_anybody, path)
}

/// Loads the config, or reports all its faults.
pub(super) fn load_by(load: fn(&Path) -> Result<Loaded, Faults>, path: &Path) -> Result<Loaded, Failure> {
    want_file(path)?;
    load(path).map_err(|faults| {
        output::faults(|style| faults.render(style));
        Failure::told(Exit::Usage)
    })
}

/// Requires a config file at `path`.
pub(super) fn want_file(path: &Path) -> Result<(), Failure> {
    if !is_missing(path) {
        return Ok(());
    }
    let advice = "make one with `lictor init`, or name another with --config FILE";
    Err(Failure::usage(format!("there is no {}: {advice}", path.display())))
}

/// Returns true if the file certainly does not exist: one in an inaccessible folder might.
pub(super) fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Requires that the config file of the current folder, and the folder, belong to this user or root: the
/// config chooses the server, the certificate by which that is known, and the key to use.
pub(super) fn want_own_config() -> Result<(), Failure> {
    let refused = |fault: Fault| {
        Failure::usage(format!(
            "{CONFIG_FILE} in this folder is not used, as others may have written it: {}: {}. It chooses the server, the \
             key and the file of the state; to use it all the same, name it: --config ./{CONFIG_FILE}",
            fault.path.display(),
            fault.what()
        ))
    };
    if !Path::new(CONFIG_FILE).exists() {
        return Ok(()); // whoever loads it tells that
    }
    let file = Opened::file(Path::new(CONFIG_FILE)).and_then(Opened::trusted);
    file.and_then(|_| Opened::folder(Path::new(".")).and_then(Opened::trusted)).map(drop).map_err(refused)
}

impl ConfigFile {
    /// Requires that the file is there, and that it was named, or is this user's or root's.
    pub(super) fn want(&self) -> Result<(), Failure> {
        if self.path == Path::new(CONFIG_FILE) {
            want_own_config()?;
        }
        want_file(&self.path)
    }
}

/// Loads the config that locates the state.
pub(super) fn load_of_state(file: &ConfigFile) -> Result<Config, Failure> {
    file.want()?;
    Ok(load_named_config(&file.path)?.config)
}
