//! Functions that a plugin may call, one file for each interface.
//!
//! Linking is where a capability is granted: a function that is not linked cannot be called, and a plugin
//! that imports it does not load.
//!
//! A host function runs on a thread that serves others as well, so work that may wait for a disk or for a
//! resolver runs on a thread for blocking work, in wasmtime's functions too. Reads of the state are the
//! exception, for the reason given in `state/sqlite/readers.rs`. Functions that only ask the kernel (clocks,
//! randomness, a socket's address) run in place.

mod base;
mod call;
mod config;
mod directories;
mod events;
mod files;
mod grants;
mod handles;
mod http;
mod keyvalue;
mod lines;
mod listings;
mod logging;
mod output;
mod queue;
mod reply;
mod request;
mod state;
mod stdio;
mod volume;

pub use directories::MAX_OPEN as MAX_OPEN_FILES;
pub use grants::{CommandGate, EventsGrant, Grants, HttpGrant, Stores};
pub use volume::VolumeLimits;

pub(super) use base::Base;
pub(super) use directories::check as check_directories;
use grants::Missing;
pub(super) use grants::{GRANTABLE, GRANTS_TABLE, Grantable, Granted};
pub(super) use handles::{Handles, HeldTooMuch, MAX_HANDLES, bound_tables, reserve_bytes};
pub(super) use http::{Http, Web};
pub(super) use stdio::{CallLabel, PluginLog, Printer};
pub(super) use volume::{Volume, VolumeSpent};

use wasmtime::component::Linker;

use super::instance::HostState;

/// A linker with everything that every plugin may import, and everything that this one was granted.
pub(super) fn linker(engine: &wasmtime::Engine, grants: &Grants) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    request::link(&mut linker)?;
    output::link(&mut linker)?;
    queue::link(&mut linker)?;
    reply::link(&mut linker)?;
    base::link(&mut linker)?;
    if grants.config.is_some() {
        config::link(&mut linker)?;
    }
    if grants.logging {
        logging::link(&mut linker)?;
    }
    if grants.stores.is_some() {
        keyvalue::link(&mut linker)?;
        state::link(&mut linker)?;
    }
    if grants.files.is_some() {
        files::link(&mut linker)?;
    }
    if grants.commands.is_some() {
        call::link(&mut linker)?;
    }
    if grants.events.is_some() {
        events::link(&mut linker)?;
    }
    if !grants.directories.is_empty() {
        directories::link(&mut linker)?;
    }
    if grants.http.is_some() {
        http::link(&mut linker)?;
    }
    Ok(linker)
}
