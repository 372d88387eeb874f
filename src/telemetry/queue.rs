//! Lines on their way from whoever logs to the thread that writes them.
//!
//! `tracing-appender` bounds their number alone, and a line may be short or hold much foreign text. So their bytes are counted:
//! where a line is handed over, and given back where it is written. A log that nobody reads takes no more memory than that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::metrics::Counter;

/// Bytes of lines that may wait.
pub(super) const MAX_WAITING_BYTES: usize = 16 << 20;

/// What the shortest line counts as: its place in the queue, and what the allocator keeps for it.
const MIN_LINE_BYTES: usize = 128;

/// As many lines as the bytes allow, and one place for the word that ends the thread: none is ever dropped for its number.
const MAX_WAITING_LINES: usize = MAX_WAITING_BYTES / MIN_LINE_BYTES + 1;

/// Hands lines over; beyond the bound they are dropped and counted.
#[derive(Clone)]
pub(super) struct Lines {
    queue: NonBlocking,
    waiting: Arc<AtomicUsize>,
}

/// Lines that a thread of its own writes to `output`. What waits is written when the guard is dropped.
pub(super) fn lines(output: impl io::Write + Send + 'static) -> (Lines, WorkerGuard) {
    let waiting = Arc::default();
    let written = Written { output, waiting: Arc::clone(&waiting) };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES);
    let (queue, guard) = builder.finish(written);
    (Lines { queue, waiting }, guard)
}

fn cost(line: &[u8]) -> usize {
    line.len().max(MIN_LINE_BYTES)
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An event comes in one piece.
impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let cost = cost(line);
        let waiting = self.waiting.fetch_add(cost, Ordering::Relaxed);
        if waiting.saturating_add(cost) > MAX_WAITING_BYTES {
            self.waiting.fetch_sub(cost, Ordering::Relaxed);
            Counter::LinesDropped.count();
            return Ok(line.len());
        }
        self.queue.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.flush()
    }
}

/// Where the thread writes to. It writes each line by one call of `write_all`.
struct Written<W> {
    output: W,
    waiting: Arc<AtomicUsize>,
}

impl<W: io::Write> io::Write for Written<W> {
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.output.write_all(line);
        // A line that can't be written is gone as well.
        self.waiting.fetch_sub(cost(line), Ordering::Relaxed);
        written
    }

    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, MutexGuard};

    use super::*;
    use crate::sync::locked;

    /// An output that takes nothing while the test holds the lock.
    #[derive(Clone, Default)]
    struct Held(Arc<Mutex<usize>>);

    impl Held {
        fn lines(&self) -> MutexGuard<'_, usize> {
            locked(&self.0)
        }
    }

    impl Write for Held {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            *self.lines() += 1;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_wait_up_to_a_number_of_bytes_however_long_they_are() {
        for (length, fit) in [(1, MAX_WAITING_BYTES / MIN_LINE_BYTES), (1 << 20, 16), ((16 << 20) + 1, 0)] {
            let output = Held::default();
            let (mut lines, guard) = lines(output.clone());
            let held = output.lines();
            let line = vec![b'x'; length];
            for _ in 0..fit + 100 {
                lines.write_all(&line).unwrap();
            }
            assert_eq!(lines.waiting.load(Ordering::Relaxed), fit * cost(&line));
            drop(held);
            drop(guard);
            assert_eq!(*output.lines(), fit, "{length}");
            assert_eq!(lines.waiting.load(Ordering::Relaxed), 0, "what is written is given back");
        }
    }
}
