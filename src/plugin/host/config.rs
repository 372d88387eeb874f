//! `wasi:config/store`: the operator's settings for the plugin. Granted by the presence of
//! `[plugins.NAME.config]`.

use wasmtime::component::Linker;
use wasmtime_wasi_config::WasiConfig;

use super::context::HostState;
use super::interface::{Grant, Interface};

pub(super) const INTERFACE: Interface = Interface {
    names: &["wasi:config/store"],
    version: (0, 2),
    grant: Some(Grant { lines: "[plugins.NAME.config]", is_in: |grants| grants.config.is_some() }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |state: &mut HostState| {
        if let Some(config) = &state.granted.grants.config {
            config.note();
        }
        WasiConfig::new(&state.granted.config)
    })
}
