//! The server's pure modules, and the properties that hold in them for any bytes.
//!
//! The modules are included by path, not as the server's crate: a target builds in a minute, and only the
//! code under test is instrumented. This also shows that these modules need no sockets and no sandbox.

// The modules name each other through `crate`, the harness names them as the tests do.
extern crate self as lictor;

#[path = "../src/authz/mod.rs"]
pub mod authz;
#[path = "../src/config/mod.rs"]
pub mod config;
#[path = "../src/files/mod.rs"]
pub mod files;
pub mod harness;
#[path = "../src/identity/mod.rs"]
pub mod identity;
#[path = "../src/sync.rs"]
pub mod sync;
#[path = "../src/text/mod.rs"]
pub mod text;
#[path = "../src/units/mod.rs"]
pub mod units;
#[path = "../src/usage.rs"]
pub mod usage;
#[path = "../src/wire/mod.rs"]
pub mod wire;
