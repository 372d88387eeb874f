//! C bindings from WIT, and components from core modules: what a plugin in C or Zig needs besides its
//! compiler.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wasmparser::{Parser, Payload};
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

use crate::debug_file::{Built, is_component, strip};

/// A file of the bindings: its name, without a folder, and its contents.
pub type File = (String, Vec<u8>);

/// C bindings of `world`, or of the only world, of the WIT package in the folder `wit`: `bindings.h`,
/// `bindings.c`, and the object file `bindings_component_type.o`, which carries the world into the linked
/// module for [`componentize`].
///
/// # Errors
///
/// There is no such package or world, or it has something that C cannot express.
///
/// Names in C begin with `bindings_` whatever the world's name, so that one `lictor.h` fits all worlds.
pub fn c_bindings(wit: &Path, world: Option<&str>) -> Result<Vec<File>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], world)?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { rename_world: Some("bindings".into()), ..Default::default() };
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files.iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect())
}

/// Turns a core module into a component. The module must be linked with the bindings' object file and import
/// only what its world has. The component keeps its functions' names, which traps are reported by; its debug
/// information is separated. There is no adapter for `wasi_snapshot_preview1`: a module that imports that is
/// refused. If the input already is a component, only its debug information is separated.
///
/// The author's files are in the folder `source_root`.
///
/// # Errors
///
/// The input is neither a component nor a core module with its world.
pub fn componentize(module: &[u8], source_root: &str) -> Result<Built> {
    if is_component(module) {
        return strip(module, source_root);
    }
    let asked = asked_of_the_system(module);
    if !asked.is_empty() {
        bail!(
            "the C library asks the system for {}, which a plugin has not: what C itself has for files, the environment, random \
             numbers and waiting does not work; see docs/languages.md, C",
            asked.join(", ")
        );
    }
    let encoder = ComponentEncoder::default().module(module);
    let encoder = encoder.context("it is no core module that was linked with its bindings")?;
    let whole = encoder.validate(true).encode().context("it does not fit its world")?;
    strip(&whole, source_root)
}

/// Functions of WASI preview 1 that the module imports. The C library calls them for `fopen`, `getenv` and
/// the like.
fn asked_of_the_system(module: &[u8]) -> Vec<&str> {
    let payloads = Parser::new(0).parse_all(module).filter_map(Result::ok);
    let sections = payloads.filter_map(|payload| match payload {
        Payload::ImportSection(imports) => Some(imports),
        _ => None,
    });
    let imports = sections.flat_map(|imports| imports.into_imports().filter_map(Result::ok));
    imports.filter(|import| import.module == "wasi_snapshot_preview1").map(|import| import.name).collect()
}
