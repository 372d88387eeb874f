//! The operator's settings in `[plugins.NAME.config]`.
//!
//! ```no_run
//! use lictor_plugin::prelude::*;
//!
//! #[derive(Config)]
//! struct Settings {
//!     greeting: String,
//!     #[config(default = 3)]
//!     retries: u32,
//!     #[config(name = "base-url")]
//!     url: Option<String>,
//! }
//!
//! #[plugin]
//! mod greet {
//!     /// greets somebody
//!     #[command]
//!     fn greet(#[config] settings: &Settings, name: &str) -> String {
//!         format!("{} {name}", settings.greeting)
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! A default in quotes is read as if it were written in the config: `#[config(default = "10s")]` of a
//! `Duration`.
//!
//! A field's key is its name. A field that is not an `Option` and has no `default` is required. Types are
//! those of arguments ([`FromArgument`]). A command takes the settings as a parameter marked `#[config]`,
//! which is not an argument of the command; the settings are read at each call. Anywhere else call
//! `Settings::load()`.

use crate::bindings::wasi::config::store::Error;
use crate::host::config as store;
use crate::{Failure, FromArgument};

/// A struct that is read from the config. Implemented by `#[derive(Config)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from the config",
    label = "add `#[derive(Config)]` to it"
)]
pub trait Config: Sized {
    /// Reads all keys. Fails if one is missing or malformed, and names it.
    fn load() -> Result<Self, Failure>;
}

/// Returns the value of this key, if set. Fails only if the host can't read the config.
pub fn try_get(key: &str) -> Result<Option<String>, Failure> {
    Ok(store::get(key)?)
}

/// Returns the value of this key, if set.
pub fn get(key: &str) -> Option<String> {
    store::get(key).ok().flatten()
}

/// `unavailable`: the source of the values can't be read now.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (Error::Upstream(words) | Error::Io(words)) = error;
        Self::unavailable(words)
    }
}

/// Returns the value of `key`, if set. For the output of `#[derive(Config)]`.
pub fn optional<T: for<'a> FromArgument<'a>>(key: &str) -> Result<Option<T>, Failure> {
    try_get(key)?.map(|text| read(key, text)).transpose()
}

/// Returns the value of `key`, which is required. For the output of `#[derive(Config)]`.
pub fn required<T: for<'a> FromArgument<'a>>(key: &str) -> Result<T, Failure> {
    let missing = || {
        Failure::failed(
            ["[plugins.NAME.config] lacks the key `", key, "`, which must be ", T::EXPECTED].concat(),
        )
    };
    optional(key)?.ok_or_else(missing)
}

/// Returns the default of `key`, written as it would be in the config. For the output of `#[derive(Config)]`.
pub fn default_of<T: for<'a> FromArgument<'a>>(key: &str, text: &str) -> Result<T, Failure> {
    let wrong =
        || Failure::failed(["the plugin's own default of `", key, "` must be ", T::EXPECTED].concat());
    T::from_argument(&mut text.into()).ok_or_else(wrong)
}

fn read<T: for<'a> FromArgument<'a>>(key: &str, mut text: String) -> Result<T, Failure> {
    let wrong = || Failure::failed(["`", key, "` of [plugins.NAME.config] must be ", T::EXPECTED].concat());
    T::from_argument(&mut text).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_told_with_its_key() {
        assert_eq!(read::<u8>("retries", "3".into()), Ok(3));
        let failure = read::<u8>("retries", "many".into()).unwrap_err();
        assert_eq!(failure.code(), "failed");
        assert_eq!(
            failure.message(),
            "`retries` of [plugins.NAME.config] must be a whole number from 0 to 255"
        );
    }
}
