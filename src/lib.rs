//! Lictor: a plugin-hosting command server.
//!
//! The modules in the order in which a request passes through them; each hands the next a value that only it
//! can make, so that skipping a step does not compile:
//!
//! ```text
//! TCP → TLS → PeerIdentity → Request → Exchange → Permit → Target → Call → Reply → bytes
//! ```
//!
//! `ARCHITECTURE.md` describes the same as a walk through the files; `tests/tidy` checks the edges between
//! modules.

pub mod server;

pub mod identity;

pub mod wire;

pub mod authz;

pub mod route;

pub mod idempotency;

pub mod plugin;

pub mod state;

pub mod config;

pub mod admin;

pub mod app;

pub mod reload;

pub mod cli;

pub mod client;

pub mod loadgen;

pub mod otlp;

pub mod author;

pub mod files;

pub mod debug_file;

pub mod telemetry;

pub mod network;

pub mod sync;

pub mod system_trust;

pub mod text;

pub mod units;

pub mod usage;

pub mod watermark;
