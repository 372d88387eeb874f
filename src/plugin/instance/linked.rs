//! A linked component: what its instances export, and how they are entered.

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Func, InstancePre, TypedFunc};

use crate::plugin::bindings::streaming::{StreamingPlugin, StreamingPluginIndices};
use crate::plugin::bindings::{Plugin, PluginIndices};
use crate::plugin::host::context::HostState;
use crate::plugin::world::World;

/// A linked component, from which instances are made.
pub(in crate::plugin) struct Linked {
    component: InstancePre<HostState>,
    exports: Indices,
    entry: Entry,
}

/// Indices of the world's exports in a component.
enum Indices {
    Plugin(PluginIndices),
    Streaming(StreamingPluginIndices),
}

/// Exports by which instances are entered. Looking one up costs a fresh instance a part of its call.
#[derive(Clone, Copy)]
pub(in crate::plugin) enum Entry {
    /// Only `handle`: there will be one call.
    Handle(ComponentExportIndex),
    /// All that the world exports.
    World,
    /// All of them, and the function by which the instance stays entered.
    Worker(ComponentExportIndex),
}

/// Purpose of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Purpose {
    /// To be asked for its commands.
    Description,
    /// To carry them out.
    Calls,
}

impl Linked {
    /// The component.
    pub(in crate::plugin) fn component(&self) -> &Component {
        self.component.component()
    }

    /// Takes `component` of `world`, whose instances are entered by `entry`.
    ///
    /// # Errors
    ///
    /// If it lacks an export of its world.
    pub(in crate::plugin) fn new(
        component: InstancePre<HostState>,
        world: World,
        entry: Entry,
    ) -> wasmtime::Result<Self> {
        let exports = match world {
            World::Plugin => Indices::Plugin(PluginIndices::new(&component)?),
            World::StreamingPlugin => Indices::Streaming(StreamingPluginIndices::new(&component)?),
        };
        Ok(Self { exports, component, entry })
    }

    /// Returns true if instances stay entered.
    pub(in crate::plugin) fn is_worker(&self) -> bool {
        matches!(self.entry, Entry::Worker(_))
    }

    pub(super) async fn instantiate(
        &self,
        store: &mut Store<HostState>,
        purpose: Purpose,
    ) -> wasmtime::Result<Exports> {
        let instance = self.component.instantiate_async(&mut *store).await?;
        if let (Entry::Handle(handle), Purpose::Calls) = (self.entry, purpose) {
            let handle = instance.get_func(&mut *store, handle);
            let handle = handle.ok_or_else(|| wasmtime::format_err!("it has no `commands.handle`"))?;
            return Ok(Exports { commands: Commands::Handle(handle), worker: None });
        }
        let commands = match &self.exports {
            Indices::Plugin(indices) => Commands::Plugin(indices.load(&mut *store, &instance)?),
            Indices::Streaming(indices) => Commands::Streaming(indices.load(&mut *store, &instance)?),
        };
        let worker = match self.entry {
            Entry::Worker(worker) => Some(instance.get_typed_func(&mut *store, worker)?),
            Entry::Handle(_) | Entry::World => None,
        };
        Ok(Exports { commands, worker })
    }
}

/// The exports of an instance.
pub(super) struct Exports {
    pub(super) commands: Commands,
    pub(super) worker: Option<TypedFunc<(), ()>>,
}

/// The commands of an instance.
pub(super) enum Commands {
    Handle(Func),
    Plugin(Plugin),
    Streaming(StreamingPlugin),
}
