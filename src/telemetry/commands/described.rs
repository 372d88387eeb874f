//! Requests, described so that they can be kept.

use std::sync::Arc;
use std::time::SystemTime;

use super::budgets::WOULD_BE_FORBIDDEN;
use super::{Arguments, CommandEvent, MAX_ARGUMENTS_CHARS, MAX_COMMAND_CHARS, Recorder};
use crate::telemetry::ended::Ended;
use crate::telemetry::errors::{ERRORS, FailedCommand, Kind};
use crate::text::shown;
use crate::wire::{Code, Request};

/// Maximum characters of a request's arguments that are kept.
const MAX_KEPT_CHARS: usize = 256;

impl Recorder {
    /// Adds a failed command to the errors. Those that are only counted are added by `Budgets::report`.
    #[cold]
    pub(super) fn add_error(
        &self,
        reason: &'static str,
        id: String,
        (request, via): (&Request, Option<&str>),
        closest: Option<&str>,
    ) {
        let known = self.log.commands.get_key_value(request.command());
        // Names that are no commands are one kind, or a client could make one of every word.
        let known = known.filter(|_| reason != Code::UnknownCommand.as_str());
        let of = known.map(|(command, _)| Arc::clone(command)).unwrap_or_default();
        let has_words = [Code::Forbidden.as_str(), WOULD_BE_FORBIDDEN].contains(&reason)
            && self.log.arguments == Arguments::Logged
            && request.text_bytes() <= MAX_ARGUMENTS_CHARS;
        ERRORS.add_command(
            Kind { by: Arc::clone(&self.name), reason, of },
            FailedCommand {
                id,
                command: shown(request.command(), MAX_COMMAND_CHARS).to_string(),
                plugin: known.map(|(_, known)| Arc::clone(&known.plugin)).unwrap_or_default(),
                via: via.map(str::to_owned),
                words: has_words.then(|| request.arguments().map(str::to_owned).collect()),
                detail: closest.map(|closest| shown(closest, MAX_ARGUMENTS_CHARS).to_string()),
            },
        );
    }

    /// Describes `event`, as it may be kept and shown.
    #[cold]
    pub fn ended(&self, event: &CommandEvent<'_>) -> Ended {
        let CommandEvent { id, request, via, result, spent, .. } = *event;
        let known = self.log.commands.get(request.command());
        Ended {
            at: SystemTime::now(),
            id,
            client: Arc::clone(&self.name),
            command: shown(request.command(), MAX_COMMAND_CHARS).to_string(),
            plugin: known.map(|known| Arc::clone(&known.plugin)).unwrap_or_default(),
            via: via.map(str::to_owned),
            arguments: self.arguments(request, MAX_KEPT_CHARS),
            failure: result.err().map(|error| (error.code, error.outcome)),
            request_bytes: request.text_bytes() + request.body().len(),
            reply_bytes: result.unwrap_or(0),
            took: event.took(),
            waited: spent.waited(),
            computed: spent.computed(),
            memory_bytes: spent.memory_bytes(),
        }
    }

    /// The arguments of `request` after the command, in the form to be logged, if they are.
    pub(super) fn arguments(&self, request: &Request, max_chars: usize) -> Option<String> {
        (self.log.arguments == Arguments::Logged).then(|| {
            let joined = request.arguments().skip(1).collect::<Vec<_>>().join(" ");
            shown(&joined, max_chars).to_string()
        })
    }
}
