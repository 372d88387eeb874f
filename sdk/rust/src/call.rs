//! Other commands of this server, where `commands = ["PATTERN"]` is granted.

use crate::Failure;
use crate::host::call;

/// Runs a command for the client whose request is being handled, as if it had sent it: with its permissions and never
/// more, within the grant, and within the request's deadline. The command's name comes first in `arguments`.
///
/// A failure's code is the one that the client would have got, for instance `forbidden` or `timeout`.
pub fn command(arguments: &[&str], body: &[u8]) -> Result<Vec<u8>, Failure> {
    let arguments: Vec<String> = arguments.iter().map(|argument| String::from(*argument)).collect();
    // What another command told the client, and not the host.
    call::command(&arguments, body).map_err(|failure| Failure::from(failure).as_is())
}
