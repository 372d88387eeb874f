//! From a component's file to compiled code: read, checked against its pin, and told apart from other files.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::blocking::blocking;
use super::cache::{CODE, Draft, Unloadable};
use super::compiler::{self, Uncompiled, Work};
use super::debug::Debug;
use crate::files::{Opened, Reason};
use crate::plugin::debug::backtrace;
use crate::plugin::engine::Engine;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::spec::Spec;
use crate::plugin::world::World;

/// A component that was read and compiled, but not yet inspected.
pub(super) struct Compiled {
    pub(super) component: Component,
    pub(super) sha256: [u8; 32],
    pub(super) world: World,
    /// The engine of its world's plugins, for which it was compiled.
    pub(super) engine: Arc<Engine>,
    pub(super) size_bytes: usize,
    pub(super) debug: Arc<Debug>,
}

/// A check of a component's bytes before they are compiled.
pub(super) type Check = fn(&[u8], &Spec) -> Result<(), String>;

/// Reads and compiles the component of `spec`, unless `check` fails. Dropping the future ends the compiler.
///
/// The work in this process before the compiler's is bounded by the file's size: two passes over the bytes,
/// one for their hash and one for their world.
pub(super) async fn compile(sandbox: &Arc<Sandbox>, spec: &Spec, check: Check) -> Result<Compiled, String> {
    let (reading_in, of) = (Arc::clone(sandbox), spec.clone());
    let read = blocking(move || read(&reading_in, &of, check)).await?;
    let Read { bytes, sha256, world, engine, found } = read;
    let size_bytes = bytes.len();
    let component = match found {
        Found::Component(component) => component,
        Found::Draft(draft) => {
            let output = draft.output().map_err(|error| error.to_string())?;
            let work = Work::Code { world: world.name().to_owned() };
            let compiled = compiler::run(&spec.compiling, &work, &[&bytes], output).await;
            compiled.map_err(|uncompiled| match uncompiled {
                Uncompiled::Invalid(words) => invalid(&words),
                Uncompiled::Exceeding(words) | Uncompiled::Failed(words) => words,
            })?;
            let (engine, compiling) = (Arc::clone(&engine), spec.compiling.clone());
            let loading = move || draft.component(engine.wasmtime(), &compiling).map_err(words);
            blocking(loading).await?
        }
    };
    let debug = Arc::new(Debug::of(&engine, spec, (&bytes, &sha256)).await);
    Ok(Compiled { component, sha256, world, engine, size_bytes, debug })
}

/// A component's bytes, with everything known of them before the compiler runs.
struct Read {
    bytes: Vec<u8>,
    sha256: [u8; 32],
    world: World,
    engine: Arc<Engine>,
    found: Found,
}

/// The component from the cache, or a file for its code.
enum Found {
    Component(Component),
    Draft(Draft),
}

fn read(sandbox: &Sandbox, spec: &Spec, check: Check) -> Result<Read, String> {
    let bytes = read_file(spec)?;
    let sha256 = digest(&bytes);
    check_hash(&sha256, spec.sha256)?;
    check_form(&bytes)?;
    check(&bytes, spec)?;
    let world = World::of(&bytes);
    let engine = sandbox.engine(world)?;
    let found = match engine.compiled_before(&sha256, &spec.compiling) {
        Some(component) => Found::Component(component.map_err(words)?),
        None => Found::Draft(engine.draft(&sha256, CODE).map_err(|error| error.to_string())?),
    };
    Ok(Read { bytes, sha256, world, engine, found })
}

pub(super) fn read_file(spec: &Spec) -> Result<Vec<u8>, String> {
    let most = spec.compiling.component_bytes as u64;
    let opened = Opened::file(&spec.component).and_then(|file| spec.authors.want(file));
    let read = opened.and_then(|file| file.bytes(most));
    read.map_err(|fault| match (&fault.reason, fault.advice()) {
        (Reason::TooLarge { .. }, _) => spec.compiling.too_large(),
        (_, Some(advice)) => format!("{}: {}; {advice}", fault.outcome(), fault.what()),
        (_, None) => format!("{}: {}", fault.outcome(), fault.what()),
    })
}

/// Returns the SHA-256 of the component file of `spec`.
pub(super) fn hash_of(spec: &Spec) -> Result<[u8; 32], String> {
    Ok(digest(&read_file(spec)?))
}

/// Returns the SHA-256 of a component.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Parts of the validator's messages about WebAssembly proposals that are off; a test with a component for
/// each keeps these true. A message may quote the component elsewhere, which then gets the wrong one of two
/// texts.
const OFF: [&str; 10] = [
    "not enabled",
    "be enabled",
    "is disabled",
    "are disabled",
    "is not active",
    "proposal not supported",
    "requires the component model",
    "not supported without the",
    "disallowed but found type which requires gc",
    "-threads proposal",
];

/// Describes the fault of a component that does not compile.
fn invalid(words: &str) -> String {
    let begin = match OFF.iter().any(|off| words.contains(off)) {
        true => {
            "it is built for more of WebAssembly than this host runs (no GC, exceptions or threads, for instance); build it without that"
        }
        false => "it is not a valid component",
    };
    format!("{begin}: {words}")
}

/// Describes the fault of compiled code. wasmtime has no type for a component that needs more tables,
/// memories or core instances than the pool has for one, but gives the number needed and the number
/// available; a test keeps these words true. They quote nothing of the component.
fn words(unloadable: Unloadable) -> String {
    let error = match unloadable {
        Unloadable::TooMuch(words) => return words,
        Unloadable::Refused(error) => error,
    };
    let words = backtrace::words(&error);
    let begin = match words.contains("exceeds the") {
        true => "it needs more than this host gives one plugin",
        false => "its compiled code can't be loaded",
    };
    format!("{begin}: {words}")
}

fn check_hash(found: &[u8; 32], pinned: Option<[u8; 32]>) -> Result<(), String> {
    let hex = base16ct::lower::encode_string;
    match pinned {
        Some(pinned) if pinned != *found => Err(format!(
            "its SHA-256 is {}, but the config pins {}; if the change is meant, write the new hash",
            hex(found),
            hex(&pinned)
        )),
        _ => Ok(()),
    }
}

/// Recognizes files of other kinds by their first bytes. Precompiled code is refused too: running it means
/// trusting its author with the whole process.
fn check_form(bytes: &[u8]) -> Result<(), String> {
    const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(
            "it is precompiled code, which is not taken from files; give the component it was made of".into(),
        );
    }
    if bytes.starts_with(&CORE_MODULE) {
        return Err(
            "it is a core WebAssembly module, not a component; build it for wasm32-wasip2, or wrap it with \
             `wasm-tools component new`"
                .into(),
        );
    }
    if !bytes.starts_with(b"\0asm") {
        return Err("it is not WebAssembly: it does not begin with \\0asm".into());
    }
    Ok(())
}
