//! A component's world, and the exports by which its instances are entered.

use wasmparser::{Chunk, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex};

/// The package that plugins are built against.
pub(super) const PACKAGE: &str = "lictor:plugin";

/// The kinds of plugins. A component's exports tell its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// Its commands return one reply each.
    Plugin,
    /// Its commands return streams.
    StreamingPlugin,
}

impl World {
    /// Detects the world of the component in `bytes`, before it is compiled: each world has its own engine.
    /// Bytes that are no component count as `world plugin`, and are found out later.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let wanted = format!("{PACKAGE}/{}", Self::StreamingPlugin.commands());
        let mut streams = false;
        walk(bytes, |payload| {
            if let Payload::ComponentExportSection(section) = payload {
                let mut exports = section.clone().into_iter().map_while(Result::ok);
                streams |= exports.any(|export| split_version(export.name.name).0 == wanted);
            }
        });
        if streams { Self::StreamingPlugin } else { Self::Plugin }
    }

    /// Returns its name in `wit/`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::StreamingPlugin => "streaming-plugin",
        }
    }

    /// Returns the world of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Plugin, Self::StreamingPlugin].into_iter().find(|world| world.name() == name)
    }

    /// Returns the interface of its commands.
    pub(super) fn commands(self) -> &'static str {
        match self {
            Self::Plugin => "commands",
            Self::StreamingPlugin => "streaming-commands",
        }
    }
}

/// Shows `look` the sections of the component in `bytes`, as many as can be read. Runs before anything bounds
/// the component's cost, so it goes over the bytes once and keeps nothing.
pub(super) fn walk(mut bytes: &[u8], mut look: impl FnMut(&Payload<'_>)) {
    let mut parser = Parser::new(0);
    while let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(bytes, true) {
        let skipped = match payload {
            // The contents of a nested module or component are skipped.
            Payload::ModuleSection { unchecked_range: range, .. }
            | Payload::ComponentSection { unchecked_range: range, .. } => range.end - range.start,
            Payload::End(_) => break,
            payload => {
                look(&payload);
                0
            }
        };
        let Some(rest) = bytes.get(consumed.saturating_add(skipped)..) else { break };
        bytes = rest;
    }
}

/// Returns the function by which an instance of `component` stays entered, if it exports one of a version
/// that this host runs.
pub(super) fn worker(component: &Component, engine: &Engine) -> Option<ComponentExportIndex> {
    function(component, engine, "worker", "run")
}

/// Returns the function that carries out one command, if `component` exports it in a version that this host
/// runs.
pub(super) fn handle(component: &Component, engine: &Engine) -> Option<ComponentExportIndex> {
    function(component, engine, "commands", "handle")
}

fn function(
    component: &Component,
    engine: &Engine,
    interface: &str,
    function: &str,
) -> Option<ComponentExportIndex> {
    let world = component.component_type();
    let wanted = format!("{PACKAGE}/{interface}");
    let exports: Vec<String> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let export = exports.iter().find(|export| {
        let (interface, version) = split_version(export);
        interface == wanted && matches!(version, Some((0, 1, _)))
    })?;
    let interface = component.get_export_index(None, export)?;
    component.get_export_index(Some(&interface), function)
}

/// Splits `wasi:io/poll@0.2.6` into `wasi:io/poll` and its version.
pub(super) fn split_version(name: &str) -> (&str, Option<(u64, u64, u64)>) {
    let Some((interface, version)) = name.split_once('@') else { return (name, None) };
    let mut parts = version.splitn(3, '.');
    let mut number = || parts.next().and_then(|part| part.split(['-', '+']).next()?.parse().ok());
    let version = (|| Some((number()?, number()?, number()?)))();
    (interface, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_told_by_exports_alone() {
        let component = |export: &str| {
            // The exports of a nested component do not count.
            let inner = r#"(component (instance $i) (export "lictor:plugin/streaming-commands@0.1.0" (instance $i)))"#;
            let text = format!(
                r#"(component {inner} (core module) (instance $i) (export "{export}" (instance $i)))"#
            );
            wat::parse_str(text).unwrap()
        };
        assert_eq!(World::of(&component("lictor:plugin/commands@0.1.0")), World::Plugin);
        for version in ["0.1.0", "0.1.7", "0.2.0"] {
            let streams = component(&format!("lictor:plugin/streaming-commands@{version}"));
            assert_eq!(World::of(&streams), World::StreamingPlugin);
            assert_eq!(World::of(&streams[..streams.len() / 2]), World::Plugin, "cut off");
        }
        assert_eq!(World::of(b"nonsense"), World::Plugin);
    }
}
