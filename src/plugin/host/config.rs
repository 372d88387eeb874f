//! `wasi:config/store`: what the operator tells the plugin. Granted by `[plugins.NAME.config]` being there.

use wasmtime::component::Linker;
use wasmtime_wasi_config::WasiConfig;

use crate::plugin::instance::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |state: &mut HostState| {
        WasiConfig::new(&state.granted.config)
    })
}
