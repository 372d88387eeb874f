//! Tools of plugin authors that need no server: a project's files and sources, C bindings and components;
//! plugins inspected, run, and tested for conformance.
//!
//! Composed of the server's modules, as [`app`](crate::app) is, whose translation of the config it uses.
//! Knows no sockets, no TLS and no terminal.

mod component;
mod conformance;
mod fixtures;
mod inspection;
mod project;
mod seal;
mod sources;
mod trial;

pub use component::{File, c_bindings, componentize};
pub use conformance::{Fault, Report, SuiteLimits, Verdict, test};
pub use fixtures::{log_for_authors, own_cache};
pub use inspection::{Inspected, inspect, name_faults};
pub use project::{Language, ProjectFile, project};
pub use seal::seal;
pub use sources::{Round, Sources};
pub use trial::{TrialCall, TrialRun, Tried, codes, try_all, try_out};

pub use crate::debug_file::Built;
pub use crate::plugin::{Compiling, Difference, HttpGrant, Inspection, Sides, Standing, grant_lines};
