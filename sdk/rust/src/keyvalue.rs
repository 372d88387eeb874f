//! `wasi:keyvalue` as it is, where `keyvalue = ["STORE"]` is granted. [`crate::state`] can do more with less.

use crate::Failure;
pub use crate::bindings::wasi::keyvalue::{atomics, batch, store};

/// `denied`, or `failed` with the store's words.
impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => Self::denied("there is no such store"),
            store::Error::AccessDenied => Self::denied("the store is not granted"),
            store::Error::Other(words) => Self::failed(words),
        }
    }
}
