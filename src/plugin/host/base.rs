//! WASI 0.2's base, which toolchains import by themselves: io, clocks, random, standard streams, an environment
//! without variables, a file system without directories. It reaches nothing. There are no sockets.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::stdio::{PluginLog, Stdio, Stream};
use crate::plugin::instance::HostState;
use crate::plugin::invoke::Call;

/// The most random bytes that a guest gets at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// What WASI keeps for one instance.
pub(in crate::plugin) struct Base {
    context: WasiCtx,
    streams: [Stdio; 2],
}

impl Base {
    fn new(log: &Arc<PluginLog>) -> Self {
        let streams = [Stream::Out, Stream::Err].map(|stream| Stdio::new(Arc::clone(log), stream));
        let [out, err] = streams.clone();
        let context = WasiCtx::builder().stdout(out).stderr(err).max_random_size(MAX_RANDOM_BYTES).build();
        Self { context, streams }
    }

    /// Marks what is written from now on as written by `call`.
    pub(in crate::plugin) fn begin(&self, call: Option<&Call>) {
        let request = call.map(|call| call.id.to_string()).unwrap_or_default();
        self.streams.iter().for_each(|stream| stream.begin(request.clone()));
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { base, log, call, table, .. } = self;
        let base = base.get_or_insert_with(|| {
            let base = Base::new(log);
            base.begin(call.as_deref());
            Box::new(base)
        });
        WasiCtxView { ctx: &mut base.context, table }
    }
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type H = HostState;
    io::error::add_to_linker::<H, Io>(linker, |state| state.ctx().table)?;
    io::poll::add_to_linker::<H, Io>(linker, |state| state.ctx().table)?;
    io::streams::add_to_linker::<H, Io>(linker, |state| state.ctx().table)?;
    clocks::wall_clock::add_to_linker::<H, WasiClocks>(linker, H::clocks)?;
    clocks::monotonic_clock::add_to_linker::<H, WasiClocks>(linker, H::clocks)?;
    random::random::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    filesystem::preopens::add_to_linker::<H, WasiFilesystem>(linker, H::filesystem)?;
    filesystem::types::add_to_linker::<H, WasiFilesystem>(linker, H::filesystem)?;
    cli::exit::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::environment::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::stdin::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::stdout::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::stderr::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::terminal_input::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::terminal_output::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::terminal_stdin::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::terminal_stdout::add_to_linker::<H, WasiCli>(linker, H::cli)?;
    cli::terminal_stderr::add_to_linker::<H, WasiCli>(linker, H::cli)
}
