//! Listings of folders: `read-directory` in front of wasmtime's, which reads folders of any size in one go.
//!
//! A listing is an operation of the host that carries its names. It has a bound of its own, and reads no more
//! than the memory of the instance, and of all plugins together, allows.

use std::any::Any;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::sync::Arc;
use std::vec;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{StoreContextMut, error::Context as _};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use super::directories::TYPES;
use super::handles::Growth;
use crate::plugin::instance::HostState;
use crate::telemetry::metrics::Counter;

/// Maximum entries of a folder that is listed.
const MAX_ENTRIES: usize = 65_536;

/// Bytes that an entry takes beside its name, including the allocator's rounding.
const ENTRY_BYTES: usize = size_of::<Entry>() + 16;

/// Maximum bytes of a name in a file system.
const MAX_NAME_BYTES: usize = 255;

/// Bytes read of a folder before the instance is charged for more.
const PIECE_BYTES: usize = 256 << 10;

type Entry = Result<DirectoryEntry, ErrorCode>;

/// The entries that a folder had when it was read.
struct Listing {
    left: vec::IntoIter<Entry>,
    bytes: usize,
}

/// Bytes that `entry` takes, if it is a listing.
pub(super) fn held_bytes(entry: &(dyn Any + Send)) -> Option<usize> {
    entry.downcast_ref::<Listing>().map(|listing| listing.bytes)
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
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
    if reading.entries.len() > MAX_ENTRIES {
        Counter::FoldersTooLarge.count();
        return Err(ErrorCode::Quota.into());
    }
    Ok(Listing { left: reading.entries.into_iter(), bytes: reading.bytes })
}

/// A folder that is partly read.
#[derive(Default)]
struct Reading {
    /// `None` before the first piece.
    dir: Option<Dir>,
    entries: Vec<Entry>,
    name_bytes: usize,
    bytes: usize,
    is_over: bool,
}

impl Reading {
    /// Reads on until up to `most` bytes are taken. Reads one entry beyond the bound, which shows that a
    /// folder is too large.
    fn go_on(mut self, folder: &File, most: usize) -> io::Result<Self> {
        let mut dir = self.dir.take().map_or_else(|| Dir::read_from(folder), Ok)?;
        while self.bytes + 2 * ENTRY_BYTES + MAX_NAME_BYTES <= most && self.entries.len() <= MAX_ENTRIES {
            let Some(entry) = dir.read() else {
                self.is_over = true;
                break;
            };
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries.push(described(folder, name, entry.file_type()));
            self.name_bytes += name.to_bytes().len();
            // A growing vector has up to twice the capacity it needs.
            self.bytes += 2 * ENTRY_BYTES + name.to_bytes().len();
        }
        self.is_over |= self.entries.len() > MAX_ENTRIES;
        self.dir = Some(dir);
        Ok(self)
    }
}

fn described(folder: &File, name: &CStr, kind: FileType) -> Entry {
    let kind = match kind {
        // Not all file systems return the kind with the name.
        FileType::Unknown => {
            let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
            FileType::from_raw_mode(found.st_mode)
        }
        known => known,
    };
    let type_ = match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        _ => DescriptorType::Unknown,
    };
    let name = name.to_str().map_err(|_| ErrorCode::IllegalByteSequence)?.to_owned();
    Ok(DirectoryEntry { type_, name })
}
