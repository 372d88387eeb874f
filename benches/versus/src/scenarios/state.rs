//! Values under keys: reads, and writes that are on the disk when they are answered.

use std::sync::Arc;

use super::PAYLOAD;
use super::echoes::asking;
use crate::Bench;
use crate::measure::{Contender, Load, in_turns};
use crate::outcome::Outcome;
use crate::peers::redis::Keeps;
use crate::peers::{lictor, redis};
use crate::resp::Resp;

/// Request to each of the two servers, and its names with one and with sixteen in flight on each connection.
const OURS: [(&[&str], [&str; 2]); 2] = [
    (&["kv-get", "key"], ["Lictor `kv-get`, 1 in flight", "Lictor `kv-get`, 16 in flight"]),
    (&["kv-set", "key", PAYLOAD], ["Lictor `kv-set`, 1 in flight", "Lictor `kv-set`, 16 in flight"]),
];
const THEIRS: [(&[&str], [&str; 2]); 2] = [
    (&["GET", "key"], ["Redis `GET`, 1 in flight", "Redis `GET`, 16 in flight"]),
    (&["SET", "key", PAYLOAD], ["Redis `SET`, 1 in flight", "Redis `SET`, 16 in flight"]),
];

const DEPTHS: [usize; 2] = [1, 16];

pub fn state(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let cores = &[bench.cores.server];
    let lictor = lictor::start(lictor::keeping(&bench.client), cores, &bench.client);
    let lictor = outcome.had("Lictor", lictor);
    let redis = outcome.had("Redis", redis::start(Keeps::EveryWrite, cores, &bench.client));
    let mut contenders = Vec::new();
    let mut pairs = Vec::new();
    // Writes first, so that there is something to read.
    for command in [1, 0] {
        for (depth, in_flight) in DEPTHS.iter().enumerate() {
            let load = Load::Steady(bench.closed(*in_flight));
            let (ours, theirs) = (OURS[command], THEIRS[command]);
            contenders.extend(redis.as_ref().map(|server| {
                let dialect = Arc::new(Resp::new(theirs.0));
                Contender { name: theirs.1[depth], server, dialect, load }
            }));
            contenders.extend(lictor.as_ref().map(|server| {
                let dialect = asking(ours.0);
                Contender { name: ours.1[depth], server, dialect, load }
            }));
            pairs.push((ours.1[depth], theirs.1[depth]));
        }
    }
    outcome.add_series(&in_turns(bench, &contenders, bench.options.rounds()), &pairs, "request");
    outcome
}
