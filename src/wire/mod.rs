//! The wire protocol: bytes to [`Request`]s, replies to bytes.
//!
//! Sans-IO: this module knows no socket, no TLS, no task, no clock, no plugin and no permission, so that
//! every split of the bytes can be tested. `docs/protocol.md` has the grammar.

mod decode;
mod error;
mod fault;
mod head;
mod reply;
mod request;

pub use decode::{Decoder, Phase};
pub use error::{Code, CommandError, Outcome, Reply};
pub use fault::Fault;
pub(crate) use head::unescape;
pub use reply::{
    GREETING, NEEDS_SEQUENCE, Sent, encode_farewell, encode_fault, encode_part, encode_reply, is_plain_text,
};
pub use request::{Request, Sequence};

/// Maximum bytes of a head, including its final empty line.
pub const MAX_HEAD_BYTES: usize = 8192;

/// Maximum arguments of a request, including the command. An empty one costs its client a byte, and the
/// server and the plugin many times that.
pub const MAX_ARGUMENTS: usize = 1024;

/// Maximum headers that are passed to a plugin.
pub const MAX_HEADERS: usize = 128;
