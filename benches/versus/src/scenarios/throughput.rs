//! Maximum throughput: the closed loop, in which each slot asks again as soon as it is answered.

use super::CONNECTIONS;
use super::echoes::{Echoes, PAIRS};
use crate::Bench;
use crate::figures::Unit;
use crate::measure::{Load, Series, in_turns};
use crate::outcome::Outcome;
use crate::plots::{Bar, bars};
use crate::spread::Spread;

/// One request in flight on each connection: includes the cost of waking the server.
pub fn echo(bench: &Bench) -> Outcome {
    at_depth(bench, 1, "echo")
}

/// Sixteen in flight: the cost of a request once the server is awake.
pub fn pipeline(bench: &Bench) -> Outcome {
    at_depth(bench, 16, "pipeline")
}

fn at_depth(bench: &Bench, in_flight: usize, picture: &'static str) -> Outcome {
    let mut outcome = Outcome::default();
    let servers = Echoes::start(bench, &mut outcome);
    let contenders = servers.contenders(Load::Steady(bench.closed(in_flight)));
    let all = in_turns(bench, &contenders, bench.options.rounds());
    outcome.add_series(&all, &PAIRS, "request");
    let bar = |series: &Series| {
        let spread = series.spread(|sample| sample.per_second)?;
        Some(Bar { name: series.name, spread, note: ratio(series, &all) })
    };
    let title = format!("echo: {CONNECTIONS} connections, {in_flight} in flight each, one core");
    outcome.draw(
        picture,
        &title,
        bars(&title, "requests a second", &all.iter().filter_map(bar).collect::<Vec<_>>()),
    );
    outcome
}

/// Describes a contender's ratio to the other of its pair.
fn ratio(ours: &Series, all: &[Series]) -> String {
    let pair = PAIRS.iter().find(|(name, _)| *name == ours.name);
    let theirs = pair.and_then(|(_, theirs)| all.iter().find(|series| series.name == *theirs));
    let rate = |series: &Series| series.each(|sample| sample.per_second).collect::<Vec<_>>();
    let ratio = theirs.and_then(|theirs| Some((Spread::of_ratios(rate(ours), rate(theirs))?, theirs.name)));
    ratio.map_or_else(String::new, |(ratio, name)| format!("= {} × {name}", Unit::Ratio.of(ratio.median)))
}
