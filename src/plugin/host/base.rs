//! WASI 0.2's base, which toolchains import by themselves: io, clocks, random, standard streams, an environment
//! without variables, a file system without directories but those that were granted. Without these it reaches nothing.
//! There are no sockets.

use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::directories::{self, Folders};
use super::handles::{Growth, HeldTooMuch};
use super::interface::Interface;
use super::stdio::{CallLabel, PluginLog, Stdio, Stream};
use crate::plugin::call::Call;
use crate::plugin::instance::HostState;

/// The most random bytes that a guest gets at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// What WASI keeps for one instance.
pub(in crate::plugin) struct Base {
    context: WasiCtx,
    streams: [Stdio; 2],
    folders: Option<Folders>,
}

impl Base {
    fn new(log: &Arc<PluginLog>, call: Option<&Call>) -> Box<Self> {
        let streams = [Stream::Out, Stream::Err].map(|stream| Stdio::new(Arc::clone(log), stream));
        let [out, err] = streams.clone();
        let context = WasiCtx::builder().stdout(out).stderr(err).max_random_size(MAX_RANDOM_BYTES).build();
        let base = Self { context, streams, folders: None };
        base.begin(call);
        Box::new(base)
    }

    /// Marks what is written from now on as written by `call`.
    pub(in crate::plugin) fn begin(&self, call: Option<&Call>) {
        self.streams.iter().for_each(|stream| stream.begin(call.map(CallLabel::from)));
    }

    /// The call that writes may write as much once more.
    pub(in crate::plugin) fn renew(&self) {
        self.streams.iter().for_each(Stdio::renew);
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { base, log, call, handles, memory, .. } = self;
        let base = base.get_or_insert_with(|| Base::new(log, call.as_deref()));
        WasiCtxView { ctx: &mut base.context, table: handles.open(Growth::Little, memory) }
    }
}

impl HostState {
    /// WASI's file system, in which there is no folder by itself.
    pub(super) fn folders(&mut self) -> WasiFilesystemCtxView<'_> {
        let WasiCtxView { ctx, table } = self.ctx();
        WasiFilesystemCtxView { ctx: ctx.filesystem(), table }
    }

    /// The folders that were granted, opened when the plugin first asks for them.
    pub(super) async fn granted_folders(&mut self) -> Result<&Folders, JoinError> {
        let Self { base, log, call, granted, .. } = self;
        let base = base.get_or_insert_with(|| Base::new(log, call.as_deref()));
        match &mut base.folders {
            Some(folders) => Ok(folders),
            unopened => {
                let (granted, log) = (Arc::clone(granted), Arc::clone(log));
                let call = call.as_deref().map(CallLabel::from);
                let opened = spawn_blocking(move || directories::open(&granted, &log, call.as_ref())).await?;
                Ok(unopened.insert(opened))
            }
        }
    }

    /// What the guest holds handles of.
    pub(super) fn handles(&mut self) -> &mut ResourceTable {
        self.handles_for(Growth::Little)
    }

    /// The same, where the host function may add `growth`.
    pub(super) fn handles_for(&mut self, growth: Growth) -> &mut ResourceTable {
        self.handles.open(growth, &mut self.memory)
    }
}

impl HostState {
    /// Charges what the host function that runs holds, in the place of what it held before.
    pub(super) fn hold_for_now(&mut self, bytes: usize) -> Result<(), HeldTooMuch> {
        self.handles.hold_for_now(bytes, &mut self.memory)
    }
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) const INTERFACE: Interface = Interface {
    names: &[
        "wasi:cli/environment",
        "wasi:cli/exit",
        "wasi:cli/stderr",
        "wasi:cli/stdin",
        "wasi:cli/stdout",
        "wasi:cli/terminal-input",
        "wasi:cli/terminal-output",
        "wasi:cli/terminal-stderr",
        "wasi:cli/terminal-stdin",
        "wasi:cli/terminal-stdout",
        "wasi:clocks/monotonic-clock",
        "wasi:clocks/wall-clock",
        "wasi:filesystem/preopens",
        "wasi:filesystem/types",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:random/insecure",
        "wasi:random/insecure-seed",
        "wasi:random/random",
    ],
    version: (0, 2),
    grant: None,
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type H = HostState;
    io::error::add_to_linker::<H, Io>(linker, H::handles)?;
    io::poll::add_to_linker::<H, Io>(linker, H::handles)?;
    io::streams::add_to_linker::<H, Io>(linker, H::handles)?;
    clocks::wall_clock::add_to_linker::<H, WasiClocks>(linker, H::clocks)?;
    clocks::monotonic_clock::add_to_linker::<H, WasiClocks>(linker, H::clocks)?;
    random::random::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<H, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    filesystem::preopens::add_to_linker::<H, WasiFilesystem>(linker, H::folders)?;
    filesystem::types::add_to_linker::<H, WasiFilesystem>(linker, H::folders)?;
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
