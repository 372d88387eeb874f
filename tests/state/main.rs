//! The key-value engines: one conformance suite over all of them, a comparison with a model, and, for SQLite,
//! a killed process, a full disk and a damaged file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod backup;
mod bounds;
mod crash;
mod files;
mod full;
mod model;
mod operations;
mod races;
mod snapshots;
mod support;
