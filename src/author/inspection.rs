//! A component inspected without a server: its type, and its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use super::fixtures::{DEFAULT_STORE, everything, open_stores, small_sandbox, unserved};
use crate::app::single_threaded;
use crate::config::CommandName;
use crate::plugin::{self, CommandInfo, Compiling, CoreDumps, Inspection};
use crate::state::MemoryEngine;
use crate::text::{InvalidText, shown};

/// The facts in a component's type, and its commands, or the reason why it does not load with everything
/// granted.
pub type Inspected = (Inspection, anyhow::Result<Vec<CommandInfo>>);

/// Inspects the component in the file `path`, and asks it for its commands.
///
/// # Errors
///
/// The file can't be read, or is no component.
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

/// Returns the faults in the names of a plugin's commands. No config can name such a command, so nobody could
/// call it.
#[must_use]
pub fn name_faults(commands: &[CommandInfo]) -> Option<String> {
    let mut names = BTreeSet::new();
    let faults = commands.iter().filter_map(|CommandInfo { name, .. }| match CommandName::from_str(name) {
        Err(InvalidText { what, .. }) => Some(format!("\"{}\": {what}", shown(name, MAX_NAME_CHARS))),
        Ok(_) if !names.insert(name) => Some(format!("\"{name}\": it is there twice")),
        Ok(_) => None,
    });
    let faults: Vec<_> = faults.take(MAX_NAME_FAULTS).collect();
    let words = "its `describe` has invalid command names; rename them in the plugin's source:";
    (!faults.is_empty()).then(|| format!("{words}\n{}", faults.join("\n")))
}

/// Most faulty names that are listed, and characters of each that are shown.
const MAX_NAME_FAULTS: usize = 16;
const MAX_NAME_CHARS: usize = 64;

/// Bounds on an inspected component while it describes itself.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;
