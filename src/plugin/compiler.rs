//! A process of its own for each component that is compiled: what its author wrote decides how long that takes, and
//! how much memory.
//!
//! [`run`] starts one and bounds it from outside; [`compile_alone`] is what it does.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::backtrace;
use super::confine::confine;
use super::runtime;
use super::world::World;
use crate::telemetry::metrics::Counter;
use crate::text::shown;

/// The program that is running, wherever its file went meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The verb that compiles.
const VERB: &str = "compile";

/// By which program a component is compiled, and what that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiling {
    /// A program that has the verb `compile`: the one that is running, but in those that are not `lictor`.
    pub program: PathBuf,
    /// The largest file, in bytes.
    pub component_bytes: usize,
    /// The most memory that compiling it may take, in bytes of address space.
    pub memory_bytes: usize,
    /// How long it may take, by the clock and in processor time.
    pub time: Duration,
}

impl Compiling {
    /// These bounds, by the program that is running.
    #[must_use]
    pub fn by_itself(component_bytes: usize, memory_bytes: usize, time: Duration) -> Self {
        Self { program: OWN_PROGRAM.into(), component_bytes, memory_bytes, time }
    }

    /// A component whose file is larger than it may be.
    pub(super) fn too_large(&self) -> String {
        Counter::ComponentsTooLarge.count();
        format!("its file is larger than component_size = {}", size(self.component_bytes))
    }

    fn memory_used_up(&self) -> String {
        Counter::CompileMemoryUsedUp.count();
        format!("it takes more than compile_memory = {} to compile", size(self.memory_bytes))
    }

    fn time_used_up(&self) -> String {
        Counter::CompileTimeUsedUp.count();
        format!("it takes more than compile_time = {:?} to compile", self.time)
    }
}

/// A number of bytes in the largest unit that divides it.
fn size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let fitting = units.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes >= *unit);
    let (unit, bytes_of_unit) = fitting.unwrap_or(("B", 1));
    format!("{} {unit}", bytes / bytes_of_unit)
}

/// Why there is no compiled code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Uncompiled {
    /// The compiler says so of the component, in words that hold some of the component's own.
    Invalid(String),
    /// It takes more than it may, or the compiler could not do its work.
    Failed(String),
}

/// How much is read of what the compiler says is wrong, in bytes.
const MAX_WORDS_BYTES: u64 = 16 << 10;

/// The same of what is shown of a compiler that broke off, in characters.
const MAX_WORDS_CHARS: usize = 400;

/// Compiles the component in `bytes` for `world` into the file `output`. To drop the future ends the compiler.
pub(super) async fn run(
    compiling: &Compiling,
    world: World,
    bytes: &[u8],
    output: File,
) -> Result<(), Uncompiled> {
    let child = command(compiling, world, output).spawn();
    let mut child = child.map_err(|error| {
        let program = compiling.program.display();
        Uncompiled::Failed(format!("it can't be compiled: {program} can't be run: {error}"))
    })?;
    let ended = timeout(compiling.time, converse(&mut child, bytes)).await;
    let Ok(ended) = ended else {
        // Also waits for its end, so that its memory is free when this is told.
        let _ = child.kill().await;
        return Err(Uncompiled::Failed(compiling.time_used_up()));
    };
    let (status, said) =
        ended.map_err(|error| Uncompiled::Failed(format!("it can't be compiled: {error}")))?;
    judge(compiling, status, &said)
}

/// Threads that compile one component: each has a stack, of the memory that there is.
const MAX_THREADS: usize = 8;

/// Address space that the allocator takes at a time, in KiB; by itself it takes a gigabyte before the first line runs.
const ARENA_KIB: &str = "65536";

fn command(compiling: &Compiling, world: World, output: File) -> Command {
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS);
    let mut command = Command::new(&compiling.program);
    command
        .arg0("lictor")
        .arg(VERB)
        .args(["--world", world.name()])
        .args(["--component-bytes", &compiling.component_bytes.to_string()])
        .args(["--memory-bytes", &compiling.memory_bytes.to_string()])
        .args(["--milliseconds", &compiling.time.as_millis().to_string()])
        .env_clear()
        // What it could find out by itself only with the right to read files.
        .env("RAYON_NUM_THREADS", threads.to_string())
        .env("MIMALLOC_ARENA_RESERVE", ARENA_KIB)
        .current_dir("/")
        // An interrupt from the terminal is the server's to handle.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Gives the compiler the component and hears what it has to say.
async fn converse(child: &mut Child, bytes: &[u8]) -> io::Result<(ExitStatus, String)> {
    let (input, words) = (child.stdin.take(), child.stderr.take());
    let give = async move {
        if let Some(mut input) = input {
            // One that ends before it has read all says why.
            let _ = input.write_all(bytes).await;
        }
    };
    let hear = async move {
        let mut said = Vec::new();
        if let Some(words) = words {
            let _ = words.take(MAX_WORDS_BYTES).read_to_end(&mut said).await;
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    let ((), said, status) = tokio::join!(give, hear, child.wait());
    Ok((status?, said))
}

/// Exit code of a compiler that found the component to be invalid, as of any verb that fails.
const INVALID: i32 = 1;

fn judge(compiling: &Compiling, status: ExitStatus, said: &str) -> Result<(), Uncompiled> {
    let said = said.trim_end();
    if status.success() {
        note_refused(said);
        return Ok(());
    }
    let by_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    if by_signal(Signal::XCPU) {
        return Err(Uncompiled::Failed(compiling.time_used_up()));
    }
    if by_signal(Signal::XFSZ) || has_no_memory(said) {
        return Err(Uncompiled::Failed(compiling.memory_used_up()));
    }
    if status.code() == Some(INVALID) {
        return Err(Uncompiled::Invalid(said.to_owned()));
    }
    let words = shown(said, MAX_WORDS_CHARS);
    Err(Uncompiled::Failed(format!("the compiler broke off ({status}): {words}")))
}

/// Words of the standard library about an allocation, and of the system about a mapping or a thread: there is no other
/// sign of it. A test with little memory keeps them true.
fn has_no_memory(said: &str) -> bool {
    ["memory allocation of ", "os error 12", "kind: OutOfMemory", "os error 11", "kind: WouldBlock"]
        .iter()
        .any(|words| said.contains(words))
}

/// Says once what the compiler could not give up.
fn note_refused(said: &str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if !said.is_empty() {
        let refused = shown(said, MAX_WORDS_CHARS).to_string();
        ONCE.call_once(
            || tracing::warn!(target: "lictor::plugin", refused, "the compiler keeps some rights"),
        );
    }
}

/// What came of [`compile_alone`].
#[derive(Debug)]
pub struct Compilation {
    /// What the process could not give up, in words for the log.
    pub kept_rights: Vec<String>,
    /// The code; or what is wrong with the component, which is larger than it may be, or invalid.
    pub code: Result<Vec<u8>, String>,
}

/// Compiles the component in `input`, in a process that was started for it by `run`.
///
/// # Errors
///
/// When the process can't bound itself, or has no such world.
pub fn compile_alone(compiling: &Compiling, world: &str, input: impl Read) -> io::Result<Compilation> {
    let world = World::named(world).ok_or_else(|| io::Error::other("there is no such world"))?;
    let memory_bytes = u64::try_from(compiling.memory_bytes).unwrap_or(u64::MAX);
    let kept_rights = confine(memory_bytes, compiling.time)?;
    let engine = runtime::compiling_engine(world).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(compiling.component_bytes).unwrap_or(u64::MAX);
    input.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    let code = if bytes.len() > compiling.component_bytes {
        Err(compiling.too_large())
    } else {
        engine.precompile_component(&bytes).map_err(|error| backtrace::words(&error))
    };
    Ok(Compilation { kept_rights, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: i32, said: &str) -> Result<(), Uncompiled> {
        let compiling = Compiling::by_itself(1 << 20, 3 << 29, Duration::from_secs(9));
        judge(&compiling, ExitStatus::from_raw(status), said)
    }

    #[test]
    fn each_way_in_which_a_compiler_ends_has_its_words() {
        let exit = |code: i32| code << 8;
        assert_eq!(judged(exit(0), ""), Ok(()));
        assert_eq!(judged(exit(0), "system calls: refused"), Ok(()));
        assert_eq!(judged(exit(1), "no component\n"), Err(Uncompiled::Invalid("no component".into())));
        let time = "it takes more than compile_time = 9s to compile";
        let memory = "it takes more than compile_memory = 1536 MiB to compile";
        for (status, said, words) in [
            (Signal::XCPU.as_raw(), "", time),
            (Signal::XFSZ.as_raw(), "", memory),
            (Signal::ABORT.as_raw(), "memory allocation of 4096 bytes failed", memory),
            (exit(1), "mmap failed: Cannot allocate memory (os error 12)", memory),
            (exit(101), "IOError(Os { code: 11, kind: WouldBlock, message: \"…\" })", memory),
            (exit(2), "not\x1b set", "the compiler broke off (exit status: 2): not\\x1b set"),
            (Signal::SEGV.as_raw(), "", "the compiler broke off (signal: 11 (SIGSEGV)): "),
        ] {
            assert_eq!(judged(status, said), Err(Uncompiled::Failed(words.into())));
        }
    }

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_divides_them() {
        for (bytes, words) in [(0, "0 B"), (1000, "1000 B"), (20 << 10, "20 KiB"), (2 << 30, "2 GiB")] {
            assert_eq!(size(bytes), words);
        }
    }
}
