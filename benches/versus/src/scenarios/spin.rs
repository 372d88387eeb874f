//! A quiet client beside one whose plugin computes endlessly, in at least as many calls as there are cores.

use ::lictor::loadgen::{self, OnProgress, Pace, Plan};
use testkit::certs::Identity;
use tokio::runtime::Runtime;

use super::echoes::asking;
use super::{LONG, PAYLOAD};
use crate::Bench;
use crate::document::Table;
use crate::figures::Unit;
use crate::machine::move_to;
use crate::measure::{Contender, Load, Sample, Series, beside, in_turns_by, once, troubles};
use crate::outcome::Outcome;
use crate::peers::lictor;
use crate::spread::Spread;

/// The quiet client's requests per second: few, so that the server is asleep or busy with the other plugin.
const PER_SECOND: f64 = 500.0;

/// Disturbances of the quiet client: connections of the other client, and spinning calls on each. A call is
/// stopped at its timeout, and repeated.
const BESIDE: [(&str, usize, usize); 3] =
    [("alone", 0, 0), ("beside 2 spinning calls", 2, 1), ("beside 64 spinning calls", 4, 16)];

/// The server and its clients share both cores: on a single core a client would mostly wait for the core.
pub fn spin(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let both = [bench.cores.server, bench.cores.load];
    if outcome.had("This scenario", move_to(&both)).is_some() {
        measure(bench, &both, &mut outcome);
        // Later scenarios are measured on one core again.
        outcome.notes.extend(move_to(&[bench.cores.load]).err());
    }
    outcome
}

fn measure(bench: &Bench, both: &[usize], outcome: &mut Outcome) {
    let wild = Identity::new("wild");
    let setup = lictor::echoing(&bench.client).master("wild", &wild).hostile("timeout = \"500ms\"");
    let Some(server) = outcome.had("Lictor", lictor::start(setup, both, &bench.client)) else {
        return;
    };
    let quiet = Plan { connections: 1, pace: Pace::Open { per_second: PER_SECOND }, ..bench.closed(1) };
    let quietly = Contender {
        name: "quiet",
        server: &server,
        dialect: asking(&["fresh", PAYLOAD]),
        load: Load::Steady(quiet),
    };
    let names = BESIDE.map(|(name, ..)| name);
    let all = in_turns_by(bench, &names, bench.options.rounds(), |turn| {
        let (_, connections, in_flight) = BESIDE[turn];
        if connections == 0 {
            return once(bench, &quietly);
        }
        let plan = Plan { connections, in_flight, pace: Pace::Closed, time: LONG, ..quiet };
        let peer = server.peer_of(&wild, &asking(&["spin"]));
        let spin =
            |runtime: &Runtime, go_on: OnProgress<'_>| runtime.block_on(loadgen::run(&peer, &plan, go_on));
        let (measured, spun) = beside(spin, || once(bench, &quietly))?;
        match spun.failures.keys().find(|code| !["timeout", "plugin-limit"].contains(&code.as_str())) {
            Some(code) => Err(format!("a spinning call ended with {code}")),
            None => measured,
        }
    });
    outcome.add(felt(&all));
    outcome.notes.extend(troubles(&all));
}

/// Tabulates the quiet client's latency, and its ratio to the latency without disturbance.
fn felt(all: &[Series]) -> String {
    let mut table = Table::new(&["a quiet client", "p50", "ratio", "p99", "ratio", "p99.9", "ratio"]);
    let figures: [fn(&Sample) -> f64; 3] = [|sample| sample.p50, |sample| sample.p99, |sample| sample.p999];
    for series in all.iter().filter(|series| !series.samples.is_empty()) {
        let mut cells = vec![series.name.to_owned()];
        for figure in figures {
            cells.push(Unit::Time.of_spread(series.spread(figure)));
            cells.push(Unit::Ratio.of_spread(Spread::of_ratios(series.each(figure), all[0].each(figure))));
        }
        table.row(&cells);
    }
    table.into_text()
}
