//! A script of the project that runs. What it prints goes where this program prints, as soon as it is printed.

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

/// The files to which this program prints, and with it what it runs, where it prints to files.
pub(super) fn screen() -> impl Iterator<Item = PathBuf> {
    ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter().filter_map(|output| fs::read_link(output).ok())
}

/// A script, with all that it has started: they are one process group, which is killed once the script has ended, or where this is
/// dropped before that.
pub(super) struct Step(Child);

impl Step {
    /// Runs the script `name` of the project. It finds this program by `LICTOR`, if it is told of no other.
    pub(super) fn begin(project: &Project, name: &str, variables: &[(&str, &str)]) -> io::Result<Self> {
        let script = project.folder.join(name);
        let mut command = Command::new(&script);
        // Ctrl-C is this program's to hear.
        command.current_dir(&project.folder).stdin(Stdio::null()).process_group(0);
        if std::env::var_os("LICTOR").is_none_or(|value| value.is_empty()) {
            command.env("LICTOR", std::env::current_exe()?);
        }
        let begun = command.envs(variables.iter().copied()).spawn();
        begun.map(Self).map_err(|error| not_begun(error, &script))
    }

    /// Waits for its end.
    pub(super) async fn ended(mut self) -> io::Result<ExitStatus> {
        // Before the first look, so that no end goes unheard.
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

/// Why `script` could not be begun, and what to do.
fn not_begun(error: io::Error, script: &Path) -> io::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("`chmod +x {}` makes it a program", shell_word(&script.to_string_lossy()))
        }
        io::ErrorKind::NotFound if script.exists() => {
            "its first line names a program that is not here; `#!/usr/bin/env bash` finds bash".to_owned()
        }
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            "write into its first line which program runs it, such as `#!/usr/bin/env bash`".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {what_to_do}"))
}

impl Step {
    /// Whether the script has ended. Its number stays its own, and its group's, until it is waited for.
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
        // The number of one that was waited for may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.0.wait();
        }
    }
}
