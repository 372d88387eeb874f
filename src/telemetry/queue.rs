//! Lines on their way from the logging threads to the writing thread.
//!
//! `tracing-appender` limits only their number, and a line may be short or contain much foreign text. So
//! their bytes are counted: added when a line is queued, subtracted when it is written. A log that nobody
//! reads takes no more memory than that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::metrics::Counter;

/// Maximum bytes of queued lines.
pub(super) const MAX_WAITING_BYTES: usize = 16 << 20;

/// Minimum cost of a line: its slot in the queue, and the allocator's overhead.
const MIN_LINE_BYTES: usize = 128;

/// Maximum lines that fit the bytes, plus one slot for the message that ends the thread: no line is ever
/// dropped for their number.
const MAX_WAITING_LINES: usize = MAX_WAITING_BYTES / MIN_LINE_BYTES + 1;

/// Queues lines; beyond the limit they are dropped and counted.
#[derive(Clone)]
pub(super) struct Lines {
    queue: NonBlocking,
    waiting: Arc<AtomicUsize>,
}

/// Returns a queue whose thread writes lines to `output`. Dropping the guard writes the queued lines.
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

/// Each event arrives in one call.
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

/// The thread's output. The thread writes each line by one call of `write_all`.
struct Written<W> {
    output: W,
    waiting: Arc<AtomicUsize>,
}

impl<W: io::Write> io::Write for Written<W> {
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.output.write_all(line);
        // A line that could not be written has left the queue as well.
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

    /// An output that blocks while the test holds the lock.
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
