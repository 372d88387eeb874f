//! The composition root: from a config to a running server. The only module that knows all others.

mod access;
mod addresses;
mod admin;
mod advice;
mod check;
mod dates;
mod descriptors;
mod doctor;
mod in_force;
mod live;
mod log;
mod memory;
mod operator;
mod plugins;
mod privacy;
mod readiness;
mod reload;
mod runtimes;
mod service;
mod state;
mod summary;
mod supervisor;
mod systemd;
mod traces;
mod usage;

pub use access::{Access, Allowed, Clients, Rule, Serving, access, clients_that_may, granted, may};
pub use check::{Checked, check};
pub use doctor::{Finding, Seen, Verdict, examine, machine};
pub use state::{ByHand, Entry, Existing, Key, Listed, Namespace, Progress, StateError, back_up, state_file};
pub use supervisor::{Running, Supervisor};
pub use usage::{Unused, unused};

pub(crate) use plugins::{grants, instances};
pub(crate) use runtimes::single_threaded;
pub(crate) use service::{connection_limits, idempotency_limits};

pub use crate::plugin::{Compilation, Compiling, Work, compile_alone};
pub use crate::server::ConfigLine;
