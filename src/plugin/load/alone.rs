//! A process that compiles one component or reads its debug file, within bounds that it sets itself.
//!
//! Invariant: nothing written by a component's author is read before [`confine`].

use std::io::{self, Read};

use super::compiler::Work;
use super::compiling::Compiling;
use super::confine::confine;
use crate::plugin::debug::{backtrace, dwarf};
use crate::plugin::engine;
use crate::plugin::world::World;

/// The result of [`compile_alone`].
#[derive(Debug)]
pub struct Compilation {
    /// Rights that the process could not give up, in words for the log.
    pub kept_rights: Vec<String>,
    /// The code or the table; or the fault of the component, which is too large, invalid, or has a faulty
    /// debug file.
    pub made: Result<Vec<u8>, String>,
}

/// Does `work` on the component in `input`, in a process that `run` started for it.
///
/// # Errors
///
/// If the process can't bound itself, or has no such world. An error of the kind `OutOfMemory` means that it
/// has less memory than it needs.
pub fn compile_alone(compiling: &Compiling, work: &Work, input: impl Read) -> io::Result<Compilation> {
    let memory_bytes = u64::try_from(compiling.memory_bytes).unwrap_or(u64::MAX);
    let kept_rights = confine(memory_bytes, compiling.time)?;
    let made = match work {
        Work::Code { world } => code(compiling, world, input)?,
        Work::Places { debug_bytes } => places(compiling, *debug_bytes, input)?,
    };
    Ok(Compilation { kept_rights, made })
}

fn code(compiling: &Compiling, world: &str, input: impl Read) -> io::Result<Result<Vec<u8>, String>> {
    let world = World::named(world).ok_or_else(|| io::Error::other("there is no such world"))?;
    // Otherwise the compiler would start these threads itself, and panic without memory for their stacks.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|_| io::ErrorKind::OutOfMemory)?;
    let engine = engine::compiling_engine(world).map_err(|error| match backtrace::is_of_memory(&error) {
        true => io::ErrorKind::OutOfMemory.into(),
        false => io::Error::other(error),
    })?;
    let bytes = read(input, compiling.component_bytes)?;
    if bytes.len() > compiling.component_bytes {
        return Ok(Err(compiling.too_large()));
    }
    match engine.precompile_component(&bytes) {
        Err(error) if backtrace::is_of_memory(&error) => Err(io::ErrorKind::OutOfMemory.into()),
        code => Ok(code.map_err(|error| backtrace::words(&error))),
    }
}

fn places(
    compiling: &Compiling,
    debug_bytes: usize,
    input: impl Read,
) -> io::Result<Result<Vec<u8>, String>> {
    let bytes = read(input, compiling.component_bytes.saturating_mul(2))?;
    let component_bytes = bytes.len().checked_sub(debug_bytes);
    let (component, debug) = bytes.split_at(component_bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(dwarf::places(component, debug))
}

/// Reads all of `input`, or `most` bytes and one more.
fn read(input: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    input.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
