//! Compiled components, kept on disk: a restart maps them instead of compiling them again.
//!
//! An entry is named after its inputs, the component's SHA-256 and all of the engine's settings and version
//! that its code depends on, so it never has to be rewritten. Data from a debug file is kept the same way.
//! Mapping compiled code is running it without any of the checks that a component goes through: its writer
//! has the server's rights. So an entry is opened once, and used only if the server's user made it and nobody
//! else can have changed it, in a folder for which the same holds. It is also checked against a hash of its
//! content and its name, so that an entry that is damaged, or was given another's name, is compiled again.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::files::{Fault, Opened, Reason};
use crate::plugin::debug::backtrace;
use crate::plugin::debug::places::{MAX_PLACES_BYTES, Places};
use crate::plugin::load::compiling::Compiling;
use crate::plugin::load::definitions;
use crate::plugin::load::folder::{Held, TEMPORARY, Unkept, open_own, open_private, write_whole};

/// Age since its last use at which an entry is removed: plugins come and go, and so do engines' versions.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Interval at which a use is noted.
const HOUR: Duration = Duration::from_secs(3600);

/// Time to write a file, after which it counts as left over.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Extensions of entries: of code, and of tables of places.
pub(in crate::plugin) const CODE: &str = "cwasm";
pub(in crate::plugin) const PLACES: &str = "places";

/// Content that an entry's hash covers. Entries of other forms have other names.
const FORM: &str = "name and code";

/// Maximum bytes of the file that has the hash.
const MAX_HASH_BYTES: u64 = 80;

/// A folder of compiled components.
#[derive(Debug)]
pub(in crate::plugin) struct Cache {
    folder: PathBuf,
    /// A hash of the engine: its settings, its version, the processor's features.
    engine: String,
}

/// The SHA-256 of some bytes.
type Hash256 = [u8; 32];

impl Cache {
    /// Opens the folder, creating it if missing.
    pub(in crate::plugin) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        open_private(folder)?;
        let mut hasher = DefaultHasher::new();
        (FORM, engine.precompile_compatibility_hash()).hash(&mut hasher);
        Ok(Self { folder: folder.to_owned(), engine: format!("{:016x}", hasher.finish()) })
    }

    fn path(&self, hash: &Hash256, form: &str) -> PathBuf {
        self.folder.join(format!("{}-{}.{form}", base16ct::lower::encode_string(hash), self.engine))
    }

    /// Maps the component whose SHA-256 is `hash` from its entry; `None` if there is no usable one.
    pub(in crate::plugin) fn find(
        &self,
        engine: &Engine,
        hash: &Hash256,
        compiling: &Compiling,
    ) -> Option<Result<Component, Unloadable>> {
        let code = self.entry(hash, CODE)?;
        Some(load(engine, code.descriptor(), compiling))
    }

    /// The places of the component and debug file that `hash` stands for; `None` if there is no usable entry
    /// of them.
    pub(in crate::plugin) fn find_places(&self, hash: &Hash256) -> Option<Places> {
        Places::of(self.entry(hash, PLACES)?.bytes(MAX_PLACES_BYTES as u64).ok()?)
    }

    fn entry(&self, hash: &Hash256, form: &str) -> Option<Opened> {
        match open_whole(&self.path(hash, form)) {
            Ok([entry, of_hash]) => {
                note_use([&entry, &of_hash], SystemTime::now());
                Some(entry)
            }
            Err(fault) if fault.is_missing() => None,
            Err(fault) => {
                let fault = fault.to_string();
                tracing::warn!(target: "lictor::plugin", fault, "compiled code is not used; it is compiled anew");
                None
            }
        }
    }

    /// Begins a file for output made from the component that `hash` stands for.
    pub(in crate::plugin) fn draft(&self, hash: &Hash256, form: &str) -> io::Result<Draft> {
        let entry = self.path(hash, form);
        let (unkept, file) = Unkept::begin(&entry)?;
        Ok(Draft { file, kept_as: Some((unkept, entry)) })
    }

    /// Removes entries unused for long, then the least recently used ones until the rest has at most
    /// `most_bytes`, and files that killed processes left half-written. Other files stay. Returns the number
    /// of removed files.
    pub(in crate::plugin) fn prune(&self, now: SystemTime, most_bytes: u64) -> io::Result<usize> {
        let mut kept = Vec::new();
        let mut removed = 0;
        let folder = Held::of(&self.folder)?;
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            let Some(keeping) = time_kept(&file.file_name()) else { continue };
            let metadata = file.metadata()?;
            let Some(used) = metadata.modified().ok().filter(|_| metadata.is_file()) else { continue };
            if now.duration_since(used).is_ok_and(|age| age > keeping) {
                fs::remove_file(file.path())?;
                removed += 1;
            } else {
                kept.push((used, metadata.len(), file.path()));
            }
        }
        // Newest first. An entry's hash file goes with it, since both were used at the same times.
        kept.sort_unstable_by(|one, other| other.cmp(one));
        let mut bytes: u64 = 0;
        for (_, size, path) in kept {
            bytes = bytes.saturating_add(size);
            if bytes > most_bytes {
                fs::remove_file(path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Time that a file of this name is kept without being used; `None` if it is not one of the cache's.
fn time_kept(name: &OsStr) -> Option<Duration> {
    let (stem, extensions) = name.to_str()?.split_once('.')?;
    let (component, engine) = stem.split_once('-')?;
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex(component, 64) || !is_hex(engine, 16) {
        return None;
    }
    match extensions {
        CODE | PLACES | "sha256" => Some(UNUSED),
        _ if Path::new(extensions).extension().is_some_and(|extension| extension == TEMPORARY) => Some(DAY),
        _ => None,
    }
}

/// Notes the use of files, at most once an hour. An entry for which this fails is compiled again some day.
fn note_use(files: [&Opened; 2], now: SystemTime) {
    for file in files.map(Opened::descriptor) {
        let noted = file.metadata().and_then(|metadata| metadata.modified());
        if noted.is_ok_and(|noted| now.duration_since(noted).is_ok_and(|age| age > HOUR)) {
            let _ = file.set_modified(now);
        }
    }
}

/// The file beside an entry that has its hash, in hexadecimal.
fn hash_file(entry: &Path) -> PathBuf {
    entry.with_extension("sha256")
}

/// Opens an entry and the file of its hash, and checks that they match.
fn open_whole(entry: &Path) -> Result<[Opened; 2], Fault> {
    let (code, of_hash) = (open_own(entry)?, open_own(&hash_file(entry))?);
    let damaged = |words: &str| Fault::new(entry, Reason::Other(words.to_owned()));
    let found = hash_of(entry, code.descriptor()).map_err(|error| damaged(&error.to_string()))?;
    if of_hash.bytes(MAX_HASH_BYTES)?.trim_ascii() != found.as_bytes() {
        return Err(damaged("it is damaged"));
    }
    Ok([code, of_hash])
}

/// The SHA-256 of an entry's name and code, in hexadecimal.
fn hash_of(entry: &Path, code: &File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(entry.file_name().unwrap_or_default().as_encoded_bytes());
    let (mut block, mut offset) = (vec![0; 64 << 10], 0);
    loop {
        match code.read_at(&mut block, offset)? {
            0 => return Ok(base16ct::lower::encode_string(&hasher.finalize())),
            read => {
                hasher.update(&block[..read]);
                offset += read as u64;
            }
        }
    }
}

/// A file into which the compiler's process writes code; removed on drop unless it is kept.
#[derive(Debug)]
pub(in crate::plugin) struct Draft {
    file: File,
    /// The entry that it becomes; `None` for a file in memory.
    kept_as: Option<(Unkept, PathBuf)>,
}

impl Draft {
    /// Makes a file without a name, which is not kept.
    pub(in crate::plugin) fn in_memory() -> io::Result<Self> {
        Ok(Self { file: memfd_create("compiled", MemfdFlags::CLOEXEC)?.into(), kept_as: None })
    }

    /// A handle for writing the file.
    pub(in crate::plugin) fn output(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Loads the component once its code is written. Keeps the code if possible and if it can be loaded.
    pub(in crate::plugin) fn component(
        self,
        engine: &Engine,
        compiling: &Compiling,
    ) -> Result<Component, Unloadable> {
        let component = load(engine, &self.file, compiling)?;
        self.keep();
        Ok(component)
    }

    /// Reads the places once their table is written. Keeps the table if possible and if it is valid.
    pub(in crate::plugin) fn places(self) -> io::Result<Places> {
        let path = self.kept_as.as_ref().map_or(Path::new(PLACES), |(_, entry)| entry.as_path());
        let table =
            Opened::held(self.file.try_clone()?, path).and_then(|table| table.bytes(MAX_PLACES_BYTES as u64));
        let places = Places::of(table.map_err(io::Error::other)?).ok_or(io::ErrorKind::InvalidData)?;
        self.keep();
        Ok(places)
    }

    fn keep(self) {
        if let Some((unkept, entry)) = self.kept_as
            && let Err(error) = keep(unkept, &entry, &self.file)
        {
            let path = entry.display();
            tracing::warn!(target: "lictor::plugin", %path, %error, "compiled code is not kept");
        }
    }
}

/// Gives a written entry its name, and then writes its hash; each exists whole or not at all.
fn keep(unkept: Unkept, entry: &Path, code: &File) -> io::Result<()> {
    let hash = hash_of(entry, code)?;
    unkept.keep()?;
    write_whole(&hash_file(entry), hash.as_bytes())
}

/// The reason why compiled code makes no component.
#[derive(Debug)]
pub(in crate::plugin) enum Unloadable {
    /// Its definitions would take more of this process's memory than a component may, in these words.
    TooMuch(String),
    /// The engine refuses it.
    Refused(wasmtime::Error),
}

impl<E: Into<wasmtime::Error>> From<E> for Unloadable {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Loads the component whose code is in `code`: mapped, or copied if files may not be mapped as executable.
/// Its definitions are decoded to the heap, so their size is checked first.
#[expect(unsafe_code, reason = "the only place that takes compiled code from a file")]
fn load(engine: &Engine, code: &File, compiling: &Compiling) -> Result<Component, Unloadable> {
    if definitions::size(code)? > compiling.definitions_bytes() {
        return Err(Unloadable::TooMuch(compiling.too_many_definitions()));
    }
    let by_descriptor = format!("/proc/self/fd/{}", code.as_raw_fd());
    // SAFETY: the bytes were made by this program's compiler for an engine with this one's compatibility
    // hash, and the file is the one that was written or checked: it is opened by its descriptor. Only the
    // server's user may write to it. Entries are replaced by renaming and never changed in place, so a
    // mapping stays as it is.
    let mapped = unsafe { Component::deserialize_file(engine, &by_descriptor) };
    let component = match mapped {
        Err(error) if backtrace::is_of_system(&error) => {
            let bytes = fs::read(&by_descriptor)?;
            // SAFETY: the same bytes.
            unsafe { Component::deserialize(engine, bytes) }
        }
        mapped => mapped,
    };
    Ok(component?)
}

#[cfg(test)]
mod tests;
