//! A request that runs as a task.

use std::sync::Arc;

use tokio::task::{self, AbortHandle};

use super::reply_budget::Completed;
use crate::plugin::{Call, Exchange, Parts};
use crate::server::close_reason::CloseReason;
use crate::wire::{Code, CommandError, Outcome, Reply, Sequence};

/// A request that runs as a task, until it is answered.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: task::Id,
    pub(super) abort: AbortHandle,
    pub(super) work: Work,
    /// Set while its reply is a stream that goes on.
    pub(super) parts: Option<Parts>,
    /// Bytes of its reply that were sent in parts.
    pub(super) sent: usize,
    /// The result of its task, which follows its parts.
    pub(super) completed: Option<Completed>,
    /// The reason for which it was told to stop.
    pub(super) stopped_for: StopReason,
}

/// A request that runs.
#[derive(Debug)]
pub(super) enum Work {
    /// A plugin runs it.
    Plugin(Arc<Call>),
    /// The server itself runs it.
    BuiltIn(Exchange),
}

impl Work {
    pub(super) fn exchange(&self) -> &Exchange {
        match self {
            Self::Plugin(call) => call.exchange(),
            Self::BuiltIn(exchange) => exchange,
        }
    }

    pub(super) fn sequence(&self) -> Option<&Sequence> {
        self.exchange().request.sequence()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.exchange().request.size_bytes()
    }
}

/// A request that has ended.
pub(super) struct Finished {
    pub(super) work: Work,
    /// Bytes of its reply that were sent in parts.
    pub(super) sent: usize,
    pub(super) reply: Reply,
}

/// Reason for which a request is stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum StopReason {
    /// A reason in words for the client.
    Words(&'static str),
    /// A stream whose client can no longer cancel it.
    ReadingEnded(CloseReason),
}

impl Running {
    pub(super) fn stopped(&self, words: &'static str) -> CommandError {
        let outcome = match &self.work {
            Work::Plugin(call) => call.outcome_if_stopped(),
            Work::BuiltIn(_) => Outcome::Unknown,
        };
        CommandError { code: Code::Cancelled, outcome, message: words.into() }
    }

    pub(super) fn stop(&mut self, reason: StopReason) {
        self.stopped_for = reason;
        self.abort.abort();
    }

    pub(super) fn aborted(&self) -> CommandError {
        match self.stopped_for {
            StopReason::Words(words) => self.stopped(words),
            StopReason::ReadingEnded(CloseReason::Stopping) => {
                CommandError { code: Code::ShuttingDown, ..self.stopped("The server is stopping") }
            }
            StopReason::ReadingEnded(reason) => self.stopped(reason.as_str()),
        }
    }
}
