//! Commands called by a plugin's own tests, which run with `cargo test` on the author's machine, without a
//! server.
//!
//! A [`Host`] provides everything that a command may ask of the host: the request, the config, stores, files,
//! other commands, a web, clocks and random numbers. It refuses the same things as the server's host, with
//! the same codes, and ends a command for the same reasons: `timeout` when its time is up, `plugin-limit`
//! when it asks for more than 10,000 operations of the host or moves more than 64 MiB through it.
//! Differences: memory and computing time are not bounded, stores have no quota, a web answers any URL (so
//! its function returns [`Error::Denied`](crate::http::Error) where a grant would), and events reach no other
//! plugin.
//!
//! ```
//! use lictor_plugin::prelude::*;
//! use lictor_plugin::state::Store;
//! use lictor_plugin::testing::Host;
//!
//! #[plugin]
//! mod count {
//!     /// counts what a client asks for
//!     #[command]
//!     fn count(key: &str) -> Result<i64, Failure> {
//!         Store::default().increment(&[&request::caller().name, ":", key].concat(), 1)
//!     }
//! }
//!
//! # fn main() {
//! let host = Host::new().caller("ada").entry("default", "ada:tea", "41");
//! assert_eq!(host.run(count::COMMANDS, &["count", "tea"]).unwrap(), b"42");
//! let kept = host.within(|| Store::default().get_text("ada:tea"));
//! assert_eq!(kept.unwrap().as_deref(), Some("42"));
//! # }
//! ```

#[cfg(not(target_family = "wasm"))]
mod host;

#[cfg(not(target_family = "wasm"))]
pub use host::Host;

#[cfg(all(feature = "streaming", not(target_family = "wasm")))]
pub(crate) use crate::host::fake::renew;
#[cfg(all(feature = "streaming", target_family = "wasm"))]
pub(crate) use unbounded::renew;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::host::fake::one_call;
#[cfg(target_family = "wasm")]
pub(crate) use unbounded::one_call;

use crate::{Command, Failure, dispatch};

/// Runs the command that `arguments` names, as the host does. The macro `plugin` puts `COMMANDS` into its
/// module.
///
/// The functions of the host find nothing there; use [`Host::run`] to run a command with a prepared host.
pub fn run(commands: &'static [Command], arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let mut arguments: Vec<String> = arguments.iter().map(|argument| String::from(*argument)).collect();
    let (name, arguments) = dispatch::split(&mut arguments);
    one_call(|| dispatch::run(commands, name, arguments))?
}

/// Runs a command that writes its reply in parts, to its end; returns everything it wrote, and how it ended.
#[cfg(feature = "streaming")]
pub fn stream(
    commands: &'static [crate::streaming::Command],
    arguments: &[&str],
) -> (Vec<u8>, Result<(), Failure>) {
    crate::streaming::collect(commands, arguments)
}

/// In a component the host bounds a call; the test does not.
#[cfg(target_family = "wasm")]
mod unbounded {
    pub(crate) fn one_call<T>(work: impl FnOnce() -> T) -> Result<T, crate::Failure> {
        Ok(work())
    }

    #[cfg(feature = "streaming")]
    pub(crate) fn renew() {}
}
