//! Folders that a plugin may read through WASI's file system. Granted by `[plugins.NAME.grants.directories]`.
//!
//! wasmtime opens every path below the folder's own handle, step by step, so that neither `..` nor a symbolic
//! link nor an absolute path leads out of it, and refuses every change. This module adds the rest: a limit on
//! the files a plugin holds open at the same time, and a refusal to open anything that could block the
//! opening thread.
//!
//! A disk or a network file system may be slow, so opening, looking up and reading run on a thread for
//! blocking work, here as in wasmtime. Descriptors are closed on the worker's thread: those open for reading
//! have nothing to write back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{StoreContextMut, error::Context as _};
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Descriptor, Dir, OpenMode, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, FsError};

use super::base::Folders;
use super::context::HostState;
use super::granted::Granted;
use super::grants::Grants;
use super::handles::Growth;
use super::interface::{Grant, Interface};
use super::listings::{Listing, Reading};
use super::stdio::{CallLabel, PluginLog};
use crate::files::{Fault, Opened, Reserved, leads_to_held, names_held};
use crate::telemetry::metrics::Counter;

/// Files, folders and streams that one instance may hold open: each takes a descriptor of the process, or a
/// thread while it reads.
pub const MAX_OPEN: usize = 32;

/// Bytes read of a folder before the instance is charged for more.
const PIECE_BYTES: usize = 256 << 10;

/// The packages with their versions in wasmtime's bindings.
const TYPES: &str = "wasi:filesystem/types@0.2.12";
const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";

/// Opens each folder once, so that a missing one is reported when the plugin is loaded and not at its first
/// call. Changes that another user made there do not keep the plugin from loading.
pub(in crate::plugin) fn check(grants: &Grants, reserved: &Reserved) -> Result<(), String> {
    for (name, folder) in &grants.directories {
        match open_folder(folder, reserved) {
            Err(Unusable::Fault(fault)) if fault.is_strangers_work() => {}
            Err(Unusable::Withheld { is_on_loose_way: true, .. }) => {}
            Err(fault) => return Err(format!("the folder granted to it as {name} can't be opened: {fault}")),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The reason for withholding a granted folder from the plugin.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Fault(Fault),
    #[error("{}", withheld(.path, .what))]
    Withheld { path: PathBuf, what: &'static str, is_on_loose_way: bool },
}

/// Opens a folder and checks it again: it may have been replaced since the config was read.
fn open_folder(folder: &Path, reserved: &Reserved) -> Result<Opened, Unusable> {
    let opened = Opened::folder(folder).map_err(Unusable::Fault)?;
    match reserved.withholds(&opened) {
        None => Ok(opened),
        Some(what) => {
            let (path, is_on_loose_way) = (folder.to_owned(), opened.is_on_loose_way());
            Err(Unusable::Withheld { path, what, is_on_loose_way })
        }
    }
}

fn withheld(path: &Path, what: &str) -> String {
    format!("{}: it leads to a path that no plugin may read: {what}", path.display())
}

/// Opens the folders as they are now. One that can no longer be opened is left out and logged. Blocks.
pub(super) fn open(granted: &Granted, log: &PluginLog, call: Option<&CallLabel>) -> Folders {
    let mut folders = Folders::new();
    for (name, folder) in &granted.grants.directories {
        match open_folder(folder, &granted.reserved) {
            Ok(opened) => {
                let folder = Dir::new(opened.into_descriptor(), FsPerms::ReadOnly, OpenMode::READ, false);
                folders.push((folder, name.clone()));
            }
            Err(fault) => log.host_fault(call, &format_args!("the folder {fault}"), None),
        }
    }
    folders
}

pub(super) const INTERFACE: Interface = Interface {
    names: &[],
    version: (0, 2),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants.directories]\nNAME = \"/PATH\"",
        is_in: |grants| !grants.directories.is_empty(),
    }),
    link,
};

/// For plugins that have a folder, puts [`open_at`], a bound on streams, [`Listing`]s, the granted folders,
/// and notes of their use in front of wasmtime's own functions.
fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut preopens = linker.instance(PREOPENS)?;
    preopens.func_wrap_async("get-directories", |mut store: StoreContextMut<'_, HostState>, (): ()| {
        Box::new(async move {
            let state = store.data_mut();
            let mut given = Vec::new();
            for (folder, name) in state.granted_folders().await?.clone() {
                given.push((state.handles().push(Descriptor::Dir(folder))?, name));
            }
            Ok((given,))
        })
    })?;
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
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut store: StoreContextMut<'_, HostState>, (file, offset): (Resource<Descriptor>, u64)| {
            let state = store.data_mut();
            let opened = check_handles(state).and_then(|()| state.folders().read_via_stream(file, offset));
            match opened {
                Ok(stream) => Ok((Ok(stream),)),
                Err(error) => Ok((Err(error.downcast().context("read-via-stream")?),)),
            }
        },
    )?;
    link_lookups(linker)?;
    link_listings(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links the functions that look a path up, so that they note the use of the folder.
fn link_lookups(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, HostState>;
    type Folder = Resource<Descriptor>;
    let mut types = linker.instance(TYPES)?;
    let name = "[method]descriptor.stat-at";
    types.func_wrap_async(name, |mut store: Store<'_>, (folder, flags, path): (Folder, _, String)| {
        Box::new(async move { result(noted(store.data_mut(), &folder).stat_at(folder, flags, path).await) })
    })?;
    let name = "[method]descriptor.metadata-hash-at";
    types.func_wrap_async(name, |mut store: Store<'_>, (folder, flags, path): (Folder, _, String)| {
        Box::new(async move {
            result(noted(store.data_mut(), &folder).metadata_hash_at(folder, flags, path).await)
        })
    })?;
    let name = "[method]descriptor.readlink-at";
    types.func_wrap_async(name, |mut store: Store<'_>, (folder, path): (Folder, String)| {
        Box::new(async move { result(noted(store.data_mut(), &folder).readlink_at(folder, path).await) })
    })
}

/// Returns the result of a function of WASI's file system; an error that is none of these ends the call.
fn result<T>(done: Result<T, FsError>) -> wasmtime::Result<(Result<T, ErrorCode>,)> {
    match done {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// Notes the use of the granted folder that `folder` is a handle of. One below it can be any of them.
fn noted<'s>(state: &'s mut HostState, folder: &Resource<Descriptor>) -> WasiFilesystemCtxView<'s> {
    let opened = match state.handles().get(folder) {
        Ok(Descriptor::Dir(opened)) => Some(Arc::clone(&opened.dir)),
        _ => None,
    };
    let folders = state.base.iter().filter_map(|base| base.folders.as_ref()).flatten();
    let mut folders =
        folders.filter(|(folder, _)| opened.as_ref().is_some_and(|it| Arc::ptr_eq(it, &folder.dir)));
    let name = folders.next().map(|(_, name)| name);
    let granted = state.granted.grants.directories.iter();
    granted.filter(|(granted, _)| name.is_none_or(|name| name == granted)).for_each(|(_, folder)| {
        folder.note();
    });
    state.folders()
}

/// Fails if the instance has [`MAX_OPEN`] descriptors and streams open.
fn check_handles(state: &mut HostState) -> Result<(), FsError> {
    let is_open =
        |entry: &&mut (dyn std::any::Any + Send)| entry.is::<Descriptor>() || entry.is::<DynInputStream>();
    match state.handles_for(Growth::Much).iter_mut().filter(is_open).count() < MAX_OPEN {
        true => Ok(()),
        false => Err(ErrorCode::Quota.into()),
    }
}

type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

async fn open_at(
    state: &mut HostState,
    (folder, path_flags, path, open_flags, flags): OpenAt,
) -> Result<Resource<Descriptor>, FsError> {
    check_handles(state)?;
    let mut folders: WasiFilesystemCtxView<'_> = noted(state, &folder);
    // Opening a pipe without a writer would block the thread forever.
    let found = folders.stat_at(Resource::new_borrow(folder.rep()), path_flags, path.clone()).await;
    let is_plain = |kind| {
        matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
    };
    if found.is_ok_and(|found| !is_plain(found.type_)) {
        return Err(ErrorCode::NotPermitted.into());
    }
    if leads_to_state(state, &folder, path_flags, path.clone()).await? {
        let fault = withheld(Path::new(&path), "all plugins' state");
        state.log.host_fault(state.label().as_ref(), &fault, None);
        return Err(ErrorCode::NotPermitted.into());
    }
    let opened = state.folders().open_at(folder, path_flags, path.clone(), open_flags, flags).await?;
    match look_at(state, &opened, path).await? {
        None => Ok(opened),
        Some(fault) => {
            state.log.host_fault(state.label().as_ref(), &fault, None);
            state.handles().delete(opened)?;
            Err(ErrorCode::NotPermitted.into())
        }
    }
}

/// Returns true if `path` in a folder leads to the state that this server has open. Checked before opening
/// it, since opening and closing that file would release SQLite's locks.
async fn leads_to_state(
    state: &mut HostState,
    folder: &Resource<Descriptor>,
    path_flags: PathFlags,
    path: String,
) -> Result<bool, FsError> {
    let Descriptor::Dir(folder) = state.handles().get(folder)? else { return Ok(false) };
    let folder = Arc::clone(&folder.dir);
    let follows = path_flags.contains(PathFlags::SYMLINK_FOLLOW);
    let looking = tokio::task::spawn_blocking(move || match follows {
        true => leads_to_held(&folder, Path::new(&path)),
        false => names_held(&folder, Path::new(&path)),
    });
    looking.await.map_err(|error| FsError::trap(wasmtime::Error::from(error)))
}

/// Describes the object opened at `path` in a folder if plugins may not read it. Links don't lead out of the
/// folder, but somebody may have put a hard link there, and the server may later get a folder inside it.
async fn look_at(
    state: &mut HostState,
    opened: &Resource<Descriptor>,
    path: String,
) -> Result<Option<String>, FsError> {
    let descriptor = Arc::clone(match state.handles().get(opened)? {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(folder) => &folder.dir,
    });
    let reserved = Arc::clone(&state.granted.reserved);
    let looking = tokio::task::spawn_blocking(move || {
        let path = Path::new(&path);
        let found = descriptor.try_clone().map(|file| Opened::held(file, path));
        match found {
            Ok(Ok(opened)) => reserved.withholds(&opened).map(|what| withheld(path, what)),
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(error) => Some(format!("{}: {error}", path.display())),
        }
    });
    looking.await.map_err(|error| FsError::trap(wasmtime::Error::from(error)))
}

/// Links `read-directory` in front of wasmtime's, which reads folders of any size in one go. A listing is an
/// operation of the host that carries its names, and reads no more than the memory of the instance, and of
/// all plugins together, allows.
fn link_listings(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, HostState>;
    let mut types = linker.instance(TYPES)?;
    let stream = ResourceType::host::<Listing>();
    types.resource("directory-entry-stream", stream, |mut store, listing| {
        store.data_mut().handles().delete(Resource::<Listing>::new_own(listing))?;
        Ok(())
    })?;
    types.func_wrap_async("[method]descriptor.read-directory", |mut store: Store<'_>, (folder,)| {
        Box::new(async move {
            match list(store.data_mut(), folder).await {
                Ok(listing) => Ok((Ok(listing),)),
                Err(error) => Ok((Err(error.downcast().context("read-directory")?),)),
            }
        })
    })?;
    types.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: Store<'_>, (listing,): (Resource<Listing>,)| {
            let listing = store.data_mut().handles().get_mut(&listing)?;
            Ok((listing.left.next().transpose(),))
        },
    )
}

async fn list(state: &mut HostState, folder: Resource<Descriptor>) -> Result<Resource<Listing>, FsError> {
    state.volume.operation(0).map_err(FsError::trap)?;
    noted(state, &folder);
    let folder = match state.handles().get(&folder)? {
        Descriptor::Dir(folder) => Arc::clone(&folder.dir),
        Descriptor::File(_) => return Err(ErrorCode::NotDirectory.into()),
    };
    let read = read(state, folder).await;
    // From here on the listing is charged as a handle.
    state.hold_for_now(0).map_err(FsError::trap)?;
    Ok(state.handles_for(Growth::Much).push(read?)?)
}

/// Reads a folder piece by piece, each charged before it is read.
async fn read(state: &mut HostState, folder: Arc<File>) -> Result<Listing, FsError> {
    let mut reading = Reading::default();
    while !reading.is_over {
        let most = reading.bytes + PIECE_BYTES;
        state.hold_for_now(most).map_err(FsError::trap)?;
        let (folder, before) = (Arc::clone(&folder), reading.name_bytes);
        // A slow disk or network file system must not hold up other requests.
        let read = tokio::task::spawn_blocking(move || reading.go_on(&folder, most)).await;
        let read = read.map_err(|error| FsError::trap(wasmtime::Error::from(error)))?;
        reading = read.map_err(ErrorCode::from)?;
        state.volume.carry(reading.name_bytes - before).map_err(FsError::trap)?;
    }
    reading.into_listing().ok_or_else(|| {
        Counter::FoldersTooLarge.count();
        ErrorCode::Quota.into()
    })
}
