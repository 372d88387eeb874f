//! What a plugin may call, one file an interface.
//!
//! Linking is where a capability is granted: a function that is not linked cannot be called, and a plugin that
//! imports it does not load.

mod base;
mod request;
mod stdio;

pub(super) use base::Base;
pub(super) use stdio::PluginLog;

use wasmtime::component::Linker;

use super::instance::HostState;

/// A linker with everything that a plugin may import without a grant.
pub(super) fn ungranted(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    request::link(&mut linker)?;
    base::link(&mut linker)?;
    Ok(linker)
}
