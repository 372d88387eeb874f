//! Compiled components, kept on disk: a restart maps them instead of compiling them again.
//!
//! An entry is named by what it was made of, the component's SHA-256 and all of the engine's settings and version that
//! its code depends on, so it never has to be rewritten. To map compiled code is to run it without any of the checks
//! that a component goes through: whoever may write into the folder has the server's rights. So the folder is the
//! server's alone, entries are only taken from there, and each is checked against its own hash first, so that a
//! damaged one is compiled anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// A folder of compiled components.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Stands for the engine: its settings, its version, the processor's features.
    engine: String,
}

/// The SHA-256 of some bytes.
type Hash256 = [u8; 32];

impl Cache {
    /// Opens the folder, or makes it.
    pub(super) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let metadata = fs::symlink_metadata(folder)?;
        let of_others = metadata.mode() & 0o022 != 0;
        if !metadata.is_dir() || of_others || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(
                "it must be a folder that belongs to the server's user, and that nobody else may write to (chmod 700)",
            ));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder: folder.to_owned(), engine: format!("{:016x}", hasher.finish()) })
    }

    /// The component in `bytes`, whose SHA-256 is `hash`: mapped from its entry, or compiled and kept.
    pub(super) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        hash: &Hash256,
    ) -> wasmtime::Result<Component> {
        let entry =
            self.folder.join(format!("{}-{}.cwasm", base16ct::lower::encode_string(hash), self.engine));
        if let Some(component) = map(engine, &entry) {
            return Ok(component);
        }
        let code = engine.precompile_component(bytes)?;
        if let Err(error) = keep(&entry, &code) {
            let path = entry.display();
            tracing::warn!(target: "lictor::plugin", %path, %error, "compiled code is not kept");
        }
        load(engine, &code)
    }
}

/// The component whose code was just compiled.
#[expect(unsafe_code, reason = "the code comes from the compiler, not from a file")]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is what this engine's compiler returned, and has not left the process since.
    unsafe { Component::deserialize(engine, code) }
}

/// The file beside an entry that has the entry's SHA-256, in hexadecimal.
fn hash_file(entry: &Path) -> PathBuf {
    entry.with_extension("sha256")
}

/// Maps an entry that is whole; nothing where there is none, or it is damaged.
#[expect(unsafe_code, reason = "the only place that takes compiled code from a file")]
fn map(engine: &Engine, entry: &Path) -> Option<Component> {
    let expected = fs::read_to_string(hash_file(entry)).ok()?;
    let found = base16ct::lower::encode_string(&Sha256::digest(fs::read(entry).ok()?));
    if expected.trim_end() != found {
        let path = entry.display();
        tracing::warn!(target: "lictor::plugin", %path, "compiled code is damaged; it is compiled anew");
        return None;
    }
    // SAFETY: the bytes are what this engine's compiler made: they lie in a folder that only the server's user may
    // write to, under a name that holds the engine's compatibility hash, and have the hash that was written after
    // them. Entries are replaced by renaming, never changed in place, so a mapping stays as it is.
    unsafe { Component::deserialize_file(engine, entry) }.ok()
}

/// Writes an entry and then its hash, each whole or not at all.
fn keep(entry: &Path, code: &[u8]) -> io::Result<()> {
    write_whole(entry, code)?;
    write_whole(&hash_file(entry), base16ct::lower::encode_string(&Sha256::digest(code)).as_bytes())
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over from a process of the same number that was killed.
    let _ = fs::remove_file(path);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn hash(bytes: &[u8]) -> Hash256 {
        Sha256::digest(bytes).into()
    }

    /// The files of a folder that end so, with what is in them.
    fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let entries = entries.filter(|path| path.extension().is_some_and(|found| found == extension));
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    #[test]
    fn what_was_compiled_is_mapped_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(&folder.path().join("a/b"), &engine).unwrap();
        cache.component(&engine, COMPONENT, &hash(COMPONENT)).unwrap();
        let made = files(&cache.folder, "cwasm");
        assert_eq!(made.len(), 1);
        assert_eq!(fs::metadata(&cache.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&made[0].0).unwrap().permissions().mode() & 0o777, 0o600);
        // Bytes that are no component show that the entry is used.
        cache.component(&engine, b"not compiled", &hash(COMPONENT)).unwrap();
        assert_eq!(files(&cache.folder, "cwasm"), made);
        assert_eq!(files(&cache.folder, "tmp"), []);
    }

    #[test]
    fn a_damaged_entry_is_compiled_anew() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(folder.path(), &engine).unwrap();
        cache.component(&engine, COMPONENT, &hash(COMPONENT)).unwrap();
        let (entry, whole) = files(&cache.folder, "cwasm").remove(0);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&flipped[..], &whole[..100], b"", b"x"] {
            fs::write(&entry, damaged).unwrap();
            cache.component(&engine, COMPONENT, &hash(COMPONENT)).unwrap();
            assert_eq!(fs::read(&entry).unwrap(), whole);
        }
        fs::remove_file(hash_file(&entry)).unwrap();
        assert!(cache.component(&engine, b"must be compiled", &hash(COMPONENT)).is_err());
    }

    #[test]
    fn another_engine_has_entries_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let engines = [false, true].map(|interruption| {
            Engine::new(wasmtime::Config::new().epoch_interruption(interruption)).unwrap()
        });
        for engine in &engines {
            let cache = Cache::open(folder.path(), engine).unwrap();
            cache.component(engine, COMPONENT, &hash(COMPONENT)).unwrap();
        }
        assert_eq!(files(folder.path(), "cwasm").len(), 2);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(folder.path(), &Engine::default()).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        let private = tempfile::tempdir().unwrap();
        let link = private.path().join("link");
        std::os::unix::fs::symlink(private.path(), &link).unwrap();
        assert!(Cache::open(&link, &Engine::default()).is_err());
    }

    #[test]
    fn a_folder_that_takes_nothing_costs_the_cache_only() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(&folder.path().join("gone"), &engine).unwrap();
        fs::remove_dir(&cache.folder).unwrap();
        cache.component(&engine, COMPONENT, &hash(COMPONENT)).unwrap();
    }
}
