//! Compiled components, kept on disk: a restart maps them instead of compiling them again.
//!
//! An entry is named by what it was made of, the component's SHA-256 and all of the engine's settings and version that
//! its code depends on, so it never has to be rewritten. To map compiled code is to run it without any of the checks
//! that a component goes through: whoever may write into the folder has the server's rights. So the folder is the
//! server's alone, entries are only taken from there, and each is checked against its own hash first, so that a
//! damaged one is compiled anew.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::folder::{TEMPORARY, open_private, write_whole};

/// Without being used for so long, an entry is removed: plugins come and go, and so do engines' versions.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a use is noted, and how long a file may take to be written before it counts as left over.
const DAY: Duration = Duration::from_secs(24 * 3600);

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
        open_private(folder)?;
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
            note_use(&entry, SystemTime::now());
            return Ok(component);
        }
        let code = engine.precompile_component(bytes)?;
        if let Err(error) = keep(&entry, &code) {
            let path = entry.display();
            tracing::warn!(target: "lictor::plugin", %path, %error, "compiled code is not kept");
        }
        load(engine, &code)
    }

    /// Removes the entries that were not used for long, and what killed processes left half-written. Files of others
    /// stay. Gives the number of files that are gone.
    pub(super) fn prune(&self, now: SystemTime) -> io::Result<usize> {
        let mut removed = 0;
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let Some(keeping) = time_kept(&file.file_name()) else { continue };
            let metadata = file.metadata()?;
            let is_old = |modified| now.duration_since(modified).is_ok_and(|age| age > keeping);
            if metadata.is_file() && metadata.modified().is_ok_and(is_old) {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// How long a file of this name is kept without being used; nothing where it is none of the cache's.
fn time_kept(name: &OsStr) -> Option<Duration> {
    let (stem, extensions) = name.to_str()?.split_once('.')?;
    let (component, engine) = stem.split_once('-')?;
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex(component, 64) || !is_hex(engine, 16) {
        return None;
    }
    match extensions {
        "cwasm" | "sha256" => Some(UNUSED),
        _ if Path::new(extensions).extension().is_some_and(|extension| extension == TEMPORARY) => Some(DAY),
        _ => None,
    }
}

/// Notes that an entry was used, once a day. An entry that this fails for is compiled again some day.
fn note_use(entry: &Path, now: SystemTime) {
    let note = |path: &Path| -> io::Result<()> {
        let file = File::open(path)?;
        let noted = file.metadata()?.modified()?;
        if now.duration_since(noted).is_ok_and(|age| age > DAY) { file.set_modified(now) } else { Ok(()) }
    };
    let _ = note(entry).and_then(|()| note(&hash_file(entry)));
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

    fn age(path: &Path, days: u64) {
        File::open(path)
            .unwrap()
            .set_modified(SystemTime::now() - DAY * u32::try_from(days).unwrap())
            .unwrap();
    }

    #[test]
    fn what_was_not_used_for_long_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(folder.path(), &engine).unwrap();
        cache.component(&engine, COMPONENT, &hash(COMPONENT)).unwrap();
        let (entry, _) = files(folder.path(), "cwasm").remove(0);
        let stem = entry.file_stem().unwrap().to_str().unwrap().replace(['0', '1', '2'], "a");
        let left_over = folder.path().join(format!("{stem}.cwasm.123.tmp"));
        let of_others = folder.path().join("notes.cwasm");
        let being_written = folder.path().join(format!("{stem}.sha256.124.tmp"));
        for path in [&left_over, &of_others, &being_written] {
            fs::write(path, "x").unwrap();
        }
        age(&left_over, 2);
        age(&of_others, 300);
        assert_eq!(cache.prune(SystemTime::now()).unwrap(), 1);
        assert!(!left_over.exists() && of_others.exists() && being_written.exists());

        // One that is used stays, however long ago it was made.
        for path in [&entry, &hash_file(&entry)] {
            age(path, 29);
        }
        cache.component(&engine, b"not compiled", &hash(COMPONENT)).unwrap();
        assert_eq!(cache.prune(SystemTime::now() + DAY * 20).unwrap(), 1, "what was being written");
        assert!(entry.exists());
        for path in [&entry, &hash_file(&entry)] {
            age(path, 31);
        }
        assert_eq!(cache.prune(SystemTime::now()).unwrap(), 2);
        assert!(of_others.exists());
    }

    #[test]
    fn a_use_is_noted_once_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let entry = folder.path().join("entry.cwasm");
        fs::write(&entry, "x").unwrap();
        fs::write(hash_file(&entry), "x").unwrap();
        let made = fs::metadata(&entry).unwrap().modified().unwrap();
        let noted = || fs::metadata(&entry).unwrap().modified().unwrap();
        note_use(&entry, made + DAY / 2);
        assert_eq!(noted(), made);
        note_use(&entry, made + DAY * 2);
        assert_eq!(noted(), made + DAY * 2);
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
