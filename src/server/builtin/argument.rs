//! Arguments of built-ins.

use crate::wire::{Code, CommandError, Request};

/// Returns the only argument of a built-in that is used as `usage` says.
pub(super) fn only_argument<'a>(request: &'a Request, usage: &str) -> Result<&'a str, CommandError> {
    let mut arguments = request.arguments().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(argument), None) => Ok(argument),
        _ => Err(CommandError::failed(Code::BadArguments, format!("Usage: {usage}"))),
    }
}
