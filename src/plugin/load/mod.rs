//! Loads plugins: reads a component, compiles it, checks that it fits its world and its grants, links it, and
//! asks it for its commands.

pub(super) mod alone;
mod blocking;
pub(super) mod cache;
mod compile;
pub(super) mod compiler;
pub(super) mod compiling;
mod confine;
pub(super) mod debug;
mod definitions;
mod describe;
pub(super) mod difference;
pub(super) mod fit;
pub(super) mod folder;
pub(super) mod hopeless;
pub(super) mod inspect;

use std::sync::Arc;

use self::blocking::blocking;
use self::compile::{Compiled, compile};
use super::cpu::hint::CpuHint;
use super::host;
use super::host::stdio::PluginLog;
use super::instance::linked::{Entry, Linked};
use super::plugin::{Loaded, Plugin};
use super::sandbox::Sandbox;
use super::spec::{Instances, LoadError, Spec};
use super::world::{self, World};

impl Plugin {
    /// Loads the component of `spec` and asks it for its commands.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is no component, does not fit the world, needs an interface that is not
    /// there, or fails to describe itself within its limits.
    pub async fn load(sandbox: Arc<Sandbox>, spec: Spec) -> Result<Self, LoadError> {
        let check = |bytes: &[u8], spec: &Spec| fit::check_imports(bytes, &spec.key, &spec.grants);
        match compile(&sandbox, &spec, check).await {
            Ok(compiled) => of_compiled(&compiled, sandbox, spec).await,
            Err(reason) => Err(spec.error(reason)),
        }
    }

    /// Returns true if its component file and the debug file beside it are unchanged since it was loaded.
    pub async fn is_of_its_files(&self) -> bool {
        let (spec, Loaded { debug, sha256, .. }) = self.parts();
        let (spec, debug, sha256) = (spec.clone(), Arc::clone(debug), *sha256);
        let reading = blocking(move || Ok((compile::hash_of(&spec)?, debug.is_of_its_file(&spec))));
        reading.await.is_ok_and(|(found, is_debug)| is_debug && found == sha256)
    }
}

/// Makes a plugin of a compiled component.
async fn of_compiled(of: &Compiled, sandbox: Arc<Sandbox>, spec: Spec) -> Result<Plugin, LoadError> {
    let linked = link(of, &spec).map_err(|reason| spec.error(reason))?;
    host::directories::check(&spec.grants, sandbox.reserved()).map_err(|reason| spec.error(reason))?;
    let component = Loaded {
        sha256: of.sha256,
        size_bytes: of.size_bytes,
        debug: Arc::clone(&of.debug),
        engine: Arc::clone(&of.engine),
        world: of.world,
        linked: Arc::new(linked),
        log: Arc::new(PluginLog::new(Arc::clone(&spec.name))),
        hint: CpuHint::default(),
        footprint_bytes: 0,
        commands: Vec::new(),
        sandbox,
    };
    let plugin = Plugin::new(spec, component);
    match describe::describe(&plugin).await {
        Ok((commands, footprint_bytes)) => Ok(plugin.described(commands, footprint_bytes)),
        Err(reason) => Err(plugin.parts().0.error(reason)),
    }
}

fn link(compiled: &Compiled, spec: &Spec) -> Result<Linked, String> {
    let Compiled { component, world, engine, .. } = compiled;
    let engine = engine.wasmtime();
    let misfits = fit::misfits(component, engine, *world, &spec.key, &spec.grants);
    if !misfits.is_empty() {
        return Err(misfits.join("\n"));
    }
    if *world == World::StreamingPlugin && spec.instances != Instances::PerRequest {
        return Err(format!(
            "its commands give streams, and each of these has an instance of its own; take `instances` out of \
             [{}], or leave out `--instances`",
            spec.key
        ));
    }
    let linker =
        host::linker(engine, &spec.grants).map_err(|error| format!("the host can't be linked: {error:#}"))?;
    // One call is quicker made than an instance entered for many.
    let entry = match spec.instances {
        _ if *world == World::StreamingPlugin => None,
        Instances::PerRequest => world::handle(component, engine).map(Entry::Handle),
        Instances::PerClient | Instances::Shared => world::worker(component, engine).map(Entry::Worker),
    };
    let entry = entry.unwrap_or(Entry::World);
    let linked = linker.instantiate_pre(component);
    linked
        .and_then(|linked| Linked::new(linked, *world, entry))
        .map_err(|error| format!("it does not fit this host's version of the interfaces: {error:#}"))
}
