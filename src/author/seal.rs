//! Removes imports that a component's toolchain added unasked.
//!
//! Python's runtime imports `wasi:sockets` whatever the plugin does, and plugins get no sockets.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve, WorldId, WorldKey};

/// Removes the imports of the WIT package `namespace:name` (for instance `wasi:sockets`) from `component`: a
/// call of any of their functions traps inside the component.
///
/// # Errors
///
/// The bytes are no component, import nothing of the package, or cannot do without it.
pub fn seal(component: &[u8], package: &str) -> Result<Vec<u8>> {
    let DecodedWasm::Component(mut resolve, world) = wit_component::decode(component)? else {
        bail!("it is no component");
    };
    let packages = imported(&resolve, world);
    if !packages.contains(package) {
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        bail!(
            "it imports nothing of a package {package:?}: {}",
            match &packages[..] {
                [] => "it imports no package at all, so there is nothing to take out".to_owned(),
                _ => format!("name one that it imports, without a version: {}", packages.join(", ")),
            }
        );
    }
    turn_round(&mut resolve, world, package);
    plug(component, &stub(&resolve, world)?)
}

/// The packages with imported interfaces, such as `wasi:io`.
fn imported(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let names = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
    names.filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect()
}

/// Turns the component's world into that of its stub: exports the imports from `package`, and nothing else.
fn turn_round(resolve: &mut Resolve, world: WorldId, package: &str) {
    let prefix = format!("{package}/");
    let keys: Vec<WorldKey> = resolve.worlds[world].imports.keys().cloned().collect();
    let names: Vec<String> = keys.iter().map(|key| resolve.name_world_key(key)).collect();
    let world = &mut resolve.worlds[world];
    world.exports.clear();
    for (key, name) in keys.iter().zip(names) {
        if name.starts_with(&prefix)
            && let Some(item) = world.imports.shift_remove(key)
        {
            world.exports.insert(key.clone(), item);
        } else if !name.starts_with("wasi:io/") && !name.starts_with("wasi:clocks/") {
            world.imports.shift_remove(key);
        }
    }
}

/// A component of this world whose functions trap.
fn stub(resolve: &Resolve, world: WorldId) -> Result<Vec<u8>> {
    let mut module = wit_component::dummy_module(resolve, world, ManglingAndAbi::Standard32);
    wit_component::embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.validate(true).encode().context("the stub")
}

/// Composes `component` and `stub`: the result imports whatever `component` does and `stub` does not export.
fn plug(component: &[u8], stub: &[u8]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let types = graph.types_mut();
    let package = Package::from_bytes("lictor:plugin", None, component.to_vec(), types)?;
    let socket = graph.register_package(package)?;
    let types = graph.types_mut();
    let package = Package::from_bytes("lictor:stub", None, stub.to_vec(), types)?;
    let plug = graph.register_package(package)?;
    wac_graph::plug(&mut graph, vec![plug], socket)?;
    Ok(graph.encode(EncodeOptions::default())?)
}
