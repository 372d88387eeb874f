//! A request that has ended, described so that it can be kept and shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ids::RequestId;
use crate::wire::{Code, Outcome};

/// A request that has ended. Its texts are escaped and of bounded length.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The time of its end.
    pub at: SystemTime,
    /// Its name in the log.
    pub id: RequestId,
    /// Its client.
    pub client: Arc<str>,
    /// Its command.
    pub command: String,
    /// The plugin of that command; empty for a built-in and for an unknown command.
    pub plugin: Arc<str>,
    /// The plugin that ran it for its client, if any.
    pub via: Option<String>,
    /// Its arguments, if they are logged.
    pub arguments: Option<String>,
    /// The failure, if it is one.
    pub failure: Option<(Code, Outcome)>,
    /// Bytes of its head and body.
    pub request_bytes: usize,
    /// Bytes of its result.
    pub reply_bytes: usize,
    /// Time from its arrival to its encoded reply.
    pub took: Duration,
    /// Time in the queue.
    pub waited: Duration,
    /// Processor time, if it computed for more than a tick.
    pub computed: Duration,
    /// Memory of the instance that ran it; 0 if none did.
    pub memory_bytes: u64,
}
