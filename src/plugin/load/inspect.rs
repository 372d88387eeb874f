//! Inspects a component file, and tries to load it.

use std::sync::Arc;

use super::compile::compile;
use super::fit::{self, Standing};
use super::of_compiled;
use crate::plugin::plugin::Plugin;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::spec::{LoadError, Spec};
use crate::text::{Foreign, shown};

/// Everything that a component's type alone tells.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The file's size.
    pub size_bytes: usize,
    /// Its imports, made safe to show, each with a plugin's right to import it.
    pub imports: Vec<(String, Standing)>,
    /// Its exports, made safe to show.
    pub exports: Vec<String>,
}

/// Characters of a name that are shown.
const MAX_NAME_CHARS: usize = 256;

/// Inspects the component of `spec`, and loads it.
///
/// # Errors
///
/// If the component can't be read, or is none.
pub async fn inspect(
    sandbox: Arc<Sandbox>,
    spec: Spec,
) -> Result<(Inspection, Result<Plugin, LoadError>), Foreign> {
    let compiled = compile(&sandbox, &spec, |_, _| Ok(())).await?;
    let world = compiled.component.component_type();
    let engine = compiled.engine.wasmtime();
    let shown = |name| shown(name, MAX_NAME_CHARS).to_string();
    let imports = world.imports(engine).map(|(name, _)| (shown(name), fit::standing(name)));
    let exports = world.exports(engine).map(|(name, _)| shown(name));
    let inspection = Inspection {
        size_bytes: compiled.size_bytes,
        imports: imports.collect(),
        exports: exports.collect(),
    };
    let plugin = of_compiled(&compiled, sandbox, spec).await;
    Ok((inspection, plugin))
}
