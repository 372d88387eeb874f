//! Arguments of built-ins.

use crate::route::{BUILT_INS, BuiltIn};
use crate::wire::{Code, CommandError, Request};

/// Refuses arguments of a built-in that takes none. `@ping` takes any, as a client may send what it likes to
/// see whether the server is there.
pub(super) fn check(built_in: BuiltIn, request: &Request) -> Result<(), CommandError> {
    let entry = BUILT_INS.iter().find(|(other, ..)| *other == built_in);
    let takes_none = entry.is_some_and(|(_, name, usage, _)| name == usage) && built_in != BuiltIn::Ping;
    match takes_none && request.arguments().len() > 1 {
        true => Err(CommandError::failed(Code::BadArguments, format!("Usage: {}", request.command()))),
        false => Ok(()),
    }
}

/// Returns the only argument of a built-in that is used as `usage` says.
pub(super) fn only_argument<'a>(request: &'a Request, usage: &str) -> Result<&'a str, CommandError> {
    let mut arguments = request.arguments().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(argument), None) => Ok(argument),
        _ => Err(CommandError::failed(Code::BadArguments, format!("Usage: {usage}"))),
    }
}
