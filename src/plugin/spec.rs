//! A plugin as its operator specifies it, and as it describes itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::host::grants::Grants;
use super::host::volume::VolumeLimits;
use super::load::compiling::Compiling;
use crate::text::{Foreign, shown};

/// A plugin as its operator specifies it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The key of its section there, for messages.
    pub key: String,
    /// The component's file.
    pub component: PathBuf,
    /// The users who may have written that file.
    pub authors: crate::files::Authors,
    /// SHA-256 that the file must have.
    pub sha256: Option<[u8; 32]>,
    /// The clients whose calls share an instance.
    pub instances: Instances,
    /// Longest time for a call, for describing itself when it is loaded, and from one part of a stream to the
    /// next.
    pub timeout: Duration,
    /// Longest time for which a call may compute; `None` for as long as it may take.
    pub cpu_time: Option<Duration>,
    /// Bounds on a call's use of the host.
    pub volume: VolumeLimits,
    /// Most memory of an instance, in bytes of all memories and tables.
    pub memory_bytes: usize,
    /// The longest reply, in bytes.
    pub reply_bytes: usize,
    /// Most calls that run at the same time; `None` for as many as the sandbox runs.
    pub concurrency: Option<u32>,
    /// Calls after which a warm instance is retired.
    pub max_calls: u32,
    /// Time without a call after which a warm instance is retired.
    pub idle: Duration,
    /// Grants beyond what every plugin may use.
    pub grants: Grants,
    /// The compiler's program and its bounds.
    pub compiling: Compiling,
}

impl Spec {
    pub(super) fn error(&self, reason: String) -> LoadError {
        LoadError { name: Arc::clone(&self.name), path: self.component.clone(), reason: reason.into() }
    }
}

/// Characters of a component's path that are shown.
const MAX_PATH_CHARS: usize = 1024;

/// Reason for which a plugin can't be served.
#[derive(Debug, thiserror::Error)]
#[error("plugin {name}: {}: {reason}", shown(&.path.to_string_lossy(), MAX_PATH_CHARS))]
pub struct LoadError {
    name: Arc<str>,
    path: PathBuf,
    /// May quote the component: names of functions in a backtrace, names of imports.
    reason: Foreign,
}

impl LoadError {
    /// The same error with another line in its reason.
    pub(super) fn with(self, line: &str) -> Self {
        Self { reason: self.reason.with_line(line), ..self }
    }
}

/// The clients whose calls one instance may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// One request: nothing is left for the next.
    PerRequest,
    /// One client.
    PerClient,
    /// All clients; the operator vouches that the plugin keeps nothing between calls.
    Shared,
}

/// A command as its plugin describes it, made safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandInfo {
    /// The first argument that runs it.
    pub name: String,
    /// A summary of the command.
    pub summary: String,
    /// Its arguments.
    pub usage: String,
    /// Set if running it twice has the same effect as once.
    pub idempotent: bool,
}
