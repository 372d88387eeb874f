//! Inspects a component file, and tries to load it.

use std::sync::Arc;

use wasmparser::Payload;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compile::compile;
use super::fit::{self, Standing};
use super::of_compiled;
use crate::plugin::plugin::Plugin;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::spec::{LoadError, Spec};
use crate::plugin::world::{World, walk};
use crate::text::{Foreign, shown};

/// Everything that a component's type alone tells.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The file's size.
    pub size_bytes: usize,
    /// The file's SHA-256.
    pub sha256: [u8; 32],
    /// The name of its world.
    pub world: &'static str,
    /// Its imports, made safe to show, each with a plugin's right to import it.
    pub imports: Vec<(String, Standing)>,
    /// Its exports, made safe to show.
    pub exports: Vec<String>,
}

/// Facts about a component that its type does not tell.
pub(super) struct Facts {
    pub(super) size_bytes: usize,
    pub(super) sha256: [u8; 32],
    pub(super) world: World,
}

impl Inspection {
    pub(super) fn of(component: &Component, engine: &Engine, facts: Facts) -> Self {
        let types = component.component_type();
        let imports = types.imports(engine).map(|(name, _)| name);
        Self::new(imports, types.exports(engine).map(|(name, _)| name), facts)
    }

    /// Inspects bytes that need not be valid, as far as they can be read, up to [`MOST_NAMES`].
    pub(super) fn of_bytes(bytes: &[u8], sha256: [u8; 32]) -> Self {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        walk(bytes, |payload| match payload {
            Payload::ComponentImportSection(section) => {
                let names = section.clone().into_iter().map_while(Result::ok);
                let names = names.take(MOST_NAMES - imports.len());
                imports.extend(names.map(|import| import.name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) => {
                let names = section.clone().into_iter().map_while(Result::ok);
                let names = names.take(MOST_NAMES - exports.len());
                exports.extend(names.map(|export| export.name.name.to_owned()));
            }
            _ => {}
        });
        let facts = Facts { size_bytes: bytes.len(), sha256, world: World::of(bytes) };
        Self::new(imports.iter().map(String::as_str), exports.iter().map(String::as_str), facts)
    }

    fn new<'n>(
        imports: impl Iterator<Item = &'n str>,
        exports: impl Iterator<Item = &'n str>,
        facts: Facts,
    ) -> Self {
        let shown = |name| shown(name, MAX_NAME_CHARS).to_string();
        Self {
            size_bytes: facts.size_bytes,
            sha256: facts.sha256,
            world: facts.world.name(),
            imports: imports.map(|name| (shown(name), fit::standing(name))).collect(),
            exports: exports.map(shown).collect(),
        }
    }
}

/// Most imports, and most exports, of bytes that nothing has checked: a file may hold millions, and each name
/// takes some hundred bytes with its standing.
const MOST_NAMES: usize = 10_000;

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
    let inspection = Inspection::of(
        &compiled.component,
        compiled.engine.wasmtime(),
        Facts { size_bytes: compiled.size_bytes, sha256: compiled.sha256, world: compiled.world },
    );
    let plugin = of_compiled(&compiled, sandbox, spec).await;
    Ok((inspection, plugin))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn names_of_unchecked_bytes_are_bounded() {
        let mut text = "(component (core module) (instance $i)".to_owned();
        for number in 0..MOST_NAMES + 10 {
            write!(text, "(import \"a:b/c{number}\" (instance)) (export \"x{number}\" (instance $i))")
                .unwrap();
        }
        let bytes = wat::parse_str(text + ")").unwrap();
        let inspection = Inspection::of_bytes(&bytes, [0; 32]);
        assert_eq!((inspection.imports.len(), inspection.exports.len()), (MOST_NAMES, MOST_NAMES));
        assert_eq!(inspection.imports[1].0, "a:b/c1");
        let part = Inspection::of_bytes(&bytes[..bytes.len() / 2], [0; 32]);
        assert!(part.imports.len() <= MOST_NAMES);
        assert!(Inspection::of_bytes(b"nonsense", [0; 32]).imports.is_empty());
    }
}
