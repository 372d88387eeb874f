//! Folders that a plugin may read, through WASI's file system. Granted by `[plugins.NAME.grants.directories]`.
//!
//! wasmtime opens every path below the folder's own handle, step by step, so that neither `..` nor a symbolic link nor an
//! absolute path leads out of it, and refuses whatever would change something. What it does not do is done here: a plugin
//! holds few files open at the same time, and opens nothing that could keep the thread waiting that opens it.

use std::fs::File;

use wasmtime::component::{Linker, Resource};
use wasmtime::{StoreContextMut, error::Context as _};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, FsError};
use wasmtime_wasi::{FsPerms, WasiCtx};

use super::{Granted, Grants, PluginLog, listings};
use crate::plugin::instance::HostState;

/// Files, folders and streams that one instance may hold open: each takes a descriptor of the process.
pub const MAX_OPEN: usize = 32;

/// The package's version in wasmtime's bindings.
pub(super) const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// Opens each folder once, so that a missing one is told when the plugin is loaded and not at its first call.
pub(in crate::plugin) fn check(grants: &Grants) -> Result<(), String> {
    for (name, folder) in &grants.directories {
        let opened = File::open(folder).and_then(|folder| folder.metadata());
        let fault = match opened {
            Ok(metadata) if metadata.is_dir() => continue,
            Ok(_) => "it is no folder".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(format!(
            "the folder {}, granted to it as {name}, can't be opened: {fault}",
            folder.display()
        ));
    }
    Ok(())
}

/// The folders as they are now. One that is gone since the plugin was loaded is left out; the log tells of it.
pub(super) fn open(granted: &Granted, log: &PluginLog) -> WasiCtx {
    let mut context = WasiCtx::builder();
    for (name, folder) in &granted.directories {
        if let Err(error) = context.preopened_dir(folder, name, FsPerms::ReadOnly) {
            log.host_fault(None, &format_args!("the folder {}: {error}", folder.display()));
        }
    }
    context.build()
}

/// Puts [`open_at`] and [`listings`] before wasmtime's own, for plugins that have a folder.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, HostState>, parameters| {
            Box::new(async move {
                match open_at(store.data_mut(), parameters).await {
                    Ok(opened) => Ok((Ok(opened),)),
                    Err(error) => Ok((Err(error.downcast().context("open-at")?),)),
                }
            })
        },
    )?;
    listings::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

async fn open_at(
    state: &mut HostState,
    (folder, path_flags, path, open_flags, flags): OpenAt,
) -> Result<Resource<Descriptor>, FsError> {
    let is_open =
        |entry: &&mut (dyn std::any::Any + Send)| entry.is::<Descriptor>() || entry.is::<DynInputStream>();
    if state.handles().iter_mut().filter(is_open).count() >= MAX_OPEN {
        return Err(ErrorCode::Quota.into());
    }
    let mut folders: WasiFilesystemCtxView<'_> = state.folders();
    // A pipe without a writer would hold the thread that opens it for ever.
    let found = folders.stat_at(Resource::new_borrow(folder.rep()), path_flags, path.clone()).await;
    let is_plain = |kind| {
        matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
    };
    if found.is_ok_and(|found| !is_plain(found.type_)) {
        return Err(ErrorCode::NotPermitted.into());
    }
    folders.open_at(folder, path_flags, path, open_flags, flags).await
}
