//! Servers that echo their request, which most scenarios compare.

use std::sync::Arc;

use ::lictor::client::Request;
use ::lictor::loadgen::{Dialect, Lictor, Mode};

use super::PAYLOAD;
use crate::Bench;
use crate::http::Http;
use crate::measure::{Contender, Load};
use crate::outcome::Outcome;
use crate::peers::redis::Keeps;
use crate::peers::wasmtime::Instances;
use crate::peers::{Server, lictor, redis, wasmtime};
use crate::resp::Resp;

pub const REDIS: &str = "Redis `ECHO`";
pub const WARM: &str = "Lictor `echo` warm";
pub const FRESH: &str = "Lictor `echo` fresh";
pub const PING: &str = "Lictor `@ping`";
pub const SERVE: &str = "`wasmtime serve`";
pub const SERVE_REUSED: &str = "`wasmtime serve`, reused";

/// Pairs with interesting ratios: like with like, and the cost of the sandbox.
pub const PAIRS: [(&str, &str); 4] = [(WARM, REDIS), (FRESH, SERVE), (WARM, SERVE_REUSED), (PING, WARM)];

/// The servers; unavailable ones are missing.
pub struct Echoes {
    lictor: Option<Server>,
    redis: Option<Server>,
    serve: Option<Server>,
    serve_reused: Option<Server>,
}

impl Echoes {
    pub fn start(bench: &Bench, outcome: &mut Outcome) -> Self {
        let cores = &[bench.cores.server];
        let lictor = lictor::start(lictor::echoing(&bench.client), cores, &bench.client);
        Self {
            lictor: outcome.had("Lictor", lictor),
            redis: outcome.had("Redis", redis::start(Keeps::Nothing, cores, &bench.client)),
            serve: outcome.had(SERVE, wasmtime::start(Instances::Fresh, cores)),
            serve_reused: wasmtime::start(Instances::Reused, cores).ok(),
        }
    }

    /// Returns each server's request, all under the same load.
    pub fn contenders(&self, load: Load) -> Vec<Contender<'_>> {
        let resp = || Arc::new(Resp::new(&["ECHO", PAYLOAD]));
        let http = || Arc::new(Http::new(PAYLOAD));
        let all: [(&'static str, &Option<Server>, Arc<dyn Dialect>); 6] = [
            (REDIS, &self.redis, resp()),
            (WARM, &self.lictor, asking(&["echo", PAYLOAD])),
            (FRESH, &self.lictor, asking(&["fresh", PAYLOAD])),
            (PING, &self.lictor, asking(&["@ping"])),
            (SERVE, &self.serve, http()),
            (SERVE_REUSED, &self.serve_reused, http()),
        ];
        let there =
            all.into_iter().filter_map(|(name, server, dialect)| Some((name, server.as_ref()?, dialect)));
        there.map(|(name, server, dialect)| Contender { name, server, dialect, load }).collect()
    }
}

/// Makes a dialect that sends this command to a Lictor server, framed.
pub fn asking(arguments: &[&str]) -> Arc<dyn Dialect> {
    let request = Request::from_arguments(arguments).expect("these arguments can be sent");
    Arc::new(Lictor::new(request, Mode::Framed))
}
