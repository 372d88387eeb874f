//! A separate process for each component that is compiled, and for each debug file: their author's bytes
//! decide how much time and memory that takes.
//!
//! [`run`] starts a process and bounds it from outside; `alone` is the code that runs in it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::compiling::Compiling;
use crate::sync::locked;
use crate::text::shown;

/// The verb that compiles.
const VERB: &str = "compile";

/// Reason for which there is no compiled code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Uncompiled {
    /// The compiler found the component invalid, in words that quote some of the component's own.
    Invalid(String),
    /// The component exceeds a bound, or breaks the compiler; it would do so again under the same bounds.
    Exceeding(String),
    /// The compiler could not do its work.
    Failed(String),
}

/// Bytes that are read of the compiler's error message.
const MAX_WORDS_BYTES: u64 = 16 << 10;

/// Characters that are shown of the message of a compiler that broke off.
const MAX_WORDS_CHARS: usize = 400;

/// A compiler process's output, made from a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Compiled code.
    Code {
        /// The name of the world of its plugin.
        world: String,
    },
    /// The table of places, made from the debug file that follows the component.
    Places {
        /// The debug file's size.
        debug_bytes: usize,
    },
}

/// Does `work` on the component that is the first of `input`, into the file `output`. Dropping the future
/// ends the compiler.
pub(in crate::plugin) async fn run(
    compiling: &Compiling,
    work: &Work,
    input: &[&[u8]],
    output: File,
) -> Result<(), Uncompiled> {
    drive(compiling, command(compiling, work, output), input).await
}

/// Has `command` work on `input`. A blocking thread waits for its end: with tokio's processes, each worker
/// would check for ended ones whenever it parks.
async fn drive(compiling: &Compiling, mut command: Command, input: &[&[u8]]) -> Result<(), Uncompiled> {
    let failed = |error: io::Error| Uncompiled::Failed(format!("it can't be compiled: {error}"));
    let mut child = command.spawn().map_err(|error| {
        let program = compiling.program.display();
        Uncompiled::Failed(format!("it can't be compiled: {program} can't be run: {error}"))
    })?;
    let pipes = (child.stdin.take(), child.stderr.take());
    let running = Running(Arc::new(Mutex::new(child)));
    let child = Arc::clone(&running.0);
    let mut ended = spawn_blocking(move || wait(&child));
    let Ok(conversed) = timeout(compiling.time, converse(pipes, input, &mut ended)).await else {
        drop(running);
        // Its memory is to be free before the caller hears of it.
        let _ = ended.await;
        return Err(Uncompiled::Exceeding(compiling.time_used_up()));
    };
    let (status, said) = conversed.map_err(failed)?;
    judge(compiling, status, &said)
}

/// A compiler's process, killed if this is dropped before it has ended.
struct Running(Arc<Mutex<Child>>);

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing to a process that was waited for: its number may be another's by now.
        let _ = locked(&self.0).kill();
    }
}

/// Most threads that compile one component: each has a stack, which counts towards the memory bound.
const MAX_THREADS: usize = 8;

/// Address space that the allocator takes at a time, in KiB; its default is a gigabyte before the first line
/// runs.
const ARENA_KIB: &str = "65536";

fn command(compiling: &Compiling, work: &Work, output: File) -> Command {
    let work = match work {
        Work::Code { world } => ["--world".to_owned(), world.clone()],
        Work::Places { debug_bytes } => ["--debug-bytes".to_owned(), debug_bytes.to_string()],
    };
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS);
    let mut command = Command::new(&compiling.program);
    command
        .arg0("lictor")
        .arg(VERB)
        .args(work)
        .args(["--component-bytes", &compiling.component_bytes.to_string()])
        .args(["--memory-bytes", &compiling.memory_bytes.to_string()])
        .args(["--milliseconds", &compiling.time.as_millis().to_string()])
        .env_clear()
        // The compiler could find this out by itself only with the right to read files.
        .env("RAYON_NUM_THREADS", threads.to_string())
        .env("MIMALLOC_ARENA_RESERVE", ARENA_KIB)
        .current_dir("/")
        // An interrupt from the terminal is the server's to handle.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped());
    command
}

/// Gives the compiler its input, reads its messages, and waits for its end.
async fn converse(
    (stdin, words): (Option<ChildStdin>, Option<ChildStderr>),
    input: &[&[u8]],
    ended: &mut JoinHandle<io::Result<ExitStatus>>,
) -> io::Result<(ExitStatus, String)> {
    let give = async move {
        if let Some(stdin) = stdin {
            let mut stdin = pipe::Sender::from_owned_fd(stdin.into())?;
            for bytes in input {
                // A compiler that ends before it has read everything says why.
                let _ = stdin.write_all(bytes).await;
            }
        }
        io::Result::Ok(())
    };
    let hear = async move {
        let mut said = Vec::new();
        if let Some(words) = words {
            let words = pipe::Receiver::from_owned_fd(words.into())?;
            let _ = words.take(MAX_WORDS_BYTES).read_to_end(&mut said).await;
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    let status = async move { ended.await? };
    let ((), said, status) = tokio::try_join!(give, hear, status)?;
    Ok((status, said))
}

/// Blocks until `child` has ended.
fn wait(child: &Mutex<Child>) -> io::Result<ExitStatus> {
    let process = Pid::from_child(&locked(child));
    // Without the lock, which the killer takes; the process keeps its number until it is waited for below.
    retry_on_intr(|| waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))?;
    locked(child).wait()
}

/// Exit code of a compiler that found the component invalid, as of any verb that fails.
const INVALID: i32 = 1;

/// Exit code of a compiler that ran out of memory and could say so.
const NO_MEMORY: i32 = 4;

/// Beginning of std's message when it aborts because an allocation failed; nothing else can end a process
/// with it. Words that quote the component come from compilers that end with an exit code, or begin with
/// other words.
const ALLOCATION_FAILED: &str = "memory allocation of ";

fn judge(compiling: &Compiling, status: ExitStatus, said: &str) -> Result<(), Uncompiled> {
    let said = said.trim_end();
    if status.success() {
        note_refused(said);
        return Ok(());
    }
    let by_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    if by_signal(Signal::XCPU) {
        return Err(Uncompiled::Exceeding(compiling.time_used_up()));
    }
    let is_aborted = by_signal(Signal::ABORT) && said.starts_with(ALLOCATION_FAILED);
    if by_signal(Signal::XFSZ) || status.code() == Some(NO_MEMORY) || is_aborted {
        return Err(Uncompiled::Exceeding(compiling.memory_used_up()));
    }
    if status.code() == Some(INVALID) {
        return Err(Uncompiled::Invalid(said.to_owned()));
    }
    Err(broke_off(status, said))
}

/// Exit code of a process in which a thread panicked.
const PANICKED: i32 = 101;

/// Part of std's message about a thread whose stack overflow ends the process.
const STACK_OVERFLOW: &str = "has overflowed its stack";

/// Explains a compiler that ended as it never does for a component made by tools: its input is the cause.
fn broke_off(status: ExitStatus, said: &str) -> Uncompiled {
    let words = shown(said, MAX_WORDS_CHARS);
    match (status.code(), status.signal()) {
        (Some(PANICKED), _) => Uncompiled::Exceeding(format!("it makes the compiler panic: {words}")),
        (_, Some(_)) if said.contains(STACK_OVERFLOW) => Uncompiled::Exceeding(
            "it makes the compiler overflow its stack: types, components or blocks are nested too deep"
                .into(),
        ),
        (_, Some(signal)) if signal == Signal::KILL.as_raw() => Uncompiled::Failed(
            "the compiler was killed, as the system does where memory is short; then lower compile_memory"
                .into(),
        ),
        (_, Some(_)) => Uncompiled::Exceeding(format!("it makes the compiler crash ({status}): {words}")),
        _ => Uncompiled::Failed(format!("the compiler broke off ({status}): {words}")),
    }
}

/// Logs once which rights the compiler could not give up.
fn note_refused(said: &str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if !said.is_empty() {
        let refused = shown(said, MAX_WORDS_CHARS).to_string();
        ONCE.call_once(
            || tracing::warn!(target: "lictor::plugin", refused, "the compiler keeps some rights"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;

    fn within(time: Duration) -> Compiling {
        Compiling::by_itself(1 << 20, 3 << 29, time)
    }

    fn judged(status: i32, said: &str) -> Result<(), Uncompiled> {
        judge(&within(Duration::from_secs(9)), ExitStatus::from_raw(status), said)
    }

    /// Longer than any passing test takes.
    const LONG: Duration = Duration::from_secs(50);

    /// More than a pipe's buffer holds.
    const LARGE: usize = 1 << 20;

    /// A shell in the compiler's place, and the read end of the pipe that it writes to.
    fn shell(script: &str) -> (Command, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped());
        (command, reader)
    }

    #[tokio::test]
    async fn a_compiler_that_nobody_waits_for_is_killed() {
        let begun = Instant::now();
        let (command, mut output) = shell("echo begun; exec sleep 60");
        let driving = tokio::spawn(async move { drive(&within(LONG), command, &[&[0; LARGE]]).await });
        let mut output = spawn_blocking(move || {
            let mut begin = [0; 6];
            output.read_exact(&mut begin).map(|()| output).unwrap()
        })
        .await
        .unwrap();
        driving.abort();
        assert!(driving.await.unwrap_err().is_cancelled());
        // The process was the last to hold the other end.
        let ended = spawn_blocking(move || output.read_to_end(&mut Vec::new()).unwrap());
        assert_eq!(ended.await.unwrap(), 0);
        assert!(begun.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_compiler_that_goes_on_is_killed_at_the_deadline() {
        let begun = Instant::now();
        // The shell reads nothing, or has closed the streams that it could be heard through.
        for script in ["exec sleep 60", "exec <&- 2>&-; exec sleep 60"] {
            let (command, mut output) = shell(script);
            let driven = drive(&within(Duration::from_millis(200)), command, &[&[0; LARGE]]).await;
            assert_eq!(driven, Err(Uncompiled::Exceeding(within(Duration::from_millis(200)).time_used_up())));
            assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "{script}");
        }
        assert!(begun.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_compiler_is_heard_to_a_bound_and_whether_or_not_it_reads() {
        for (script, said) in [
            ("exec <&-; echo no >&2; exit 1", 2),
            ("head -c 100000 /dev/zero >&2; cat > /dev/null; exit 1", MAX_WORDS_BYTES as usize),
            ("wc -c >&2; exit 1", LARGE.to_string().len()),
            ("cat > /dev/null; head -c 100000 /dev/zero >&2; exit 1", MAX_WORDS_BYTES as usize),
        ] {
            let (command, _output) = shell(script);
            let driven = drive(&within(LONG), command, &[&[0; LARGE]]).await;
            let Err(Uncompiled::Invalid(words)) = driven else { panic!("{script}: {driven:?}") };
            assert_eq!(words.len(), said, "{script}: {words}");
        }
    }

    #[test]
    fn each_way_in_which_a_compiler_ends_has_its_words() {
        let exit = |code: i32| code << 8;
        assert_eq!(judged(exit(0), ""), Ok(()));
        assert_eq!(judged(exit(0), "system calls: refused"), Ok(()));
        assert_eq!(judged(exit(1), "no component\n"), Err(Uncompiled::Invalid("no component".into())));
        // A component's words, quoted by the compiler, do not change the verdict.
        let quoted = "unknown import: `memory allocation of 8 bytes failed (os error 12)`";
        assert_eq!(judged(exit(1), quoted), Err(Uncompiled::Invalid(quoted.into())));
        let time = "it takes more than compile_time = 9s to compile";
        let memory = "it takes more than compile_memory = 1536MiB to compile";
        for (status, said, words) in [
            (Signal::XCPU.as_raw(), "", time),
            (Signal::XFSZ.as_raw(), "", memory),
            (Signal::ABORT.as_raw(), "memory allocation of 4096 bytes failed", memory),
            (exit(4), "whatever it says", memory),
            (exit(2), "not\x1b set", "the compiler broke off (exit status: 2): not\\x1b set"),
            (exit(101), "a panic: os error 12", "it makes the compiler panic: a panic: os error 12"),
            (
                Signal::ABORT.as_raw(),
                "\nthread 'main' (7) has overflowed its stack\nfatal runtime error: stack overflow, aborting",
                "it makes the compiler overflow its stack: types, components or blocks are nested too deep",
            ),
            (
                Signal::KILL.as_raw(),
                "",
                "the compiler was killed, as the system does where memory is short; then lower compile_memory",
            ),
            (Signal::SEGV.as_raw(), "", "it makes the compiler crash (signal: 11 (SIGSEGV)): "),
        ] {
            let by_the_machine = words.starts_with("the compiler ");
            let kind = if by_the_machine { Uncompiled::Failed } else { Uncompiled::Exceeding };
            assert_eq!(judged(status, said), Err(kind(words.into())));
        }
    }
}
