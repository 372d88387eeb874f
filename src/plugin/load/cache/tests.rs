//! The cache of compiled components: entries that it keeps, and entries that it refuses.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};

use super::*;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn hash(bytes: &[u8]) -> Hash256 {
    Sha256::digest(bytes).into()
}

/// Loads the component in `bytes`, compiling it in this process if the cache does not have it.
fn component(cache: &Cache, engine: &Engine, bytes: &[u8], hash: &Hash256) -> Result<Component, Unloadable> {
    if let Some(component) = find(cache, engine, hash) {
        return component;
    }
    let code = engine.precompile_component(bytes)?;
    let draft = cache.draft(hash, CODE).or_else(|_| Draft::in_memory())?;
    draft.output()?.write_all(&code)?;
    draft.component(engine, &within(0))
}

/// The bounds for a `component_size`.
fn within(component_bytes: usize) -> Compiling {
    Compiling::by_itself(component_bytes, 0, Duration::ZERO)
}

fn find(cache: &Cache, engine: &Engine, hash: &Hash256) -> Option<Result<Component, Unloadable>> {
    cache.find(engine, hash, &within(0))
}

/// The files of a folder with this extension, with their content.
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
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
    let made = files(&cache.folder, "cwasm");
    assert_eq!(made.len(), 1);
    assert_eq!(fs::metadata(&cache.folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&made[0].0).unwrap().permissions().mode() & 0o777, 0o600);
    // Success with bytes that are not a component shows that the entry is used.
    component(&cache, &engine, b"not compiled", &hash(COMPONENT)).unwrap();
    assert_eq!(files(&cache.folder, "cwasm"), made);
    assert_eq!(files(&cache.folder, "tmp"), []);
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path(), &engine).unwrap();
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
    let (entry, whole) = files(&cache.folder, "cwasm").remove(0);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..100], b"", b"x"] {
        fs::write(&entry, damaged).unwrap();
        component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
        assert_eq!(fs::read(&entry).unwrap(), whole);
    }
    fs::remove_file(hash_file(&entry)).unwrap();
    assert!(component(&cache, &engine, b"must be compiled", &hash(COMPONENT)).is_err());
}

#[test]
fn another_engine_has_entries_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let engines = [false, true]
        .map(|interruption| Engine::new(wasmtime::Config::new().epoch_interruption(interruption)).unwrap());
    for engine in &engines {
        let cache = Cache::open(folder.path(), engine).unwrap();
        component(&cache, engine, COMPONENT, &hash(COMPONENT)).unwrap();
    }
    assert_eq!(files(folder.path(), "cwasm").len(), 2);
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let words = Cache::open(folder.path(), &Engine::default()).unwrap_err().to_string();
    assert!(words.contains("remove") && !words.contains("chmod"), "{words}");
    fs::write(folder.path().join("file"), "x").unwrap();
    assert!(Cache::open(&folder.path().join("file"), &Engine::default()).is_err());
}

/// Covers every way in which others can have written an entry or can change it; its code is then replaced.
#[test]
fn an_entry_that_others_can_have_written_is_compiled_anew() {
    type Spoil = fn(&Path) -> io::Result<()>;
    let spoilt: [(&str, Spoil); 5] = [
        ("its group may write", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o660))),
        ("all may write", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o602))),
        ("two names", |path| fs::hard_link(path, path.with_extension("other"))),
        ("a link of another's", |path| {
            fs::rename(path, path.with_extension("there"))?;
            std::os::unix::fs::symlink(path.with_extension("there"), path)?;
            std::os::unix::fs::lchown(path, Some(65534), None)
        }),
        ("another's", |path| chown(path, Some(65534), None)),
    ];
    for (what, spoil) in spoilt {
        for of_hash in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let engine = Engine::default();
            let cache = Cache::open(folder.path(), &engine).unwrap();
            component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
            let entry = cache.path(&hash(COMPONENT), CODE);
            let file = if of_hash { hash_file(&entry) } else { entry.clone() };
            let Ok(()) = spoil(&file) else {
                println!("SKIPPED: {what}; root alone gives files away");
                continue;
            };
            assert!(find(&cache, &engine, &hash(COMPONENT)).is_none(), "{what}, {of_hash}");
            component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
            assert!(find(&cache, &engine, &hash(COMPONENT)).is_some(), "{what}, {of_hash}");
            assert_eq!(fs::symlink_metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{what}");
        }
    }
}

#[test]
fn an_entry_under_the_name_of_another_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path(), &engine).unwrap();
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
    let (one, other) = (cache.path(&hash(COMPONENT), CODE), cache.path(&hash(b"another"), CODE));
    fs::rename(hash_file(&one), hash_file(&other)).unwrap();
    fs::rename(one, other).unwrap();
    assert!(find(&cache, &engine, &hash(b"another")).is_none());
}

fn age(path: &Path, days: u64) {
    File::open(path).unwrap().set_modified(SystemTime::now() - DAY * u32::try_from(days).unwrap()).unwrap();
}

#[test]
fn what_was_not_used_for_long_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path(), &engine).unwrap();
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
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
    assert_eq!(cache.prune(SystemTime::now(), u64::MAX).unwrap(), 1);
    assert!(!left_over.exists() && of_others.exists() && being_written.exists());

    // An entry in use stays, however long ago it was made.
    for path in [&entry, &hash_file(&entry)] {
        age(path, 29);
    }
    component(&cache, &engine, b"not compiled", &hash(COMPONENT)).unwrap();
    assert_eq!(cache.prune(SystemTime::now() + DAY * 20, u64::MAX).unwrap(), 1, "what was being written");
    assert!(entry.exists());
    for path in [&entry, &hash_file(&entry)] {
        age(path, 31);
    }
    assert_eq!(cache.prune(SystemTime::now(), u64::MAX).unwrap(), 2);
    assert!(of_others.exists());
}

#[test]
fn what_is_over_the_bound_is_removed_in_the_order_of_its_last_use() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path(), &engine).unwrap();
    let sizes: Vec<u64> = (1..=3_u64)
        .map(|number| {
            // The entries differ in length, and their last uses are in the reverse order of their making.
            let name = "x".repeat(usize::try_from(number).unwrap());
            let text = format!("(component (core module ${name}))");
            let (bytes, hash) = (wat::parse_str(text).unwrap(), hash(&[u8::try_from(number).unwrap()]));
            component(&cache, &engine, &bytes, &hash).unwrap();
            let entry = cache.path(&hash, CODE);
            for path in [&entry, &hash_file(&entry)] {
                age(path, number);
            }
            fs::metadata(&entry).unwrap().len() + fs::metadata(hash_file(&entry)).unwrap().len()
        })
        .collect();
    let is_kept = |number: u8| find(&cache, &engine, &hash(&[number])).is_some();
    let of_others = folder.path().join("notes.cwasm");
    fs::write(&of_others, "x".repeat(1000)).unwrap();
    assert_eq!(cache.prune(SystemTime::now(), sizes.iter().sum()).unwrap(), 0);
    assert_eq!(cache.prune(SystemTime::now(), sizes[0] + sizes[1]).unwrap(), 2);
    assert!(!is_kept(3) && is_kept(2) && is_kept(1));
    // A use is noted, so the other entry goes next.
    age(&cache.path(&hash(&[1]), CODE), 1);
    age(&hash_file(&cache.path(&hash(&[1]), CODE)), 1);
    assert!(is_kept(2));
    assert_eq!(cache.prune(SystemTime::now(), sizes[1]).unwrap(), 2);
    assert!(is_kept(2) && !is_kept(1) && of_others.exists());
}

#[test]
fn a_use_is_noted_once_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let entry = folder.path().join("entry.cwasm");
    fs::write(&entry, "x").unwrap();
    let file = Opened::file(&entry).unwrap();
    let noted = || fs::metadata(&entry).unwrap().modified().unwrap();
    let made = noted();
    note_use([&file, &file], made + HOUR / 2);
    assert_eq!(noted(), made);
    note_use([&file, &file], made + HOUR * 2);
    assert_eq!(noted(), made + HOUR * 2);
}

#[test]
fn a_folder_that_takes_nothing_costs_the_cache_only() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(&folder.path().join("gone"), &engine).unwrap();
    fs::remove_dir(&cache.folder).unwrap();
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
}

/// Swapped by the owner of a folder above.
#[test]
fn a_folder_that_was_swapped_is_not_used() {
    let above = tempfile::tempdir().unwrap();
    let (folder, secret) = (above.path().join("cache"), above.path().join("secret"));
    let engine = Engine::default();
    let cache = Cache::open(&folder, &engine).unwrap();
    fs::remove_dir(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
    assert!(cache.prune(SystemTime::now(), u64::MAX).is_err());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    fs::remove_dir(&folder).unwrap();
    open_private(&secret).unwrap();
    std::os::unix::fs::symlink(&secret, &folder).unwrap();
    if std::os::unix::fs::lchown(&folder, Some(65_534), None).is_err() {
        return;
    }
    component(&cache, &engine, COMPONENT, &hash(COMPONENT)).unwrap();
    assert!(cache.prune(SystemTime::now(), u64::MAX).is_err());
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
}

#[test]
fn definitions_are_bounded_before_they_are_decoded_also_those_of_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path(), &engine).unwrap();
    let exports: String = (0..150_000).map(|number| format!("(export \"{number}\" (global 0))")).collect();
    let text = format!("(component (core module (global i32 (i32.const 0)) {exports}))");
    let (bytes, hash) = (wat::parse_str(text).unwrap(), hash(b"exports"));
    let is_too_much =
        |loaded| matches!(loaded, Err(Unloadable::TooMuch(words)) if words.contains("component_size"));
    assert!(is_too_much(component(&cache, &engine, &bytes, &hash)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "what can't be loaded is not kept");
    let draft = cache.draft(&hash, CODE).unwrap();
    draft.output().unwrap().write_all(&engine.precompile_component(&bytes).unwrap()).unwrap();
    draft.component(&engine, &within(128 << 20)).unwrap();
    // The bound is lower now than it was when the entry was made.
    assert!(is_too_much(find(&cache, &engine, &hash).unwrap()));
    cache.find(&engine, &hash, &within(128 << 20)).unwrap().unwrap();
}
