//! The status of a server's reloads, in words and as an object.

use std::fmt;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::outcome::{Failed, Outcome, Why, taken, with};
use crate::config::{Applies, Change};
use crate::text::block;

/// The status of a server's reloads: the one in progress, the last one, and their number.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub(super) under_way: Option<UnderWay>,
    succeeded: u64,
    failed: u64,
    pub(super) superseded: u64,
    at: Option<SystemTime>,
    /// The fault of the last reload, if it failed.
    fault: Option<String>,
    /// Everything taken away since the last successful reload.
    narrowed: Vec<Change>,
    /// Keys whose new values need a restart.
    pending: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    pub(super) since: Instant,
    pub(super) cause: &'static str,
    pub(super) stage: String,
}

impl Status {
    /// Returns true if the last reload failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.fault.is_some()
    }

    /// Returns the number of reloads by their outcome.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        [("done", self.succeeded), ("failed", self.failed), ("superseded", self.superseded)]
    }

    pub(super) fn narrow(&mut self, narrowed: &[Change]) {
        if narrowed.is_empty() {
            return;
        }
        // Several failing reloads may each narrow the same key.
        self.narrowed = with(std::mem::take(&mut self.narrowed), narrowed.to_vec());
        let taken = narrowed.iter().map(taken).collect::<Vec<_>>().join(", ");
        tracing::info!(target: "lictor::reload", taken, "taken away");
    }

    pub(super) fn keep(&mut self, outcome: &Outcome) {
        self.under_way = None;
        match outcome {
            Ok(changes) => {
                self.at = Some(SystemTime::now());
                self.succeeded += 1;
                (self.fault, self.narrowed) = (None, Vec::new());
                let waits = |change: &&Change| change.applies == Applies::Restart;
                self.pending = changes.iter().filter(waits).map(|change| change.key.clone()).collect();
                let changed = changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(" ");
                let pending = self.pending.join(" ");
                tracing::info!(target: "lictor::reload", changed, pending, "reloaded");
            }
            Err(Failed { why: Why::Fault(fault), narrowed }) => {
                self.at = Some(SystemTime::now());
                self.failed += 1;
                self.fault = Some(fault.clone());
                let fault = fault.as_str();
                if narrowed.is_empty() {
                    tracing::error!(target: "lictor::reload", fault, "not reloaded, and nothing was changed");
                } else {
                    tracing::error!(target: "lictor::reload", fault, "not reloaded, but what was taken away holds");
                }
            }
            Err(_) => {
                self.superseded += 1;
                tracing::info!(target: "lictor::reload", "superseded by a newer reload");
            }
        }
    }
}

/// As lines for a person.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { under_way, succeeded, failed, superseded: _, at, fault, narrowed, pending } = self;
        write!(f, "reloads {succeeded} done, {failed} failed")?;
        if let Some(at) = at {
            let ago = SystemTime::now().duration_since(*at).unwrap_or_default().as_secs();
            write!(f, ", the last {ago} s ago")?;
        }
        if let Some(UnderWay { since, cause, stage }) = under_way {
            write!(f, "\nreloading for {} s, because of {cause}: {stage}", since.elapsed().as_secs())?;
        }
        match fault {
            Some(fault) if narrowed.is_empty() => {
                write!(f, "\nthe last reload failed, and nothing was changed:\n  | {}", block(fault))?;
            }
            Some(fault) => write!(f, "\nthe last reload failed:\n  | {}", block(fault))?,
            None => {}
        }
        if !narrowed.is_empty() {
            let taken: Vec<_> = narrowed.iter().map(taken).collect();
            write!(f, "\ntaken away since the last reload that succeeded: {}", taken.join(", "))?;
        }
        if !pending.is_empty() {
            write!(f, "\nwaiting for a restart: {}", pending.join(" "))?;
        }
        Ok(())
    }
}

impl Status {
    /// Returns the status as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { under_way, succeeded, failed, superseded: _, at, fault, narrowed, pending } = self;
        let ago = at.map(|at| SystemTime::now().duration_since(at).unwrap_or_default().as_secs());
        json!({
            "reloads": succeeded,
            "failed_reloads": failed,
            "last_reload_seconds_ago": ago,
            "reloading": under_way.as_ref().map(|UnderWay { since, cause, stage }| json!({
                "seconds": since.elapsed().as_secs(),
                "cause": cause,
                "stage": stage,
            })),
            "fault": fault,
            "taken_away": narrowed.iter().map(taken).collect::<Vec<_>>(),
            "waiting_for_restart": pending,
        })
    }
}
