//! Listings of folders, read piece by piece up to a bound.

use std::any::Any;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::vec;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

/// Maximum entries of a folder that is listed.
const MAX_ENTRIES: usize = 65_536;

/// Bytes that an entry takes beside its name, including the allocator's rounding.
const ENTRY_BYTES: usize = size_of::<Entry>() + 16;

/// Maximum bytes of a name in a file system.
const MAX_NAME_BYTES: usize = 255;

pub(super) type Entry = Result<DirectoryEntry, ErrorCode>;

/// The entries that a folder had when it was read.
pub(super) struct Listing {
    pub(super) left: vec::IntoIter<Entry>,
    bytes: usize,
}

/// Bytes that `entry` takes, if it is a listing.
pub(super) fn held_bytes(entry: &(dyn Any + Send)) -> Option<usize> {
    entry.downcast_ref::<Listing>().map(|listing| listing.bytes)
}

/// A folder that is partly read.
#[derive(Default)]
pub(super) struct Reading {
    /// `None` before the first piece.
    dir: Option<Dir>,
    entries: Vec<Entry>,
    pub(super) name_bytes: usize,
    pub(super) bytes: usize,
    pub(super) is_over: bool,
}

impl Reading {
    /// Reads on until up to `most` bytes are taken. Reads one entry beyond the bound, which shows that a
    /// folder is too large.
    pub(super) fn go_on(mut self, folder: &File, most: usize) -> io::Result<Self> {
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

    /// Returns the listing, unless the folder has too many entries.
    pub(super) fn into_listing(self) -> Option<Listing> {
        let fits = self.entries.len() <= MAX_ENTRIES;
        fits.then_some(Listing { left: self.entries.into_iter(), bytes: self.bytes })
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
