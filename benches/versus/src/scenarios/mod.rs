//! The scenarios. Each starts its servers, measures them in turns, and ends them.

mod echoes;
mod handshakes;
mod open;
mod resources;
mod scale;
mod spin;
mod state;
mod throughput;

use std::time::Duration;

use super::Bench;
use super::outcome::Outcome;

/// Echoed text: 16 bytes.
pub const PAYLOAD: &str = "0123456789abcdef";

/// Number of clients that load a server.
pub const CONNECTIONS: usize = 50;

/// Planned time of a load that ends with the measurement beside it: longer than any of these.
const LONG: Duration = Duration::from_secs(600);

/// A scenario's name, which is a word of the command line and a place in the document, and its function.
pub type Scenario = (&'static str, fn(&Bench) -> Outcome);

pub const ALL: [Scenario; 10] = [
    ("echo", throughput::echo),
    ("pipeline", throughput::pipeline),
    ("open", open::open),
    ("connect", handshakes::connect),
    ("idle", resources::idle),
    ("start", resources::start),
    ("storm", handshakes::storm),
    ("spin", spin::spin),
    ("state", state::state),
    ("scale", scale::scale),
];

pub fn names() -> [&'static str; ALL.len()] {
    ALL.map(|(name, _)| name)
}
