//! Bytes received from an HTTP server, below TLS: counted for the call, and read in slices.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};
use tokio::net::tcp::OwnedReadHalf;

use crate::plugin::host::volume::Volume;

/// Bytes after which a task yields to others although more can be read. hyper and rustls read on for as long
/// as meaningless bytes come, such as informational responses, zeros in front of a chunk's size and TLS
/// tickets.
const SLICE_BYTES: u64 = 16 << 10;

/// The read half of a connection.
pub(super) struct Received {
    /// Its limit is the rest of the slice.
    stream: Take<OwnedReadHalf>,
    volume: Volume,
}

impl Received {
    pub(super) fn new(stream: OwnedReadHalf, volume: Volume) -> Self {
        Self { stream: stream.take(SLICE_BYTES), volume }
    }
}

impl AsyncRead for Received {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stream.limit() == 0 {
            self.stream.set_limit(SLICE_BYTES);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            self.stream.set_limit(SLICE_BYTES);
        }
        match self.volume.carry(buffer.filled().len() - before) {
            Ok(()) => read,
            Err(spent) => Poll::Ready(Err(io::Error::other(spent))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::plugin::host::volume::VolumeLimits;

    /// Makes a `Received` whose `bytes` have arrived and can be read.
    async fn received(bytes: &[u8], most: u64) -> (Received, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reading = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut writing, _) = listener.accept().await.unwrap();
        writing.write_all(bytes).await.unwrap();
        let mut peeked = vec![0; bytes.len()];
        while reading.peek(&mut peeked).await.unwrap() < bytes.len() {}
        let volume = Volume::new(VolumeLimits { calls: 0, bytes: most });
        (Received::new(reading.into_split().0, volume), writing)
    }

    /// Reads as much as there is without yielding.
    async fn read_once(received: &mut Received) -> (usize, Poll<io::Result<()>>) {
        let mut bytes = vec![0; 1 << 20];
        poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut bytes);
            loop {
                let read = Pin::new(&mut *received).poll_read(context, &mut buffer);
                if !matches!(read, Poll::Ready(Ok(()))) {
                    return Poll::Ready((buffer.filled().len(), read));
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_read_yields_after_each_slice_and_all_comes() {
        let slice = SLICE_BYTES as usize;
        let (mut received, _writing) = received(&vec![b'x'; 2 * slice + 1], u64::MAX).await;
        for expected in [slice, slice, 1] {
            let (count, read) = read_once(&mut received).await;
            assert!(count == expected && read.is_pending(), "{count} {read:?}");
        }
    }

    #[tokio::test]
    async fn what_comes_is_taken_from_the_volume() {
        let (mut received, _writing) = received(b"1234", 3).await;
        let (_, read) = read_once(&mut received).await;
        assert!(matches!(read, Poll::Ready(Err(error)) if error.to_string().contains("3 bytes")));
        assert!(received.volume.check().is_err());
    }
}
