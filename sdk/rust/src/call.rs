//! Other commands of this server, where `commands = ["PATTERN"]` is granted.

use crate::Failure;
use crate::host::call;

/// Runs a command on behalf of the client whose request is being handled: with that client's permissions and
/// never more, within the grant, and within the request's deadline. The command's name comes first in
/// `arguments`.
///
/// A failure has the code that the client would have received, for instance `forbidden` or `timeout`.
pub fn command(arguments: &[&str], body: &[u8]) -> Result<Vec<u8>, Failure> {
    let arguments: Vec<String> = arguments.iter().map(|argument| String::from(*argument)).collect();
    // This is the other command's message to the client, not a failure of the host.
    call::command(&arguments, body).map_err(|failure| Failure::from(failure).as_is())
}
