//! A running script of the project. Its output goes directly to this program's output.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::signal::unix::{SignalKind, signal};

use super::project::Project;
use crate::text::shell_word;

/// The files to which this program and its scripts print, if output is redirected to files.
pub(super) fn screen() -> impl Iterator<Item = PathBuf> {
    ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter().filter_map(|output| fs::read_link(output).ok())
}

/// A script and all its child processes: one process group, which is killed once the script has ended, or
/// when this is dropped before.
pub(super) struct Step(Child);

impl Step {
    /// Runs the script `name` of the project. Sets `LICTOR` to this program, unless it is already set.
    pub(super) fn begin(project: &Project, name: &str, variables: &[(&str, &str)]) -> io::Result<Self> {
        let script = project.folder.join(name);
        let mut command = Command::new(&script);
        // This program handles Ctrl-C.
        command.current_dir(&project.folder).stdin(Stdio::null()).process_group(0);
        if std::env::var_os("LICTOR").is_none_or(|value| value.is_empty()) {
            command.env("LICTOR", std::env::current_exe()?);
        }
        let begun = command.envs(variables.iter().copied()).spawn();
        begun.map(Self).map_err(|error| not_begun(error, &script))
    }

    /// Waits for the script's end.
    pub(super) async fn ended(mut self) -> io::Result<ExitStatus> {
        // Registered before the first check, so that no exit is missed.
        let mut ends = signal(SignalKind::child())?;
        loop {
            if self.has_ended() {
                self.kill();
                return self.0.wait();
            }
            ends.recv().await;
        }
    }
}

/// Adds a remedy to the reason why `script` could not be started.
fn not_begun(error: io::Error, script: &Path) -> io::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("`chmod +x {}` makes it executable", shell_word(&script.to_string_lossy()))
        }
        io::ErrorKind::NotFound if script.exists() => {
            "its first line names a program that does not exist here; `#!/usr/bin/env bash` finds bash"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            "name the program that runs it in the first line, such as `#!/usr/bin/env bash`".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {what_to_do}"))
}

impl Step {
    /// Returns true if the script has ended. Its process id, and its group's, stay reserved until it is
    /// waited for.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.0)), options), Ok(None))
    }

    fn kill(&self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        // Once waited for, its process id may belong to another process.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.0.wait();
        }
    }
}
