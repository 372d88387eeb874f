//! Answers stored by their requests' `Idempotency-Key`, so that a repeated request gets the same answer and
//! is not run again.
//!
//! `ledger` decides about each request; `fingerprint` tells requests apart, `record` is the stored form,
//! `running` the requests that run now, `claim` the right to run a request, `kept` a stored answer not yet
//! read, `full` the clients without room for further keys. An engine stores it all, in one namespace for each
//! client, which no plugin can be granted.
//!
//! Knows no connection, no plugin and no config file, and does not authorize: the caller has done that.
//!
//! # Guarantees
//!
//! - **Once.** Of a client's requests with the same key only one runs at a time, and none after one that has
//!   begun, until that one is forgotten, [`Limits::window`] after its answer.
//! - **Marked before it runs.** The start of a command is recorded, as durably as the engine can, before the
//!   command runs. A server that dies meanwhile finds the mark, and says that the outcome is unknown.
//! - **Stored before it is sent.** An answer is written before its client gets it; an answer that a client
//!   has read, it gets again.
//! - **Never begun, never stored.** A request that ends as `not-run` leaves its key free.
//! - **Read on demand.** An answer is read only when the caller has room for it, and is not copied while it
//!   is written.
//! - **Bounded.** A claim holds its client's place until its final write is done; and a client that has used
//!   up its keys is refused further ones without a write.

mod claim;
mod fingerprint;
mod full;
mod kept;
mod ledger;
mod record;
mod refusals;
mod running;
#[cfg(test)]
mod tests;

pub use claim::Claim;
pub use kept::Kept;
pub use ledger::{Asked, Claimed, Ledger, Limits};
pub use refusals::refused_of_stream;
