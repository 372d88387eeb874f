//! Arguments of built-ins.

use crate::route::{BUILT_INS, BuiltIn};
use crate::wire::{Code, CommandError, Request};

/// Refuses arguments of a built-in that takes none. `@ping` takes any, as a client may send what it likes to
/// see whether the server is there.
pub(super) fn check(built_in: BuiltIn, request: &Request) -> Result<(), CommandError> {
    if request.arguments().len() == 1 || built_in == BuiltIn::Ping {
        return Ok(());
    }
    let takes_none = |(other, name, usage, _): &(_, &str, &str, _)| *other == built_in && name == usage;
    match BUILT_INS.iter().any(takes_none) {
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
