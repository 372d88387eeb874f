//! What a component file is, without running it.

use std::path::Path;

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use super::load::check_form;
use super::world::{self, Standing};

/// What can be said of a component by its type alone.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The file's size.
    pub size_bytes: usize,
    /// What it imports, and whether a plugin may.
    pub imports: Vec<(String, Standing)>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// Looks at the component in the file `path`.
///
/// # Errors
///
/// Why it can't be read, or is no component.
pub fn inspect(path: &Path) -> Result<Inspection, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    check_form(&bytes)?;
    let engine = Engine::new(&Config::new()).map_err(|error| format!("there is no engine: {error:#}"))?;
    let component =
        Component::new(&engine, &bytes).map_err(|error| format!("it is not a valid component: {error:#}"))?;
    let world = component.component_type();
    let imports = world.imports(&engine).map(|(name, _)| (name.to_owned(), world::standing(name)));
    let exports = world.exports(&engine).map(|(name, _)| name.to_owned());
    Ok(Inspection { size_bytes: bytes.len(), imports: imports.collect(), exports: exports.collect() })
}
