//! Running calls: one after the other, as streams, as commands of commands, and for authors.

mod core_dump;
mod deadline;
mod executor;
mod outcome;
mod streaming;
mod trial;

pub use executor::{Ended, Executor, Pending, Ran, run_nested, run_reserved};
pub use streaming::run_streaming;
pub use trial::{Trial, run_whole, try_out};
