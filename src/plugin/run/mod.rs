//! Running calls: one after the other, as streams, as commands of commands, and for authors.

mod core_dump;
mod deadline;
mod errors;
mod executor;
mod streaming;
mod trial;

pub use executor::{Ended, Executor, Pending, run_nested, run_one};
pub use streaming::run_streaming;
pub use trial::{Trial, try_out};
