//! From a component's file to compiled code: read, checked against its pin, told apart from other files.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine::Sandbox;
use super::failure;
use super::load::Spec;
use super::runtime::Runtime;
use super::world::World;

/// A component that was read and compiled, and is yet to be looked at.
pub(super) struct Compiled {
    pub(super) component: Component,
    pub(super) sha256: [u8; 32],
    pub(super) world: World,
    /// Where its world's plugins run, which it was compiled for.
    pub(super) runtime: Arc<Runtime>,
    pub(super) size_bytes: usize,
}

/// Reads and compiles the component of `spec`. Takes long, so it is kept off the threads that serve.
pub(super) async fn compile(sandbox: &Arc<Sandbox>, spec: &Spec) -> Result<Compiled, String> {
    let (sandbox, path, sha256) = (Arc::clone(sandbox), spec.component.clone(), spec.sha256);
    let compiled = tokio::task::spawn_blocking(move || read_and_compile(&sandbox, &path, sha256)).await;
    compiled.map_err(|error| error.to_string())?
}

fn read_and_compile(sandbox: &Sandbox, path: &Path, sha256: Option<[u8; 32]>) -> Result<Compiled, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    check_hash(&hash, sha256)?;
    check_form(&bytes)?;
    let world = World::of(&bytes);
    let runtime = sandbox.runtime(world)?;
    let component = runtime.compile(&bytes, &hash).map_err(|error| unusable(&error))?;
    Ok(Compiled { component, sha256: hash, world, runtime, size_bytes: bytes.len() })
}

/// wasmtime has no type for a component that needs more tables, memories or core instances than the pool has for one,
/// but says how many it needs and how many there are; a test keeps these words true.
fn unusable(error: &wasmtime::Error) -> String {
    let words = failure::words(error);
    let is_too_much = words.contains("exceeds the");
    let begin = if is_too_much {
        "it needs more than this host gives one plugin"
    } else {
        "it is not a valid component"
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

/// Tells files that are something else by their first bytes. Precompiled code is refused too: to run it is to trust
/// whoever made it with the whole process.
fn check_form(bytes: &[u8]) -> Result<(), String> {
    const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
    if Engine::detect_precompiled(bytes).is_some() {
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
