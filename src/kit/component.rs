//! C bindings from WIT, and components from core modules: what a plugin in C or Zig needs beside its compiler.

use std::path::Path;

use anyhow::{Context as _, Result};
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

/// A file of the bindings: its name, without a folder, and its content.
pub type File = (String, Vec<u8>);

/// C bindings of `world`, or of the only world, of the WIT package in the folder `wit`: `bindings.h`, `bindings.c`, and the object file
/// `bindings_component_type.o`, which carries the world into the linked module for [`componentize`].
///
/// # Errors
///
/// When there is no such package or world, or it has what C can't have.
///
/// Names in C begin with `bindings_` whatever the world is called, so that one `lictor.h` fits all worlds.
pub fn c_bindings(wit: &Path, world: Option<&str>) -> Result<Vec<File>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], world)?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { rename_world: Some("bindings".into()), ..Default::default() };
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files.iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect())
}

/// The component that a core module is, if it was linked with the bindings' object file and imports only what its
/// world has, without its debug information, but with its functions' names, by which traps are told. There is no adapter for `wasi_snapshot_preview1`: a module which imports that is refused.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(&without_debug(module)?)
        .context("it is no core module that was linked with its bindings")?;
    encoder.validate(true).encode().context("it does not fit its world")
}

fn without_debug(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = wasm_encoder::Module::new();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        let payload = payload?;
        let is_debug = matches!(&payload, wasmparser::Payload::CustomSection(section) if section.name().starts_with(".debug_"));
        if let Some((id, range)) = payload.as_section()
            && !is_debug
        {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            kept.section(&wasm_encoder::RawSection { id, data: &module[range] });
        }
    }
    Ok(kept.finish())
}
