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
mod bucket;
mod call;
mod config;
mod directories;
mod events;
mod files;
mod granted;
mod grants;
mod handles;
mod http;
mod interface;
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
mod ungranted;
mod volume;
mod wasi;

pub use directories::MAX_OPEN as MAX_OPEN_FILES;
pub use grants::{CommandGate, EventsGrant, Grants, HttpGrant, Stores};
pub use volume::VolumeLimits;

pub(super) use base::Base;
pub(super) use directories::check as check_directories;
pub(super) use granted::Granted;
pub(super) use handles::{Handles, HeldTooMuch, MAX_HANDLES, bound_tables, reserve_bytes};
pub(super) use http::{Http, Web};
pub(super) use interface::{GRANTS_TABLE, Interface};
pub(super) use stdio::{CallLabel, PluginLog, Printer};
pub(super) use volume::{Volume, VolumeSpent};

use wasmtime::component::Linker;

use super::instance::HostState;

/// The interfaces of the host, in the order in which they are linked and listed in messages. One that
/// replaces functions of another comes after it.
pub(super) const INTERFACES: &[Interface] = &[
    output::INTERFACE,
    queue::INTERFACE,
    reply::INTERFACE,
    request::INTERFACE,
    wasi::INTERFACE,
    config::INTERFACE,
    logging::INTERFACE,
    keyvalue::INTERFACE,
    state::INTERFACE,
    files::INTERFACE,
    directories::INTERFACE,
    call::INTERFACE,
    events::INTERFACE,
    http::whole::INTERFACE,
    http::INTERFACE,
];

/// Makes a linker with the interfaces that a plugin with `grants` may use.
pub(super) fn linker(engine: &wasmtime::Engine, grants: &Grants) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    for interface in INTERFACES.iter().filter(|interface| interface.is_granted(grants)) {
        (interface.link)(&mut linker)?;
    }
    Ok(linker)
}
