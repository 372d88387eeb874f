//! The request being handled.
//!
//! While the host asks for the plugin's commands there is none: texts are empty and times are 0.

use std::time::Duration;

pub use crate::bindings::lictor::plugin::types::Caller;
use crate::host::request;

/// Who sent the request, as the TLS certificate proved it. It can't be forged.
pub fn caller() -> Caller {
    request::caller()
}

/// An id of this request, which stands in the server's log beside all that the plugin logs.
pub fn id() -> String {
    request::id()
}

/// The value of the first header of this name, compared without case.
pub fn header(name: &str) -> Option<String> {
    request::header(name)
}

/// All headers, in their order, without those that the protocol itself reads.
pub fn headers() -> Vec<(String, String)> {
    request::headers()
}

/// The body; empty where there is none.
pub fn body() -> Vec<u8> {
    request::body()
}

/// How long until the host stops this call.
pub fn time_left() -> Duration {
    Duration::from_millis(request::time_left_ms())
}
