//! The functions of the host: the imports in a component; those of [`crate::testing::Host`] in a test on the
//! author's machine.
//!
//! Invariant: nothing else in this crate calls an import. An import that a test reaches ends the whole
//! process.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod fake;
#[cfg(target_family = "wasm")]
mod imported;

#[cfg(not(target_family = "wasm"))]
pub(crate) use fake::{
    call, clock, config, events, files, http, keyvalue, logging, output, random, request, state,
};
#[cfg(target_family = "wasm")]
pub(crate) use imported::{
    call, clock, config, events, files, http, keyvalue, logging, output, random, request, state,
};
