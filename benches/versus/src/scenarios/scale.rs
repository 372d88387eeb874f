//! Gain from a second core, with requests whose work is in the server: each has its own instance.

use std::sync::Arc;

use super::PAYLOAD;
use super::echoes::asking;
use crate::Bench;
use crate::http::Http;
use crate::measure::{Asked, Contender, Load, in_turns_by, once};
use crate::outcome::Outcome;
use crate::peers::wasmtime::Instances;
use crate::peers::{lictor, wasmtime};

const LICTOR: [&str; 2] = ["Lictor `echo` fresh, 1 core", "Lictor `echo` fresh, 2 cores"];
const SERVE: [&str; 2] = ["`wasmtime serve`, 1 core", "`wasmtime serve`, 2 cores"];

/// The load shares the second core with the server: the ratio is lower than with a second core for itself.
pub fn scale(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let load = Load::Steady(bench.closed(16));
    let both = [bench.cores.server, bench.cores.load];
    let mut servers = Vec::new();
    for (cores, name) in [(&both[..1], LICTOR[0]), (&both[..], LICTOR[1])] {
        let lictor = lictor::start(lictor::echoing(&bench.client), cores, &bench.client);
        let asked = |server| Asked { name, server, dialect: asking(&["fresh", PAYLOAD]) };
        servers.extend(outcome.had(name, lictor).map(asked));
    }
    for (cores, name) in [(&both[..1], SERVE[0]), (&both[..], SERVE[1])] {
        let asked = |server| Asked { name, server, dialect: Arc::new(Http::new(PAYLOAD)) };
        servers.extend(outcome.had(name, wasmtime::start(Instances::Fresh, cores)).map(asked));
    }
    let contenders: Vec<Contender<'_>> = servers.iter().map(|asked| asked.under(load)).collect();
    // The server has a part of the generator's core, so the generator sleeps when it can.
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.name).collect();
    let all = in_turns_by(bench, &names, bench.options.rounds(), |turn| once(bench, &contenders[turn]));
    outcome.add_series(&all, &[(LICTOR[1], LICTOR[0]), (SERVE[1], SERVE[0])], "request");
    outcome
}
