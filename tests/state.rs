//! The key-value engines: one conformance suite over all of them, a comparison with a model, and, for SQLite,
//! a killed process, a full disk and a damaged file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "state/backup.rs"]
mod backup;
#[path = "state/bounds.rs"]
mod bounds;
#[path = "state/crash.rs"]
mod crash;
#[path = "state/files.rs"]
mod files;
#[path = "state/full.rs"]
mod full;
#[path = "state/model.rs"]
mod model;
#[path = "state/operations.rs"]
mod operations;
#[path = "state/races.rs"]
mod races;
#[path = "state/snapshots.rs"]
mod snapshots;
#[path = "state/support.rs"]
mod support;
