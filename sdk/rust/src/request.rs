//! The request being handled.
//!
//! There is none while the host asks for the plugin's commands: texts are empty and times are 0.

use std::time::Duration;

pub use crate::bindings::lictor::plugin::types::Caller;
use crate::host::request;

/// Returns the client that sent the request, as proved by its TLS certificate. It can't be forged.
pub fn caller() -> Caller {
    request::caller()
}

/// Returns this request's id, which the server's log shows beside everything that the plugin logs.
pub fn id() -> String {
    request::id()
}

/// Returns the value of the first header of this name, compared without case.
pub fn header(name: &str) -> Option<String> {
    request::header(name)
}

/// Returns all headers in order, except those that the protocol itself reads.
pub fn headers() -> Vec<(String, String)> {
    request::headers()
}

/// Returns the body; empty if there is none.
pub fn body() -> Vec<u8> {
    request::body()
}

/// Returns the time until the host stops this call.
pub fn time_left() -> Duration {
    Duration::from_millis(request::time_left_ms())
}
