//! Commands called by a plugin's own tests, which run on the author's machine by `cargo test`.
//!
//! Host functions are not there: a command that calls one panics. Test what is pure.

use crate::{Command, Failure, dispatch};

/// Runs the command that `arguments` names, as the host does. The macro `plugin` puts `COMMANDS` into its module.
pub fn run(commands: &'static [Command], arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let mut arguments: Vec<String> = arguments.iter().map(|argument| String::from(*argument)).collect();
    let (name, arguments) = dispatch::split(&mut arguments);
    dispatch::run(commands, name, arguments)
}

/// Runs a command that writes its reply in parts, to its end; gives all that it wrote, and how it ended.
#[cfg(feature = "streaming")]
pub fn stream(
    commands: &'static [crate::streaming::Command],
    arguments: &[&str],
) -> (Vec<u8>, Result<(), Failure>) {
    crate::streaming::collect(commands, arguments)
}
