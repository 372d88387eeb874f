//! A reply sent in parts: from a plugin's stream through a pipe of bounded size to the task that writes it to
//! the client.
//!
//! Only the pipe buffers a stream. While it is full the guest's write is not accepted, so a client that does
//! not read holds its plugin back, and nothing piles up.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::sync::locked;

/// The longest part, in bytes: the content of one TLS record.
const MAX_PART_BYTES: usize = 16 << 10;

/// Bytes of a stream that wait for their connection: enough for the plugin to go on while one part is
/// written.
const PIPE_BYTES: usize = 4 * MAX_PART_BYTES;

/// Makes the two ends of a new stream's pipe.
#[must_use]
pub fn pipe() -> (PipeWriter, Parts) {
    let (writer, parts) = duplex(PIPE_BYTES);
    (PipeWriter(Arc::new(Mutex::new(Some(writer)))), Parts(parts))
}

/// The writing end of a stream's pipe. Clones share it; it is closed when the last of them is dropped, or
/// before.
#[derive(Clone, Debug)]
pub struct PipeWriter(Arc<Mutex<Option<DuplexStream>>>);

/// The reading end, which yields parts.
#[derive(Debug)]
pub struct Parts(DuplexStream);

impl PipeWriter {
    /// Writes all of `bytes`, as the pipe takes them.
    ///
    /// # Errors
    ///
    /// If nobody takes them any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    pub(in crate::plugin) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.pipe() {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends the parts, whatever still holds this.
    pub(in crate::plugin) fn close(&self) {
        *self.pipe() = None;
    }

    fn pipe(&self) -> MutexGuard<'_, Option<DuplexStream>> {
        locked(&self.0)
    }
}

impl Parts {
    /// Most bytes that wait in the pipe.
    pub const MAX_BYTES: usize = PIPE_BYTES;

    /// Returns the next part, which is not empty; `None` once the stream has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut space = [MaybeUninit::uninit(); MAX_PART_BYTES];
        let mut part = ReadBuf::uninit(&mut space);
        // A read of memory, which cannot fail.
        match ready!(Pin::new(&mut self.0).poll_read(cx, &mut part)) {
            Ok(()) if !part.filled().is_empty() => Poll::Ready(Some(part.filled().to_vec())),
            Ok(()) | Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_pipe_takes_no_more_and_a_closed_one_ends() {
        let (writer, mut parts) = pipe();
        let mut context = Context::from_waker(std::task::Waker::noop());
        let bytes = vec![7; 2 * PIPE_BYTES];
        assert!(matches!(writer.poll_write(&mut context, &bytes), Poll::Ready(Ok(PIPE_BYTES))));
        assert!(writer.poll_write(&mut context, &bytes).is_pending());
        for _ in 0..PIPE_BYTES / MAX_PART_BYTES {
            let part = parts.poll_next(&mut context);
            assert!(matches!(part, Poll::Ready(Some(part)) if part.len() == MAX_PART_BYTES));
        }
        assert!(parts.poll_next(&mut context).is_pending());
        writer.close();
        assert_eq!(parts.poll_next(&mut context), Poll::Ready(None));
        assert!(matches!(writer.poll_write(&mut context, &bytes), Poll::Ready(Err(_))));
    }
}
