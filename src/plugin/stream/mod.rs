//! Streamed replies: the pipe to the client, and the progress that its plugin makes.

pub(super) mod pipe;
pub(super) mod progress;
