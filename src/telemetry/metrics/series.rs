//! Series of commands and clients, and their numbers.
//!
//! Labels come from the config alone, so that no client's bytes make one. A series keeps its number, and with
//! it its counts, as long as a config that names it is in use, on whichever connection. After that it is not
//! told any more; its number is given away once there is no unused one. So memory does not grow with
//! reloads.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, Weak};

use super::family::{Family, Labels};
use super::threads::{self, NUMBERS, Total, result};
use crate::sync::locked;
use crate::wire::Code;

/// A series with labels of its own. It counts as long as this is held.
#[derive(Debug)]
pub(in crate::telemetry) struct Series(u16);

/// The series of all names that are no commands.
const UNKNOWN_COMMAND: u16 = 0;
/// The series of all commands that have none of their own.
pub(in crate::telemetry) const OTHER_COMMANDS: u16 = 1;
/// The series of all clients that have none of their own.
pub(in crate::telemetry) const OTHER_CLIENTS: u16 = 2;
const FIRST: u16 = 3;

/// Label of the series of those that have none of their own.
const OTHER: &str = "other";

static TABLE: Mutex<Table> = Mutex::new(Table { named: BTreeMap::new(), next: FIRST });

/// The series with labels, some of which may be unused.
struct Table {
    named: BTreeMap<Labels, (u16, Weak<Series>)>,
    /// The first number that no series has had.
    next: u16,
}

impl Series {
    /// Returns the series of a command.
    pub(in crate::telemetry) fn of_command(plugin: &str, command: &str) -> Option<Arc<Self>> {
        locked(&TABLE).series(labels_of_command(plugin, command))
    }

    /// Returns the series of a client. One of the name of the others' series counts in that.
    pub(in crate::telemetry) fn of_client(client: &str) -> Option<Arc<Self>> {
        if client == OTHER { None } else { locked(&TABLE).series(labels_of_client(client)) }
    }

    pub(in crate::telemetry) fn number(&self) -> u16 {
        self.0
    }
}

impl Table {
    /// Returns the series with these labels; `None` if there is no number for it.
    fn series(&mut self, labels: Labels) -> Option<Arc<Series>> {
        let number = match self.named.get(&labels) {
            Some((number, series)) => match series.upgrade() {
                Some(series) => return Some(series),
                None => *number,
            },
            None => self.unused_number()?,
        };
        let series = Arc::new(Series(number));
        self.named.insert(labels, (number, Arc::downgrade(&series)));
        Some(series)
    }

    fn unused_number(&mut self) -> Option<u16> {
        if self.next < NUMBERS {
            self.next += 1;
            return Some(self.next - 1);
        }
        let unused = self.named.iter().find(|(_, (_, series))| series.strong_count() == 0);
        let labels = unused.map(|(labels, _)| labels.clone())?;
        let (number, _) = self.named.remove(&labels)?;
        // Nobody holds the series, so nobody counts in it; the last counts in it precede the reset.
        fence(Ordering::Acquire);
        threads::reset(number);
        Some(number)
    }
}

fn labels_of_command(plugin: &str, command: &str) -> Labels {
    vec![("plugin", plugin.to_owned()), ("command", command.to_owned())]
}

fn labels_of_client(client: &str) -> Labels {
    vec![("client", client.to_owned())]
}

/// All series that are in use.
pub(super) fn families() -> [Family; 3] {
    let table = locked(&TABLE);
    let named = table.named.iter().filter(|(_, (_, series))| series.strong_count() > 0);
    let named = named.map(|(labels, (number, _))| (labels.clone(), *number));
    let shared = [
        (labels_of_command("", ""), UNKNOWN_COMMAND),
        (labels_of_command("", OTHER), OTHER_COMMANDS),
        (labels_of_client(OTHER), OTHER_CLIENTS),
    ];
    let series: Vec<(Labels, u16)> = shared.into_iter().chain(named).collect();
    let totals = threads::totals(series.iter().map(|(_, number)| *number));
    drop(table);
    let (mut commands, mut clients, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for ((labels, number), total) in series.into_iter().zip(totals) {
        let is_shared = number < FIRST;
        if is_shared && total.took.count() == 0 {
            continue;
        }
        let of_kind = if labels.len() == 1 { &mut clients } else { &mut commands };
        of_kind.extend(samples(&labels, &total));
        if labels.len() > 1 && total.took.count() > 0 {
            took.push((labels, total.took));
        }
    }
    [
        Family::counters("lictor_commands_total", "Commands that were answered, by their result.", commands),
        Family::histograms(
            "lictor_command_duration_seconds",
            "Time from a request's arrival to its encoded reply.",
            took,
        ),
        Family::counters(
            "lictor_client_commands_total",
            "Commands of each client that were answered, by their result.",
            clients,
        ),
    ]
}

/// The counts by result; those of a code only once there is one.
fn samples(labels: &Labels, total: &Total) -> impl Iterator<Item = (Labels, u64)> {
    let codes = Code::ALL.into_iter().map(|code| (code.as_str(), total.results[result(Some(code))]));
    let codes = codes.filter(|(_, count)| *count > 0);
    [("ok", total.results[result(None)])].into_iter().chain(codes).map(|(code, count)| {
        let code = ("code", code.to_owned());
        (labels.iter().cloned().chain([code]).collect(), count)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::metrics::count;

    #[test]
    fn a_number_is_given_away_only_once_nobody_counts_under_it() {
        // No other test counts in these two.
        let first = NUMBERS - 2;
        let mut table = Table { named: BTreeMap::new(), next: first };
        let mut series = |command: &str| table.series(labels_of_command("p", command));
        let (a, b) = (series("a").unwrap(), series("b").unwrap());
        assert_eq!((a.number(), b.number()), (first, first + 1));
        assert!(series("c").is_none(), "both are held");
        assert!(Arc::ptr_eq(&a, &series("a").unwrap()));
        let total = |number| threads::totals([number].into_iter()).remove(0);
        count(first, None, None, Duration::ZERO);
        drop(a);
        let again = series("a").unwrap();
        assert_eq!((again.number(), total(first).results[0]), (first, 1), "it goes on where it was");
        drop(again);
        let c = series("c").unwrap();
        assert_eq!((c.number(), total(first)), (first, Total::default()), "it begins anew");
        assert!(series("a").is_none());
        assert_eq!((b.number(), table.named.len()), (first + 1, 2));
    }
}
