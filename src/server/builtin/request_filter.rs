//! Choice of requests by the arguments of `@watch`: by their connections, as `@clients` chooses, and by the
//! requests themselves.

use std::time::Duration;

use super::filter::{Bound, CONDITIONS, Filter, bound, each_condition, glob, time};
use crate::server::registry::ConnectionHandle;
use crate::telemetry::{CommandEvent, Recorder};
use crate::text::Glob;
use crate::wire::{CommandError, Request};

/// The conditions on requests in words.
const REQUEST_CONDITIONS: &str = "command=NAME, plugin=NAME, code=CODE, took>TIME, took<TIME";

/// Conditions that a request and its connection have to meet, each of them.
#[derive(Default)]
pub(super) struct RequestFilter {
    connections: Filter,
    requests: Vec<Condition>,
}

/// A condition on a request.
enum Condition {
    Command(Glob),
    Plugin(Glob),
    /// Its code; `ok` if it succeeded.
    Code(Glob),
    Took(Bound, Duration),
}

impl RequestFilter {
    /// Reads the conditions among the arguments of a request.
    ///
    /// # Errors
    ///
    /// The argument that is no condition, and what is.
    pub(super) fn of(request: &Request) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        each_condition(request, |argument| filter.add(argument))?;
        Ok(filter)
    }

    fn add(&mut self, argument: &str) -> Result<(), String> {
        let at = argument.find(['=', '<', '>']).unwrap_or(argument.len());
        let (key, rest) = argument.split_at(at);
        let (operator, value) = rest.split_at(rest.len().min(1));
        let condition = match (key, operator) {
            ("command", "=") => Condition::Command(glob(value)),
            ("plugin", "=") => Condition::Plugin(glob(value)),
            ("code", "=") => Condition::Code(glob(value)),
            ("took", ">" | "<") => Condition::Took(bound(operator), time(value)?),
            ("command" | "plugin" | "code", "<" | ">") => {
                return Err(format!("needs =: write {key}={value}"));
            }
            ("took", "=") => return Err(format!("needs > or <: write {key}>{value}")),
            _ => {
                let added = self.connections.add(argument);
                return added.map_err(|why| match why.ends_with(CONDITIONS) {
                    true => format!("{why}, {REQUEST_CONDITIONS}"),
                    false => why,
                });
            }
        };
        self.requests.push(condition);
        Ok(())
    }

    /// Returns true if a request of a connection, if that is still there, meets all conditions.
    pub(super) fn has(
        &self,
        recorder: &Recorder,
        event: &CommandEvent<'_>,
        connection: Option<&ConnectionHandle>,
    ) -> bool {
        self.connections.has_of(recorder.client(), connection)
            && self.requests.iter().all(|condition| condition.is_met_by(recorder, event))
    }
}

impl Condition {
    fn is_met_by(&self, recorder: &Recorder, event: &CommandEvent<'_>) -> bool {
        let command = event.request.command();
        match self {
            Self::Command(glob) => glob.matches(command),
            Self::Plugin(glob) => glob.matches(recorder.plugin_of(command)),
            Self::Code(glob) => glob.matches(event.result.err().map_or("ok", |error| error.code.as_str())),
            Self::Took(bound, limit) => bound.admits(event.took(), *limit),
        }
    }
}
