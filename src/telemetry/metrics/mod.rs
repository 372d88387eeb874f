//! Metrics: what happened, in the text format of Prometheus.
//!
//! `counters` has one number for each bound, raised where it is met. `series` names the series of commands,
//! which `threads` counts. Whoever has other metrics makes a
//! [`Family`] of them at each scrape; only `family` knows the encoder, whose own types have locks and are not
//! used.

mod counters;
mod family;
mod histogram;
mod process;
mod series;
mod threads;

pub use counters::{Counter, counted};
pub use family::{Family, Labels, Number};
pub(super) use series::{OTHER_CLIENTS, OTHER_COMMANDS, Series};
pub(super) use threads::count;

/// All metrics: those `of_server`, and those of the process.
pub fn exposition(of_server: impl IntoIterator<Item = Family>) -> String {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let build = Family::gauges("lictor_build_info", "The server's version, as a label.", [(version, 1u64)]);
    let families = of_server.into_iter().chain([build]).chain(process::families());
    let families = families.chain(series::families());
    family::encode(families.chain(counters::families()).collect())
}
