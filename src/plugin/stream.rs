//! A reply sent in parts: from a plugin's stream through a pipe of bounded size to the task that writes it to
//! the client.
//!
//! Only the pipe buffers a stream. While it is full the guest's write is not accepted, so a client that does
//! not read holds its plugin back, and nothing piles up.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use wasmtime::component::{Source, StreamConsumer, StreamResult};
use wasmtime::{AsContextMut, StoreContextMut};

use super::bindings::lictor::plugin::types::Failure;
use super::instance::HostState;
use super::topics::Subscriber;
use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// The longest part, in bytes: the content of one TLS record.
const MAX_PART_BYTES: usize = 16 << 10;

/// Bytes of a stream that wait for their connection: enough for the plugin to go on while one part is
/// written.
const PIPE_BYTES: usize = 4 * MAX_PART_BYTES;

/// Makes the two ends of a new stream's pipe.
#[must_use]
pub fn pipe() -> (Outlet, Parts) {
    let (outlet, parts) = duplex(PIPE_BYTES);
    (Outlet(Arc::new(Mutex::new(Some(outlet)))), Parts(parts))
}

/// The writing end of a stream's pipe. Clones share it; it is closed when the last of them is dropped, or
/// before.
#[derive(Clone, Debug)]
pub struct Outlet(Arc<Mutex<Option<DuplexStream>>>);

/// The reading end, which yields parts.
#[derive(Debug)]
pub struct Parts(DuplexStream);

impl Outlet {
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.pipe() {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends the parts, whatever still holds this.
    pub(super) fn close(&self) {
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

/// The host's state of a call that streams.
pub(super) struct Streaming {
    /// The failure with which its reply is to end.
    pub(super) failure: Option<Failure>,
    pub(super) progress: Arc<Progress>,
    /// Its subscription to topics.
    pub(super) subscriber: Option<Subscriber>,
}

impl Streaming {
    /// Makes the state of a stream that begins now, whose plugin's timeout is `patience`.
    pub(super) fn begun(patience: Duration) -> Self {
        Self { failure: None, progress: Arc::new(Progress::new(patience)), subscriber: None }
    }
}

/// The time for which a stream's client has been waiting for its plugin.
///
/// A stream may go on for days, so its plugin's timeout bounds the time from one step to the next: a part
/// that was taken, or an event that came. While the plugin is held back by a client that does not read, or
/// waits for an event, the clock stands.
#[derive(Debug)]
pub(super) struct Progress {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Number of steps so far.
    steps: u64,
}

/// The time since the last step.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Runs { since: Instant },
    Stands { at: Duration },
}

impl Clock {
    fn elapsed(self) -> Duration {
        match self {
            Self::Runs { since } => since.elapsed(),
            Self::Stands { at } => at,
        }
    }
}

impl Progress {
    /// Starts the clock: after `patience` without a step the stream has stalled.
    fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::new(State { clock: Clock::Runs { since: Instant::now() }, steps: 0 }) }
    }

    /// Notes a step of the plugin.
    pub(super) fn step(&self) {
        let mut state = self.state();
        state.clock = Clock::Runs { since: Instant::now() };
        state.steps += 1;
    }

    /// Stops the clock: the plugin waits for somebody else, until its next step or until
    /// [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        let mut state = self.state();
        state.clock = Clock::Stands { at: state.clock.elapsed() };
    }

    /// Restarts the clock after a wait without a step.
    pub(super) fn resume(&self) {
        let mut state = self.state();
        let (now, elapsed) = (Instant::now(), state.clock.elapsed());
        state.clock = Clock::Runs { since: now.checked_sub(elapsed).unwrap_or(now) };
    }

    /// Returns the number of steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Returns the time at which the stream will have stalled; later, if it steps or has to wait.
    pub(super) fn patience_ends(&self) -> Instant {
        Instant::now() + self.patience.saturating_sub(self.state().clock.elapsed())
    }

    /// Waits for the stream to stall.
    pub(super) async fn stalled(&self) {
        loop {
            let ends = self.patience_ends();
            if ends <= Instant::now() {
                return;
            }
            sleep_until(ends).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// Consumes the bytes that a guest writes into its stream.
pub(super) struct Intake {
    outlet: Outlet,
    progress: Arc<Progress>,
    /// Dropped when the stream is closed, by either side, which the receiver sees.
    _open: oneshot::Sender<()>,
}

impl Intake {
    /// Makes an intake into `outlet`, and a receiver that ends when the guest's stream is closed.
    pub(super) fn new(outlet: Outlet, progress: Arc<Progress>) -> (Self, oneshot::Receiver<()>) {
        let (open, closed) = oneshot::channel();
        (Self { outlet, progress, _open: open }, closed)
    }
}

impl StreamConsumer<HostState> for Intake {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, HostState>,
        mut source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        let mut written = source.reborrow().as_direct(store.as_context_mut());
        let bytes = written.remaining();
        if bytes.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match this.outlet.poll_write(cx, bytes) {
            Poll::Ready(Ok(taken)) => {
                written.mark_read(taken);
                this.progress.step();
                store.data_mut().went_on();
                Poll::Ready(Ok(StreamResult::Completed))
            }
            // Nobody takes the parts any more.
            Poll::Ready(Err(_)) => {
                this.progress.resume();
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            // The plugin cancelled the write that it had to wait for.
            Poll::Pending if finish => {
                this.progress.resume();
                Poll::Ready(Ok(StreamResult::Cancelled))
            }
            Poll::Pending => {
                Counter::StreamsHeldBack.count();
                this.progress.pause();
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stream_stalls_unless_it_goes_on_or_waits_for_others() {
        let progress = Progress::new(10 * SECOND);
        let has_stalled = || progress.stalled().now_or_never().is_some();
        advance(9 * SECOND).await;
        assert!(!has_stalled());
        progress.step();
        advance(9 * SECOND).await;
        assert!(!has_stalled());
        progress.pause();
        advance(100 * SECOND).await;
        progress.pause();
        assert!(!has_stalled());
        // The time passed before counts again.
        progress.resume();
        assert_eq!(progress.patience_ends(), Instant::now() + SECOND);
        advance(SECOND).await;
        assert!(has_stalled());
        assert_eq!(progress.steps(), 1);
    }

    #[tokio::test]
    async fn a_full_pipe_takes_no_more_and_a_closed_one_ends() {
        let (outlet, mut parts) = pipe();
        let mut context = Context::from_waker(std::task::Waker::noop());
        let bytes = vec![7; 2 * PIPE_BYTES];
        assert!(matches!(outlet.poll_write(&mut context, &bytes), Poll::Ready(Ok(PIPE_BYTES))));
        assert!(outlet.poll_write(&mut context, &bytes).is_pending());
        for _ in 0..PIPE_BYTES / MAX_PART_BYTES {
            let part = parts.poll_next(&mut context);
            assert!(matches!(part, Poll::Ready(Some(part)) if part.len() == MAX_PART_BYTES));
        }
        assert!(parts.poll_next(&mut context).is_pending());
        outlet.close();
        assert_eq!(parts.poll_next(&mut context), Poll::Ready(None));
        assert!(matches!(outlet.poll_write(&mut context, &bytes), Poll::Ready(Err(_))));
    }
}
