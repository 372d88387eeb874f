//! The budgets of all events except those of commands.
//!
//! Every event passes here, so no event that others can cause is without a budget. Events are distinguished
//! by message and source: a client, a plugin, a plugin for a client, a stranger by address. Of each kind the
//! first in a second are written; the rest are counted, and reported once a second with their most severe
//! level. Of a lasting state that every attempt reports again (`LASTING`), one event is written until there
//! has been none for a minute. Strangers also share a budget: they cannot displace events of clients and
//! operators.
//!
//! Invariant: events caused by one client share no budget and no count with those of another. So an event
//! that a client can cause has the field `client`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::budget::{Budget, START, second};
use super::metrics::Counter;
use super::source::{ADMITTED, Kind, Source, SourceFields, Stranger, is_plugins_line};
use crate::sync::locked;

/// Maximum events of all strangers in a second.
const STRANGERS_EVENTS_PER_SECOND: u32 = 100;

/// Maximum sources and messages distinguished within a second; the events of further ones are counted as one.
const MAX_SOURCES: usize = 16_384;
const MAX_STRANGERS: usize = 1_024;

/// Seconds without an event after which a lasting state is over, and the interval of reports while it lasts.
const QUIET_SECONDS: u32 = 60;
const TOLD_EVERY_SECONDS: u32 = 600;

/// Maximum counts reported individually in a second, of named sources and of strangers; the rest are reported
/// as sums.
const MAX_COUNTS: usize = 256;
const MAX_STRANGERS_COUNTS: usize = 16;

static SOURCES: LazyLock<Mutex<Sources>> = LazyLock::new(Mutex::default);

/// Lets events pass that are within their budgets.
pub(super) struct Gate;

impl<S: Subscriber> Layer<S> for Gate {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Details were requested explicitly; plugins' lines have a budget at every level.
        let is_detail = *metadata.level() > Level::INFO && !is_plugins_line(metadata);
        if is_detail || metadata.name() == ADMITTED {
            return true;
        }
        let mut fields = SourceFields::new(metadata);
        event.record(&mut fields);
        let second = second(*START, Instant::now());
        locked(&SOURCES).admits(fields.source(metadata), *metadata.level(), second)
    }
}

#[derive(Debug, Default)]
struct Sources {
    known: HashMap<Source, Tally>,
    strangers: HashMap<Source, Tally>,
    all_strangers: Budget,
}

#[derive(Debug)]
struct Tally {
    budget: Budget,
    /// The most severe level among the counted events.
    level: Level,
    /// The second in which the source or its count was last reported.
    told: u32,
}

/// The level of counts, unless a counted event is more severe.
const COUNT_LEVEL: Level = Level::INFO;

impl Default for Tally {
    fn default() -> Self {
        Self { budget: Budget::default(), level: COUNT_LEVEL, told: 0 }
    }
}

impl Tally {
    fn is_to_be_told(&self, source: &Source, second: u32) -> bool {
        let lasts = self.budget.was_used(second.saturating_sub(quiet(source)));
        !lasts
            || !matches!(source.kind, Kind::Lasting(_))
            || second.saturating_sub(self.told) >= TOLD_EVERY_SECONDS
    }
}

/// Seconds without an event after which a source is forgotten.
fn quiet(source: &Source) -> u32 {
    if matches!(source.kind, Kind::Lasting(_)) { QUIET_SECONDS } else { 1 }
}

impl Sources {
    fn admits(&mut self, source: Source, level: Level, second: u32) -> bool {
        let is_strangers = source.stranger.is_some();
        let (tallies, max) = match is_strangers {
            true => (&mut self.strangers, MAX_STRANGERS),
            false => (&mut self.known, MAX_SOURCES),
        };
        let limit = source.limit();
        let source = if tallies.len() < max || tallies.contains_key(&source) {
            source
        } else {
            let stranger = source.stranger.map(|_| Stranger(None));
            Source {
                message: source.message,
                client: source.client,
                stranger,
                is_rest: true,
                ..Source::default()
            }
        };
        let lasts = matches!(source.kind, Kind::Lasting(_)) && tallies.contains_key(&source);
        let tally = tallies.entry(source).or_default();
        if lasts {
            tally.budget.count(second);
            tally.budget.count_unlogged();
        } else if tally.budget.admits(second, limit) {
            tally.told = second;
            if !is_strangers || self.all_strangers.admits(second, STRANGERS_EVENTS_PER_SECOND) {
                return true;
            }
            tally.budget.count_unlogged();
        }
        tally.level = tally.level.min(level); // the most severe is the least
        false
    }

    /// Takes the counts, and forgets sources without an event in the last second.
    fn take_counts(&mut self, second: u32) -> Vec<Count> {
        self.all_strangers.take_unlogged();
        let mut counts = take_counts(&mut self.known, MAX_COUNTS, second);
        counts.extend(take_counts(&mut self.strangers, MAX_STRANGERS_COUNTS, second));
        counts
    }
}

/// Events that were only counted: of one source, or of the number `sources` of other sources.
#[derive(Debug)]
struct Count {
    source: Source,
    level: Level,
    events: u64,
    sources: Option<u64>,
}

/// Takes the largest counts individually, at most `max`, and the sum of the others for each message and
/// client.
fn take_counts(tallies: &mut HashMap<Source, Tally>, max: usize, second: u32) -> Vec<Count> {
    let counted = tallies.iter_mut().filter_map(|(source, tally)| {
        if !tally.is_to_be_told(source, second) {
            return None;
        }
        tally.told = second;
        let (events, level) =
            (tally.budget.take_unlogged(), std::mem::replace(&mut tally.level, COUNT_LEVEL));
        let count = || Count { source: source.clone(), level, events, sources: None };
        (events > 0).then(count)
    });
    let mut counts: Vec<_> = counted.collect();
    tallies.retain(|source, tally| tally.budget.was_used(second.saturating_sub(quiet(source))));
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(count.events));
    let others = counts.split_off(max.min(counts.len()));
    let mut sums = HashMap::<Source, Count>::new();
    for Count { source: Source { message, client, .. }, level, events, .. } in others {
        let source = Source { message, client, is_rest: true, ..Source::default() };
        let new = || Count { source: source.clone(), level, events: 0, sources: Some(0) };
        let sum = sums.entry(source.clone()).or_insert_with(new);
        sum.events += events;
        sum.level = sum.level.min(level);
        sum.sources = sum.sources.map(|sources| sources + 1);
    }
    counts.extend(sums.into_values());
    counts
}

/// Stands for the end of the process: everything still unreported is then reported.
pub(super) const END: u32 = u32::MAX;

/// Reports the counts.
pub(super) fn report(second: u32) {
    // Not under the lock: the events that report the counts would wait for it.
    let counts = locked(&SOURCES).take_counts(second);
    counts.iter().for_each(tell);
}

fn tell(count: &Count) {
    let Count { source, level, events, sources } = count;
    Counter::EventsUnlogged.add(*events);
    let named = |name: &'_ str| (!name.is_empty()).then(|| name.to_owned());
    let (client, plugin) = (named(&source.client), named(&source.plugin));
    let address =
        source.stranger.and_then(|stranger| stranger.0).map(|network| network.address().to_string());
    let (event, client, plugin) = (source.message.as_str(), client.as_deref(), plugin.as_deref());
    let address = address.as_deref();
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                name: ADMITTED, target: "lictor::log", event, client, plugin, address, sources, count = events,
                "not logged one by one"
            )
        };
    }
    match *level {
        Level::ERROR => tell!(error),
        Level::WARN => tell!(warn),
        _ => tell!(info),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::network::Network;
    use crate::telemetry::source::PLUGIN_LINES;

    fn of_client(client: &str, message: &str) -> Source {
        Source { message: message.into(), client: client.into(), ..Source::default() }
    }

    fn of_plugin(client: &str, plugin: &str) -> Source {
        Source { kind: Kind::PluginLines, plugin: plugin.into(), ..of_client(client, PLUGIN_LINES) }
    }

    fn of_stranger(address: u32, message: &str) -> Source {
        let network = Network::of(SocketAddr::new(Ipv4Addr::from(address).into(), 9).into());
        Source { message: message.into(), stranger: Some(Stranger(Some(network))), ..Source::default() }
    }

    fn admitted(sources: &mut Sources, source: &Source, events: usize) -> usize {
        (0..events).filter(|_| sources.admits(source.clone(), Level::INFO, 7)).count()
    }

    #[test]
    fn each_source_has_its_own_budget_for_each_message() {
        let mut sources = Sources::default();
        for (source, limit) in [
            (of_client("a", "admitted"), 100),
            (of_client("b", "admitted"), 100),
            (of_client("a", "ended"), 100),
            (Source { kind: Kind::Own, ..of_client("", "listening") }, 1000),
            (of_stranger(1, "refused"), 20),
            (of_stranger(2, "refused"), 20),
            (of_plugin("", "p"), 200),
            (of_plugin("a", "p"), 200),
            (of_plugin("b", "p"), 200),
            (of_plugin("a", "q"), 200),
        ] {
            assert_eq!(admitted(&mut sources, &source, 1000), limit, "{source:?}");
        }
        let counts = sources.take_counts(7);
        assert_eq!(counts.len(), 9);
        assert_eq!(counts.iter().map(|count| count.events).sum::<u64>(), 9000 - 100 * 3 - 20 * 2 - 200 * 4);
        assert!(sources.take_counts(9).is_empty());
        assert!(sources.known.is_empty() && sources.strangers.is_empty(), "nothing is kept of what is quiet");
    }

    #[test]
    fn of_what_lasts_the_first_is_written_and_the_rest_is_told_now_and_then_and_at_its_end() {
        let mut sources = Sources::default();
        let full = Source { kind: Kind::Lasting(1), ..of_client("", "cannot accept") };
        let other = Source { kind: Kind::Lasting(2), ..full.clone() };
        let mut told = Vec::new();
        for second in 5..2000 {
            for (source, until) in [(&full, 1500), (&other, 7)] {
                if second < until && sources.admits(source.clone(), Level::ERROR, second) {
                    told.push((second, 0));
                }
            }
            told.extend(sources.take_counts(second).iter().map(|count| (second, count.events)));
        }
        assert_eq!(told, [(5, 0), (5, 0), (67, 1), (605, 600), (1205, 600), (1560, 294)]);
        assert!(sources.admits(full, Level::ERROR, 2000), "what begins anew is told anew");
    }

    #[test]
    fn a_count_has_the_most_severe_level_of_what_it_counts() {
        let mut sources = Sources::default();
        let source = of_plugin("a", "p");
        // A written event states its own level.
        sources.admits(source.clone(), Level::ERROR, 7);
        assert_eq!(admitted(&mut sources, &source, 300), 199);
        assert_eq!(sources.take_counts(7)[0].level, Level::INFO);
        for level in [Level::INFO, Level::WARN, Level::ERROR, Level::DEBUG] {
            assert!(!sources.admits(source.clone(), level, 7));
        }
        assert_eq!(sources.take_counts(7)[0].level, Level::ERROR);
        assert!(!sources.admits(source, Level::TRACE, 7));
        assert_eq!(sources.take_counts(7)[0].level, Level::INFO);
    }

    /// Regardless of the number of one client's sources.
    #[test]
    fn no_sum_is_of_two_clients() {
        let mut sources = Sources::default();
        for (client, plugins) in [("a", MAX_SOURCES + 10), ("b", 1)] {
            for plugin in 0..plugins {
                admitted(&mut sources, &of_plugin(client, &plugin.to_string()), 203);
            }
        }
        let counts = sources.take_counts(7);
        assert!(counts.len() <= MAX_COUNTS + 2, "{}", counts.len());
        let of_b: Vec<_> = counts.iter().filter(|count| count.source.client == "b").collect();
        assert_eq!(of_b.iter().map(|count| count.events).sum::<u64>(), 3);
        assert_eq!(
            counts.iter().map(|count| count.events).sum::<u64>(),
            3 * (MAX_SOURCES as u64 + 1) + 10 * 203 - 200
        );
    }

    #[test]
    fn strangers_have_a_budget_together_that_is_nobody_elses() {
        let mut sources = Sources::default();
        let written: usize =
            (0..100_000).map(|address| admitted(&mut sources, &of_stranger(address, "refused"), 1)).sum();
        assert_eq!(written, STRANGERS_EVENTS_PER_SECOND as usize);
        assert!(sources.strangers.len() <= MAX_STRANGERS + 1);
        assert_eq!(admitted(&mut sources, &of_client("a", "admitted"), 3), 3);
        let counts = sources.take_counts(7);
        assert!(counts.len() <= MAX_STRANGERS_COUNTS + 1, "{}", counts.len());
        assert_eq!(counts.iter().map(|count| count.events).sum::<u64>(), 100_000 - 100);
    }
}
