//! Bytes that were read but not yet parsed: one buffer for a connection's lifetime.

/// The initial size. It fits a batch of short replies, and thousands of buffers stay affordable.
const FIRST_BYTES: usize = 4 * 1024;

/// Received bytes, followed by free space.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Free space is filled with zeros.
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Received {
    /// The bytes not yet consumed.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// Removes bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.begin = (self.begin + count).min(self.end);
    }

    /// The free space to read into; never empty. Grows as a reply requires: the dialect refuses one that is
    /// too large.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.begin.., 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.end == self.bytes.len() {
            self.bytes.resize((2 * self.end).max(FIRST_BYTES), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Records that `count` bytes were read into the free space.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut received, mut rest, mut out) = (Received::default(), &sent[..], Vec::new());
        for step in (1..).map(|n| (n * 7919) % 5000) {
            let room = received.room();
            let count = room.len().min(step).min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            received.filled(count);
            rest = &rest[count..];
            let taken = received.pending().len() * (step % 3) / 2;
            out.extend_from_slice(&received.pending()[..taken]);
            received.consume(taken);
            if rest.is_empty() {
                break;
            }
        }
        out.extend_from_slice(received.pending());
        assert_eq!(out, sent);
    }

    #[test]
    fn a_whole_reply_leaves_the_buffer_as_it_was() {
        let mut received = Received::default();
        for _ in 0..10_000 {
            assert_eq!(received.room().len(), FIRST_BYTES);
            received.filled(1000);
            received.consume(1000);
        }
    }
}
