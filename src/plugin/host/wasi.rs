//! WASI 0.2's base, which toolchains import by themselves: io, clocks, random, standard streams, an
//! environment without variables, a file system with only the granted folders. Apart from those, it gives no
//! access to anything outside the instance, and there are no sockets.

use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::base::{Base, Folders};
use super::context::HostState;
use super::directories;
use super::handles::{Growth, HeldTooMuch};
use super::interface::Interface;
use super::stdio::CallLabel;

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { base, log, call, handles, memory, .. } = self;
        let base = base.get_or_insert_with(|| Base::new(log, call.as_deref()));
        WasiCtxView { ctx: &mut base.context, table: handles.open(Growth::Little, memory) }
    }
}

impl HostState {
    /// WASI's file system, without folders.
    pub(super) fn folders(&mut self) -> WasiFilesystemCtxView<'_> {
        let WasiCtxView { ctx, table } = self.ctx();
        WasiFilesystemCtxView { ctx: ctx.filesystem(), table }
    }

    /// Returns the granted folders, opened when the plugin first asks for them.
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

    /// Returns the table of the guest's handles for a host function that adds at most one or two of them.
    pub(super) fn handles(&mut self) -> &mut ResourceTable {
        self.handles_for(Growth::Little)
    }

    /// Does the same for a host function that may add `growth`.
    pub(super) fn handles_for(&mut self, growth: Growth) -> &mut ResourceTable {
        self.handles.open(growth, &mut self.memory)
    }

    /// Charges the bytes that the running host function holds, in place of its previous charge.
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
