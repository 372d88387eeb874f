//! The thread that reports the counts of events beyond their budgets.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::budget::{START, second};
use super::{commands, events};

/// A thread that reports counts once a second. Independent of any runtime, so that it continues when those
/// are blocked.
#[derive(Debug)]
pub(super) struct Reporter {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    pub(super) fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let report = move || {
            loop {
                let waited = stopped.recv_timeout(Duration::from_secs(1));
                let is_over = waited != Err(RecvTimeoutError::Timeout);
                let second = second(*START, Instant::now());
                events::report(if is_over { events::END } else { second });
                commands::report(second);
                if is_over {
                    return;
                }
            }
        };
        // Without the thread logging works as before, only counts are not reported.
        let thread = thread::Builder::new().name("lictor-log".to_owned()).spawn(report).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop.take();
        // The panic hook has already reported a panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
