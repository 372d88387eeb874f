//! A server's process: started on its cores, observed, and killed on drop, or when this process dies.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::machine::list_of;

/// Longest time for a server to become ready: a hundred plugins may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ticks per second in which Linux reports processor time, on all of today's machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` on these cores, and waits for the line that says it is ready: the first one for which
    /// `ready` returns something. Reads all output as long as the process runs, so that it never blocks on a
    /// reader.
    pub fn start<T>(
        command: &Command,
        cores: &[usize],
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T), String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut placed = placed(command, cores);
        placed.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = placed.spawn();
        let child = child.map_err(|error| format!("setpriv cannot be run (Debian: util-linux): {error}"))?;
        let mut process = Self { child };
        let (said, lines) = channel();
        process.child.stdout.take().into_iter().for_each(|output| listen(output, said.clone()));
        process.child.stderr.take().into_iter().for_each(|output| listen(output, said.clone()));
        drop(said);
        let found = wait(&lines, ready).map_err(|why| format!("{name} {why}"))?;
        Ok((process, found))
    }

    /// Returns the processor time so far of all its threads, including ended ones.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The program's name may contain spaces; the numbers begin after its parenthesis.
        let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers);
        let ticks: f64 =
            numbers.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }

    /// Returns the process's resident memory in bytes.
    pub fn memory(&self) -> f64 {
        let rollup =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap_or_default();
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
        resident.and_then(|kilobytes| kilobytes.trim().parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Wraps `command` in two small programs: one ties its life to this process, the other sets its cores.
fn placed(command: &Command, cores: &[usize]) -> Command {
    let mut placed = Command::new("setpriv");
    placed.args(["--pdeathsig", "KILL", "--", "taskset", "--cpu-list", &list_of(cores)]);
    placed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => placed.env(name, value),
            None => placed.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        placed.current_dir(folder);
    }
    placed
}

/// Reads lines to the end, and sends them as long as somebody receives.
fn listen(output: impl Read + Send + 'static, said: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
}

fn wait<T>(lines: &Receiver<String>, ready: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        match lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            Ok(line) => {
                if let Some(found) = ready(&line) {
                    return Ok(found);
                }
                said.push_str(&line);
                said.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("is not ready after {PATIENCE:?}:\n{said}"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(format!("ended at once:\n{said}")),
        }
    }
}
