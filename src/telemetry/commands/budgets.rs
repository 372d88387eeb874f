//! The budgets of one client's commands, and the counts of the commands beyond them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::sync::locked;
use crate::telemetry::budget::Budget;
use crate::telemetry::metrics::Counter;
use crate::telemetry::source::ADMITTED;
use crate::wire::Code;

/// Stands in for the code in counts of commands that ran although no pattern allows them.
pub(super) const WOULD_BE_FORBIDDEN: &str = "would-be-forbidden";

/// An existing command.
#[derive(Debug)]
pub(super) struct Known {
    /// The number of its series.
    pub(super) series: u16,
    /// The plugin that runs it; empty for a built-in.
    pub(super) plugin: Arc<str>,
}

/// The budgets of one client.
#[derive(Debug, Default)]
pub(super) struct ClientBudgets {
    /// The number of its series, if clients are counted.
    pub(super) series: Option<u16>,
    pub(super) written: Budget,
    pub(super) commands: Mutex<HashMap<Arc<str>, Arc<CommandBudgets>>>,
    /// Budget of all names that are no commands.
    pub(super) unknown: CommandBudgets,
}

/// The budgets of one client's command.
#[derive(Debug, Default)]
pub(super) struct CommandBudgets {
    /// The number of its series; by default that of all names that are no commands.
    pub(super) series: u16,
    pub(super) is_always_written: bool,
    pub(super) succeeded: Budget,
    pub(super) failed: [Budget; Code::ALL.len()],
    pub(super) would_be_forbidden: Budget,
}

impl ClientBudgets {
    /// The budgets of a client with this series, if clients are counted.
    pub(super) fn of(series: Option<u16>) -> Self {
        Self { series, ..Self::default() }
    }

    pub(super) fn command(
        &self,
        (command, known): (&Arc<str>, &Known),
        always: &[&str],
    ) -> Arc<CommandBudgets> {
        let mut commands = locked(&self.commands);
        let new = || CommandBudgets {
            series: known.series,
            is_always_written: always.contains(&&**command),
            ..CommandBudgets::default()
        };
        Arc::clone(commands.entry(Arc::clone(command)).or_insert_with(|| Arc::new(new())))
    }

    /// Takes the counts, largest first.
    pub(super) fn take_counts(&self) -> Vec<Count> {
        let commands: Vec<_> =
            locked(&self.commands).iter().map(|(name, it)| (name.clone(), it.clone())).collect();
        let known = commands.iter().map(|(name, budgets)| (Some(name), &**budgets));
        let mut counts = Vec::new();
        for (command, budgets) in known.chain([(None, &self.unknown)]) {
            let failures =
                Code::ALL.into_iter().map(|code| (Some(code.as_str()), &budgets.failed[code as usize]));
            let others =
                [(None, &budgets.succeeded), (Some(WOULD_BE_FORBIDDEN), &budgets.would_be_forbidden)];
            for (code, budget) in failures.chain(others) {
                let events = budget.take_unlogged();
                let count = || Count { command: command.cloned(), code, events };
                counts.extend((events > 0).then(count));
            }
        }
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(count.events));
        counts
    }
}

/// Number of commands that were only counted; `command` is `None` for names that are no commands, `code` is
/// `None` for successes.
pub(super) struct Count {
    pub(super) command: Option<Arc<str>>,
    pub(super) code: Option<&'static str>,
    pub(super) events: u64,
}

pub(super) fn tell(client: &str, Count { command, code, events }: &Count) {
    Counter::EventsUnlogged.add(*events);
    let outcome = code.is_none().then_some("ok");
    let command = command.as_deref();
    tracing::info!(
        name: ADMITTED, target: "lictor::command", client, command, outcome, code, count = events,
        "commands not logged one by one"
    );
}

pub(super) fn tell_sum(client: &str, others: &[Count]) {
    let count: u64 = others.iter().map(|other| other.events).sum();
    Counter::EventsUnlogged.add(count);
    tracing::info!(
        name: ADMITTED, target: "lictor::command", client, kinds = others.len(), count,
        "commands not logged one by one"
    );
}
