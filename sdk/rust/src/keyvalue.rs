//! Plain `wasi:keyvalue`, where `keyvalue = ["STORE"]` is granted. [`crate::state`] does more with less code.

use crate::Failure;
use crate::bindings::wasi::keyvalue::store::Error;
pub use crate::host::keyvalue::{atomics, batch, store};

/// `denied`, or `failed` with the store's words: a failure of the host.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchStore => Self::of_host("denied", "there is no such store"),
            Error::AccessDenied => Self::of_host("denied", "the store is not granted"),
            Error::Other(words) => Self::failed(words),
        }
    }
}
