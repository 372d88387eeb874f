//! The open loop: a fixed number of requests per second, however long the answers take. Latency counts from
//! the time a request was due, so a server that stalls is charged for all requests due in the stall (no
//! coordinated omission).

use std::collections::BTreeMap;

use ::lictor::loadgen::{Pace, Plan};

use super::echoes::{Echoes, FRESH, PING, REDIS, SERVE, SERVE_REUSED, WARM};
use crate::Bench;
use crate::document::Table;
use crate::figures::{NOTHING, Unit};
use crate::measure::{Contender, Load, Series, in_turns};
use crate::outcome::Outcome;
use crate::plots::{Chart, Line, Scale, lines};

/// Pairs with the same offered load.
const PAIRS: [(&str, &str); 2] = [(WARM, REDIS), (FRESH, REDIS)];

/// Fractions of the closed loop's rate, in percent.
const STEPS: [u32; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];

/// A contender that answers a smaller fraction of its load is overloaded: its latency grows without end.
const KEEPS_UP: f64 = 0.98;

/// Full load of each contender: requests per second.
type Most = BTreeMap<&'static str, f64>;

/// One contender's results at each step.
struct Curve {
    name: &'static str,
    points: Vec<Point>,
}

struct Point {
    /// Requests per second.
    offered: f64,
    /// Nanoseconds; `None` if the contender did not keep up.
    p99: Option<f64>,
}

pub fn open(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let servers = Echoes::start(bench, &mut outcome);
    let most = most(bench, &servers);
    let all = in_turns(bench, &offered(&servers, &most, bench.closed(1), 50), bench.options.rounds());
    let rate = |name: &&str| Some(format!("{} for {name}", Unit::Count.of(most.get(*name)? / 2.0)));
    let rates: Vec<String> = [REDIS, WARM, FRESH, SERVE, SERVE_REUSED].iter().filter_map(rate).collect();
    outcome.add(format!("Offered load in requests per second: {}.", rates.join(", ")));
    outcome.add_series(&all, &PAIRS, "request");
    let chart = percentiles(&all);
    outcome.draw("percentiles", chart.title, lines(&chart));

    let steps = &STEPS[..bench.options.many(STEPS.len(), 2)];
    let curves = sweep(bench, &servers, &most, steps);
    outcome.add("p99 at fractions of the closed loop's throughput; the table above shows one half:");
    outcome.add(swept(&curves, steps));
    let chart = over_load(&curves);
    outcome.draw("load", chart.title, lines(&chart));
    outcome
}

/// Returns the full load of each contender: its rate in the closed loop. All that speak TLS have the rate of
/// Redis (or of `echo`, without Redis), so that they are offered the same.
fn most(bench: &Bench, servers: &Echoes) -> Most {
    let mut contenders = servers.contenders(Load::Steady(bench.closed(1)));
    contenders.retain(|contender| [REDIS, WARM, SERVE, SERVE_REUSED].contains(&contender.name));
    let all = in_turns(bench, &contenders, bench.options.rounds().min(3));
    let rate = |series: &Series| Some((series.name, series.spread(|sample| sample.per_second)?.median));
    let mut most: Most = all.iter().filter_map(rate).collect();
    if let Some(measure) = most.get(REDIS).or(most.get(WARM)).copied() {
        most.extend([REDIS, WARM, FRESH].map(|name| (name, measure)));
    }
    most
}

/// Returns all contenders, offered this percentage of their full load.
fn offered<'s>(servers: &'s Echoes, most: &Most, plan: Plan, percent: u32) -> Vec<Contender<'s>> {
    let mut contenders = servers.contenders(Load::Steady(plan));
    // Its results hardly differ from those of `echo`; the closed loop shows it.
    contenders.retain(|contender| contender.name != PING && most.contains_key(contender.name));
    for contender in &mut contenders {
        let per_second = most[contender.name] * f64::from(percent) / 100.0;
        contender.load = Load::Steady(Plan { pace: Pace::Open { per_second }, ..plan });
    }
    contenders
}

fn sweep(bench: &Bench, servers: &Echoes, most: &Most, steps: &[u32]) -> Vec<Curve> {
    // Shorter, because there are many steps.
    let plan = Plan { time: bench.options.time() / 3, ..bench.closed(1) };
    let mut curves: Vec<Curve> = Vec::new();
    for percent in steps {
        bench.tell(&format!("{percent} % of the load"));
        let all = in_turns(bench, &offered(servers, most, plan, *percent), bench.options.rounds().min(3));
        for series in &all {
            let offered = most[series.name] * f64::from(*percent) / 100.0;
            let answered = series.spread(|sample| sample.per_second).map_or(0.0, |spread| spread.median);
            let p99 = series.spread(|sample| sample.p99).map(|spread| spread.median);
            let point = Point { offered, p99: p99.filter(|_| answered > offered * KEEPS_UP) };
            match curves.iter_mut().find(|curve| curve.name == series.name) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { name: series.name, points: vec![point] }),
            }
        }
    }
    curves
}

fn swept(curves: &[Curve], steps: &[u32]) -> String {
    let steps: Vec<String> = steps.iter().map(|percent| format!("{percent} %")).collect();
    let head: Vec<&str> = ["server"].into_iter().chain(steps.iter().map(String::as_str)).collect();
    let mut table = Table::new(&head);
    for Curve { name, points } in curves {
        let p99 =
            points.iter().map(|point| point.p99.map_or_else(|| NOTHING.into(), |p99| Unit::Time.of(p99)));
        table.row(&[(*name).to_owned()].into_iter().chain(p99).collect::<Vec<_>>());
    }
    format!("{}\n{NOTHING}: more than the server can handle.", table.into_text())
}

fn over_load(curves: &[Curve]) -> Chart<'_> {
    let line = |curve: &Curve| Line {
        name: curve.name,
        points: curve.points.iter().filter_map(|point| Some((point.offered, point.p99?))).collect(),
    };
    Chart {
        title: "echo: latency over load, 50 connections, one core",
        x_name: "requests offered in a second",
        y_name: "p99, from when a request was due",
        x_scale: Scale::Load,
        lines: curves.iter().map(line).collect(),
    }
}

/// Charts the latency that each fraction of the requests stays below.
fn percentiles(all: &[Series]) -> Chart<'_> {
    // Up to all but one in ten thousand, with twenty steps for each nine.
    let nines = || (0..=80).map(|step| f64::from(step) / 20.0);
    let latency = |series: &Series, nines: f64| {
        let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
        series.latency.value_at_percentile(percent) as f64
    };
    let line = |series: &Series| Line {
        name: series.name,
        points: nines().map(|nines| (nines, latency(series, nines))).collect(),
    };
    Chart {
        title: "echo: latency at half of the load, 50 connections, one core",
        x_name: "part of the requests that took no longer",
        y_name: "latency, from when a request was due",
        x_scale: Scale::Nines,
        lines: all.iter().filter(|series| !series.samples.is_empty()).map(line).collect(),
    }
}
