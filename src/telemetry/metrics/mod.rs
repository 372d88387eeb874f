//! Metrics: what happened, in the text format of Prometheus.
//!
//! `counters` has one number for each bound, raised where it is met. `series` names the series of commands,
//! which `threads` counts; `plugins` has what instances take. Whoever has other metrics makes a
//! [`Family`] of them at each scrape; only `family` knows the encoder, whose own types have locks and are not
//! used.

mod counters;
mod family;
mod handshakes;
mod histogram;
mod plugins;
mod process;
mod series;
mod spans;
mod state;
mod threads;

pub use counters::{Counter, counted};
pub use family::{Family, Labels, Number};
pub use handshakes::Handshake;
pub use histogram::Histogram;
pub use plugins::{KeptInstance, LiveInstance, OfPlugin, Retired};
pub(super) use series::{OTHER_CLIENTS, OTHER_COMMANDS, Series};
pub use spans::SPANS;
pub use state::STATE;
pub use threads::Bytes;
pub(super) use threads::count;

/// All metrics: those `of_server`, and those of the process.
pub fn exposition(of_server: impl IntoIterator<Item = Family>) -> String {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let build = Family::gauges("lictor_build_info", "The server's version, as a label.", [(version, 1u64)]);
    let families = of_server.into_iter().chain([build]).chain(process::families());
    let families = families.chain(series::families()).chain(plugins::families());
    let families =
        families.chain([handshakes::family(), spans::family()]).chain(bytes()).chain(state::families());
    family::encode(families.chain(counters::families()).collect())
}

fn bytes() -> [Family; 2] {
    [
        Family::counter(
            "lictor_received_bytes_total",
            "Bytes of requests, without TLS.",
            Bytes::Received.total(),
        ),
        Family::counter("lictor_sent_bytes_total", "Bytes of replies, without TLS.", Bytes::Sent.total()),
    ]
}
