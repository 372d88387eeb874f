//! The end of each command: its counts, and the budgets of its line in the log.
//!
//! A server that runs hundreds of thousands of commands a second would spend more time logging than running
//! them. So commands are written up to a number per second and counted beyond, by client and command: a flood
//! hides neither another client's commands nor the client's other ones. Operators' changes are always
//! written.

mod budgets;
mod described;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use self::budgets::{ClientBudgets, CommandBudgets, Count, Known, WOULD_BE_FORBIDDEN, tell, tell_sum};
use super::budget::{Budget, CLOSED, START, second};
use super::errors::{ERRORS, Kind};
use super::ids::{ConnectionId, RequestId};
use super::metrics::{Counter, OTHER_CLIENTS, OTHER_COMMANDS, Series, count};
use super::slow::SLOW_LOG;
use super::source::ADMITTED;
use super::spent::Spent;
use crate::sync::locked;
use crate::text::shown;
use crate::wire::{Code, CommandError, Request};

/// Successes of each client and command in a second that are always written, however many others there were.
const FIRST_PER_SECOND: u32 = 10;
/// Maximum failures of each client, command and code written in a second.
const FAILURES_PER_SECOND: u32 = 10;

/// Maximum characters logged of a command's name, and of all its arguments.
const MAX_COMMAND_CHARS: usize = 64;
const MAX_ARGUMENTS_CHARS: usize = 1024;

/// Maximum commands that are counted by name.
const MAX_COUNTED: usize = 1000;

/// Number of commands whose budgets a connection caches.
const MAX_RECENT: usize = 16;

/// Maximum counts of one client reported individually in a second; the rest are reported as a sum.
const MAX_COUNTS: usize = 32;

/// The budgets of all clients' commands. Dropping the last reference reports the counts.
#[derive(Clone, Debug)]
pub struct CommandLog(Arc<Budgets>);

#[derive(Debug)]
struct Budgets {
    started: Instant,
    arguments: Arguments,
    /// Maximum successes written in a second.
    per_second: u32,
    /// Each client's share of that, which depends on the number of active clients.
    share: AtomicU32,
    written: Budget,
    /// The existing commands. Other names share one budget and one series, or a client could create one for
    /// every word.
    commands: HashMap<Arc<str>, Known>,
    /// Keeps the numbers.
    _series: Vec<Arc<Series>>,
    /// Commands whose successes are always written.
    always: &'static [&'static str],
    clients: HashMap<Arc<str>, Arc<ClientBudgets>>,
}

/// Logs in use: that of the current config, and those that connections still hold.
static LOGS: Mutex<Vec<Weak<Budgets>>> = Mutex::new(Vec::new());

/// The treatment of commands' arguments, which may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Written with each command.
    Logged,
    /// Left out.
    Hidden,
}

/// Writes the commands of one client, on one connection.
#[derive(Debug)]
pub struct Recorder {
    log: Arc<Budgets>,
    name: Arc<str>,
    client: Arc<ClientBudgets>,
    /// Budgets of this connection's recent commands, to avoid a lock for each command.
    recent: RefCell<Vec<(Arc<str>, Arc<CommandBudgets>)>>,
}

/// A completed command.
#[derive(Clone, Copy, Debug)]
pub struct CommandEvent<'a> {
    /// Its request's name in the log.
    pub id: RequestId,
    /// Its request.
    pub request: &'a Request,
    /// The plugin that ran the command for its client, if any.
    pub via: Option<&'a str>,
    /// Time at which the request was read.
    pub began: Instant,
    /// Time at which its reply was encoded.
    pub ended: Instant,
    /// The reply's length in bytes, or the failure.
    pub result: Result<usize, &'a CommandError>,
    /// The permissions that came closest to allowing a forbidden request, in words, if any.
    pub closest: Option<&'a str>,
    /// Resources that it took.
    pub spent: &'a Spent,
}

impl CommandEvent<'_> {
    /// Time from the request's arrival to its encoded reply.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

impl CommandLog {
    /// Makes a log of `per_second` successful commands a second, which these clients share. `commands` are
    /// all existing commands, each with its plugin, `always` those whose successes are always written. The
    /// first `client_labels` clients are counted by name; if that is 0, clients are not counted.
    #[must_use]
    pub fn new(
        per_second: u32,
        arguments: Arguments,
        clients: impl Iterator<Item = Arc<str>>,
        commands: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        always: &'static [&'static str],
        client_labels: usize,
    ) -> Self {
        let mut held = Vec::new();
        let mut number = |series: Option<Arc<Series>>, other: u16| {
            let Some(series) = series else { return other };
            let number = series.number();
            held.push(series);
            number
        };
        let commands = commands.into_iter().enumerate().map(|(index, (command, plugin))| {
            let named = (index < MAX_COUNTED).then(|| Series::of_command(&plugin, &command)).flatten();
            (command, Known { series: number(named, OTHER_COMMANDS), plugin })
        });
        let commands = commands.collect();
        let clients = clients.enumerate().map(|(index, name)| {
            let named = (index < client_labels).then(|| Series::of_client(&name)).flatten();
            let series = (client_labels > 0).then(|| number(named, OTHER_CLIENTS));
            (name, Arc::new(ClientBudgets::of(series)))
        });
        let clients = clients.collect();
        let budgets = Arc::new(Budgets {
            started: *START,
            arguments,
            per_second,
            share: AtomicU32::new(per_second),
            written: Budget::default(),
            commands,
            _series: held,
            always,
            clients,
        });
        let mut logs = locked(&LOGS);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(&budgets));
        drop(logs);
        Self(budgets)
    }

    /// Returns true if commands' arguments are logged.
    #[must_use]
    pub fn has_arguments(&self) -> bool {
        self.0.arguments == Arguments::Logged
    }

    /// Returns a recorder for the commands of `client`.
    #[must_use]
    pub fn recorder(&self, client: Arc<str>) -> Recorder {
        let budgets = self.0.clients.get(&client).map(Arc::clone).unwrap_or_default();
        Recorder { log: Arc::clone(&self.0), name: client, client: budgets, recent: RefCell::default() }
    }
}

impl Recorder {
    /// The plugin that runs `command`; empty if none does.
    #[must_use]
    pub fn plugin_of(&self, command: &str) -> &str {
        self.log.commands.get(command).map_or("", |known| &known.plugin)
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.name
    }

    /// Counts `event` in the metrics, offers it to the slow log, and writes it unless its budget for this
    /// second is used up.
    pub fn record(&self, event: &CommandEvent<'_>) {
        SLOW_LOG.offer(event.took(), event.result.unwrap_or(0), event.spent, || self.ended(event));
        if self.admits(event) {
            self.write(event);
            if let Err(error) = event.result {
                let CommandEvent { id, request, via, closest, .. } = *event;
                self.add_error(error.code.as_str(), id.to_string(), (request, via), closest);
            }
        }
    }

    /// Counts `request`, which runs although no pattern of its client allows it, and writes that unless the
    /// budget for this second is used up. `via` names the plugin that runs it for its client, if any,
    /// `closest` the patterns that came closest to allowing it.
    pub fn report(
        &self,
        connection: ConnectionId,
        request: &Request,
        via: Option<&str>,
        closest: impl FnOnce() -> Option<String>,
    ) {
        Counter::WouldBeForbidden.count();
        let command = request.command();
        let of_command =
            self.log.commands.get_key_value(command).map(|known| self.client.command(known, self.log.always));
        let budget = &of_command.as_deref().unwrap_or(&self.client.unknown).would_be_forbidden;
        if budget.admits(second(self.log.started, Instant::now()), FAILURES_PER_SECOND) {
            let (client, command) = (&*self.name, shown(command, MAX_COMMAND_CHARS));
            let (arguments, closest) = (self.arguments(request, MAX_ARGUMENTS_CHARS), closest());
            tracing::warn!(
                name: ADMITTED, target: "lictor::command", %connection, client, %command, via,
                arguments = arguments.as_deref(), closest = closest.as_deref(), "would-be-forbidden"
            );
            let id = connection.to_string();
            self.add_error(WOULD_BE_FORBIDDEN, id, (request, via), closest.as_deref());
        }
    }

    fn admits(&self, event: &CommandEvent<'_>) -> bool {
        let second = second(self.log.started, event.began);
        if let Err(CommandError { code: Code::UnknownCommand, .. }) = event.result {
            return self.decide(&self.client.unknown, event, second);
        }
        let mut recent = self.recent.borrow_mut();
        let command = event.request.command();
        if let Some((_, budgets)) = recent.iter().find(|(known, _)| **known == *command) {
            return self.decide(budgets, event, second);
        }
        let Some((command, known)) = self.log.commands.get_key_value(command) else {
            return self.decide(&self.client.unknown, event, second);
        };
        let budgets = self.client.command((command, known), self.log.always);
        let is_admitted = self.decide(&budgets, event, second);
        if recent.len() == MAX_RECENT {
            recent.remove(0);
        }
        recent.push((Arc::clone(command), budgets));
        is_admitted
    }

    fn decide(&self, budgets: &CommandBudgets, event: &CommandEvent<'_>, second: u32) -> bool {
        let took = event.took();
        count(budgets.series, self.client.series, event.result.err().map(|error| error.code), took);
        match event.result {
            Ok(_) => self.admits_success(budgets, second),
            Err(error) => budgets.failed[error.code as usize].admits(second, FAILURES_PER_SECOND),
        }
    }

    /// Once a second is closed, reading the command's own budget suffices.
    fn admits_success(&self, budgets: &CommandBudgets, second: u32) -> bool {
        let seen = budgets.succeeded.seen(second);
        if seen != CLOSED {
            let Self { log, client, .. } = self;
            let has_room = || {
                client.written.seen(second) < log.share.load(Ordering::Relaxed)
                    && log.written.seen(second) < log.per_second
            };
            let is_first = seen < FIRST_PER_SECOND.min(log.per_second);
            if is_first || budgets.is_always_written || has_room() {
                budgets.succeeded.set(second, (seen + 1).min(CLOSED - 1));
                client.written.count(second);
                log.written.count(second);
                return true;
            }
            budgets.succeeded.set(second, CLOSED);
        }
        budgets.succeeded.count_unlogged();
        false
    }

    fn write(&self, event: &CommandEvent<'_>) {
        let CommandEvent { id, request, via, .. } = *event;
        let client = &*self.name;
        let command = shown(request.command(), MAX_COMMAND_CHARS);
        let arguments = self.arguments(request, MAX_ARGUMENTS_CHARS);
        let arguments = arguments.as_deref();
        let micros = u64::try_from(event.took().as_micros()).unwrap_or(u64::MAX);
        let (connection, request) = (id.connection, id);
        match event.result {
            Ok(bytes) => tracing::info!(
                name: ADMITTED, target: "lictor::command",
                %connection, %request, client, %command, via, arguments, outcome = "ok", bytes, micros, "command"
            ),
            Err(error) => tracing::info!(
                name: ADMITTED, target: "lictor::command",
                %connection, %request, client, %command, via, arguments, outcome = error.outcome.as_str(),
                code = error.code.as_str(), reason = %shown(&error.message, MAX_ARGUMENTS_CHARS),
                closest = event.closest, micros, "command"
            ),
        }
    }
}

impl Budgets {
    /// Reports counts, and divides the next second among clients active in this one or the last.
    fn report(&self, second: u32) {
        let mut active = 0;
        for (client, budgets) in &self.clients {
            active += u32::from(budgets.written.was_used(second.saturating_sub(1)));
            let counts = budgets.take_counts();
            counts.iter().for_each(|count| add_errors(client, count));
            counts.iter().take(MAX_COUNTS).for_each(|count| tell(client, count));
            if let Some(others) = counts.get(MAX_COUNTS..).filter(|others| !others.is_empty()) {
                tell_sum(client, others);
            }
        }
        self.share.store(self.per_second.div_ceil(active.max(1)), Ordering::Relaxed);
    }
}

impl Drop for Budgets {
    fn drop(&mut self) {
        self.report(0);
    }
}

/// Adds failed commands that were only counted to the errors.
fn add_errors(client: &Arc<str>, Count { command, code, events }: &Count) {
    if let Some(reason) = *code {
        let of = command.clone().unwrap_or_default();
        ERRORS.count_commands(&Kind { by: Arc::clone(client), reason, of }, *events);
    }
}

/// Reports the counts of all logs in use.
pub(super) fn report(second: u32) {
    let logs: Vec<_> = locked(&LOGS).iter().filter_map(Weak::upgrade).collect();
    logs.iter().for_each(|log| log.report(second));
}

#[cfg(test)]
mod tests;
