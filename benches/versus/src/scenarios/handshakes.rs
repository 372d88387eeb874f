//! Connections: handshakes per second, and their effect on clients that are already connected.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ::lictor::loadgen::{self, HandshakePlan, OnProgress};
use tokio::runtime::Runtime;

use super::echoes::asking;
use super::{LONG, PAYLOAD};
use crate::Bench;
use crate::document::Table;
use crate::figures::Unit;
use crate::measure::{Asked, Contender, Load, Series, beside, in_turns, in_turns_by, once, troubles};
use crate::outcome::Outcome;
use crate::peers::redis::Keeps;
use crate::peers::{lictor, redis};
use crate::resp::Resp;
use crate::spread::Spread;

/// Number of clients that connect at once.
const CONCURRENT: usize = 8;

/// Servers with the same handshake: TLS 1.3 with a certificate on each side, and no session resumption.
fn peers(bench: &Bench, outcome: &mut Outcome) -> Vec<Asked> {
    let cores = &[bench.cores.server];
    let redis = outcome.had("Redis", redis::start(Keeps::Nothing, cores, &bench.client));
    let resp = || Arc::new(Resp::new(&["ECHO", PAYLOAD]));
    let redis = redis.map(|server| Asked { name: "Redis", server, dialect: resp() });
    let lictor = lictor::start(lictor::echoing(&bench.client), cores, &bench.client);
    let asked = |server| Asked { name: "Lictor", server, dialect: asking(&["echo", PAYLOAD]) };
    redis.into_iter().chain(outcome.had("Lictor", lictor).map(asked)).collect()
}

/// Connects, shakes hands, sends one request and closes, repeatedly.
pub fn connect(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let peers = peers(bench, &mut outcome);
    let (warm_up, time) = (bench.options.warm_up(), bench.options.time());
    let load = Load::Handshakes(HandshakePlan { concurrent: CONCURRENT, warm_up, time });
    let contenders: Vec<Contender<'_>> = peers.iter().map(|peer| peer.under(load)).collect();
    let all = in_turns(bench, &contenders, bench.options.rounds());
    outcome.add_series(&all, &[("Lictor", "Redis")], "connection");
    outcome
}

/// Warm echoes of connected clients, both while others connect and while none do.
pub fn storm(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let peers = peers(bench, &mut outcome);
    let names: Vec<&'static str> = peers.iter().flat_map(|peer| [peer.name; 2]).collect();
    let handshakes = RefCell::new(vec![Vec::new(); names.len()]);
    let all = in_turns_by(bench, &names, bench.options.rounds(), |turn| {
        let Asked { server, dialect, .. } = &peers[turn / 2];
        let contender = peers[turn / 2].under(Load::Steady(bench.closed(1)));
        if turn % 2 == 0 {
            return once(bench, &contender);
        }
        let peer = server.peer(dialect);
        let plan = HandshakePlan { concurrent: CONCURRENT, warm_up: Duration::ZERO, time: LONG };
        let storm = |runtime: &Runtime, go_on: OnProgress<'_>| {
            runtime.block_on(loadgen::handshakes(&peer, &plan, go_on))
        };
        let (measured, storm) = beside(storm, || once(bench, &contender))?;
        handshakes.borrow_mut()[turn].push(storm.per_second());
        measured
    });
    outcome.add(stormed(&all, &handshakes.into_inner()));
    outcome.notes.extend(troubles(&all));
    outcome
}

/// Tabulates a row for each server: calm, in the storm, and the ratio of both.
fn stormed(all: &[Series], handshakes: &[Vec<f64>]) -> String {
    let mut table = Table::new(&[
        "server",
        "handshakes/s",
        "requests/s",
        "relative to calm",
        "p99",
        "relative to calm",
        "generator's core",
    ]);
    for (both, handshakes) in all.chunks(2).zip(handshakes.chunks(2)) {
        let [calm, storm] = both else { continue };
        let figure = |unit: Unit, figure| unit.of_spread(storm.spread(figure));
        let ratio = |figure| Unit::Ratio.of_spread(Spread::of_ratios(storm.each(figure), calm.each(figure)));
        table.row(&[
            storm.name.to_owned(),
            Unit::Count.of_spread(Spread::of(handshakes[1].iter().copied())),
            figure(Unit::Count, |sample| sample.per_second),
            ratio(|sample| sample.per_second),
            figure(Unit::Time, |sample| sample.p99),
            ratio(|sample| sample.p99),
            figure(Unit::Share, |sample| sample.generator),
        ]);
    }
    table.into_text()
}
