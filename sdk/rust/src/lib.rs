//! Lictor plugins in Rust. A command is a function with typed arguments:
//!
//! ```
//! use lictor_plugin::prelude::*;
//!
//! #[plugin]
//! mod greet {
//!     /// greets somebody
//!     #[command(idempotent)]
//!     fn greet(name: String, times: Option<u32>) -> Result<String, Failure> {
//!         match times.unwrap_or(1) {
//!             0 => Err(Failure::bad_arguments("greet at least once")),
//!             times => Ok(vec![format!("hello {name}"); times as usize].join("\n")),
//!         }
//!     }
//! }
//! # fn main() {
//! #     assert_eq!(lictor_plugin::testing::run(greet::COMMANDS, &["greet", "you"]).unwrap(), b"hello you");
//! # }
//! ```
//!
//! The macro [`plugin`] generates the host's entry points: the list of commands with their help, and the call
//! that picks the function, reads its arguments and turns its value into the reply. `README.md` beside this
//! crate says how to build it.
//!
//! | task | use |
//! |---|---|
//! | read arguments of your own type | [`FromArgument`] |
//! | reply with your own type | [`IntoReply`] |
//! | fail | [`Failure`], to which the usual errors convert with `?` |
//! | inspect the request | [`request`] |
//! | log | [`log_line!`], and [`log`] where `logging = true` is granted |
//! | read the plugin's config | [`config`] and `#[derive(Config)]` |
//! | keep state | [`state`]; [`keyvalue`] for the interface of WASI |
//! | read a granted file | [`files`] |
//! | run another command | [`call`] |
//! | publish and receive events | [`events`] |
//! | send an HTTP request | [`http`] |
//! | read the time, measure it, wait | [`clock`] |
//! | draw random numbers | [`random`] |
//! | reply in parts, for as long as the client wants | `streaming`, with the feature of that name |
//! | call a command in a test | [`testing`] |
//!
//! A component imports, and needs to be granted, only what the plugin uses.
//!
//! Files and clocks of the standard library (`std::fs`, `std::time::Instant`) work in a plugin built for
//! `wasm32-wasip2`, and only there.

// The macros' output finds the crate under this name, in its own tests as well.
extern crate self as lictor_plugin;

pub use lictor_plugin_macros::{Config, plugin};

pub use argument::FromArgument;
pub use config::Config;
pub use dispatch::{Arguments, Command};
pub use failure::Failure;
pub use reply::IntoReply;

#[cfg(all(feature = "allocator", target_arch = "wasm32", target_os = "unknown"))]
mod allocator;
pub mod argument;
pub mod bindings;
pub mod call;
pub mod clock;
pub mod config;
mod dispatch;
pub mod events;
mod failure;
pub mod files;
mod host;
pub mod http;
pub mod keyvalue;
pub mod log;
pub mod output;
#[cfg(any(target_family = "wasm", test))]
mod panic;
pub mod random;
mod reply;
pub mod request;
pub mod state;
#[cfg(feature = "streaming")]
pub mod streaming;
pub mod testing;

/// The items that nearly every plugin needs, for `use lictor_plugin::prelude::*`.
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        Config, Failure, FromArgument, IntoReply, call, clock, config, events, files, http, keyvalue, log,
        log_line, plugin, random, request, state,
    };

    #[cfg(feature = "streaming")]
    pub use crate::streaming::Writer;
}

/// Exports a plugin whose commands stream.
#[cfg(feature = "streaming")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_streaming {
    ($plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::streaming::bindings::export_streaming!($plugin with_types_in $crate::streaming::bindings);
    };
}

/// Items that the macros' output names. Not for authors.
#[doc(hidden)]
pub mod __private {
    pub use crate::dispatch::Plugin;
}

/// Exports a plugin: `bindings::export!` names the bindings by a path that only this crate knows for certain.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!($plugin with_types_in $crate::bindings);
    };
}
