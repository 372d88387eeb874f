//! Permission to run: the limits on each client's and each plugin's running calls, the slots for all calls,
//! and the queue for them.
//!
//! A call acquires its client's limit first, then its plugin's, then a slot: the least scarce first, so that
//! it never waits while it holds something scarcer. A client that waits for its own calls to end holds
//! nothing that others wait for, and a call that waits for a plugin holds none of the slots that run other
//! plugins. All calls acquire in this order, so no circle of calls can wait for each other.
//!
//! A command that a command runs has a slot of its own kind, but waits for its plugin's limit while its
//! caller holds what it has. So plugins with a limit that run each other in a circle can wait for themselves;
//! `busy` ends that after the longest wait for a slot.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::identity::PeerIdentity;
use crate::telemetry::Spent;
use crate::telemetry::metrics::{Counter, Histogram};
use crate::wire::{Code, CommandError};

/// A bound on how many calls wait.
#[derive(Debug)]
struct WaitLimit {
    waiting: AtomicUsize,
    most: usize,
}

/// A call that waits; it is counted until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl WaitLimit {
    fn new(most: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), most }
    }

    fn enter(&self) -> Result<Waiting<'_>, CommandError> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.most {
            return Ok(waiting);
        }
        Counter::QueueFull.count();
        Err(CommandError::not_run(Code::Busy, "Too many requests are waiting; try again later"))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The calls of all clients and plugins that wait for a permit to run.
#[derive(Debug)]
pub(super) struct WaitQueue {
    limit: WaitLimit,
    max_wait: Duration,
}

impl WaitQueue {
    /// Makes a queue of at most `most` calls, each of which waits for at most `max_wait`.
    pub(super) fn new(most: usize, max_wait: Duration) -> Self {
        Self { limit: WaitLimit::new(most), max_wait }
    }

    /// Waits for `acquiring`.
    async fn wait<P>(
        &self,
        acquiring: impl Future<Output = Result<P, AcquireError>>,
        deadline: Instant,
    ) -> Result<P, CommandError> {
        let _waiting = self.limit.enter()?;
        let give_up = Instant::now() + self.max_wait;
        match timeout_at(deadline.min(give_up), acquiring).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(CommandError::not_run(Code::ShuttingDown, "The server is stopping")),
            Err(_elapsed) if deadline <= give_up => {
                Counter::CallsTimedOut.count();
                Err(CommandError::not_run(Code::Timeout, "The deadline passed before a slot was free"))
            }
            Err(_elapsed) => {
                Counter::QueueTimedOut.count();
                Err(CommandError::not_run(Code::Busy, "No slot became free in time; try again later"))
            }
        }
    }
}

/// Waits for `acquiring`, and counts the time in `waited`, and as `spent` by its call, if it does not end at
/// once.
pub(super) async fn timed<F: Future>(
    waited: &Histogram,
    spent: &Spent,
    mut acquiring: Pin<&mut F>,
) -> F::Output {
    let first = poll_fn(|cx| Poll::Ready(acquiring.as_mut().poll(cx))).await;
    if let Poll::Ready(acquired) = first {
        return acquired;
    }
    let _wait = Wait { began: Instant::now(), waited, spent };
    acquiring.await
}

/// A wait, counted when this is dropped, however it ended.
struct Wait<'a> {
    began: Instant,
    waited: &'a Histogram,
    spent: &'a Spent,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited = self.began.elapsed();
        self.waited.observe(waited);
        self.spent.add_waited(waited);
    }
}

/// The slots of one engine: as many calls as run in it at the same time.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// For commands that commands run.
    nested: Semaphore,
    queue: Arc<WaitQueue>,
    /// Counts the calls that had to wait.
    delayed: Counter,
}

impl Slots {
    /// Makes `calls` slots for clients' calls, and `nested` for the commands that those run.
    pub(super) fn new(calls: u32, nested: u32, queue: Arc<WaitQueue>, delayed: Counter) -> Self {
        let free = Arc::new(Semaphore::new(calls as usize));
        Self { free, nested: Semaphore::new(nested as usize), queue, delayed }
    }

    /// The queue for these slots, those of the other engines, and the limits.
    pub(super) fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// Acquires a slot, if one is free.
    pub(super) fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Acquires a slot; waits, first come first served, if none is free.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, CommandError> {
        if let Some(slot) = self.try_acquire() {
            return Ok(slot);
        }
        self.delayed.count();
        self.queue.wait(Arc::clone(&self.free).acquire_owned(), deadline).await
    }

    /// Acquires a slot for a command that a command runs. It never waits: its caller holds a slot meanwhile,
    /// and with all slots held so, none would ever become free.
    pub(super) fn try_acquire_nested(&self) -> Result<SemaphorePermit<'_>, CommandError> {
        self.nested.try_acquire().map_err(|_| {
            Counter::NestedCallsRefused.count();
            CommandError::not_run(Code::Busy, "Too many commands of plugins are running; try again later")
        })
    }
}

/// The limit on one plugin's running calls, if it has one.
pub(super) struct PluginLimit {
    free: Option<Semaphore>,
    queue: Arc<WaitQueue>,
}

impl PluginLimit {
    /// Makes a limit of `calls`; without a number there is none.
    pub(super) fn new(calls: Option<u32>, queue: &Arc<WaitQueue>) -> Self {
        Self { free: calls.map(|calls| Semaphore::new(calls as usize)), queue: Arc::clone(queue) }
    }

    /// Returns true if the plugin has no limit.
    pub(super) fn is_unlimited(&self) -> bool {
        self.free.is_none()
    }

    /// Waits until fewer calls than the limit are running. The permit counts as one that runs.
    pub(super) async fn acquire(
        &self,
        deadline: Instant,
    ) -> Result<Option<SemaphorePermit<'_>>, CommandError> {
        let Some(free) = &self.free else { return Ok(None) };
        match free.try_acquire() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => {
                Counter::PluginCallsDelayed.count();
                self.queue.wait(free.acquire(), deadline).await.map(Some)
            }
        }
    }
}

/// The limits of all clients. Clients come from the config, so their number is bounded.
#[derive(Debug, Default)]
pub struct ClientLimits {
    by_client: HashMap<Arc<str>, ClientLimit>,
}

/// The limit on one client's running calls, over all its connections. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientLimit(Arc<OfClient>);

/// One of the calls that a client may have running.
pub type ClientCall = OwnedSemaphorePermit;

#[derive(Debug)]
struct OfClient {
    calls: AtomicUsize,
    free: Arc<Semaphore>,
    /// Calls that run beyond the limit since it was lowered: as many permits are forgotten as they are given
    /// back.
    excess: AtomicUsize,
    /// Calls that wait for this limit; each is in the sandbox's queue too.
    waiting: WaitLimit,
}

impl ClientLimits {
    /// A limit on each of `clients`: so many calls that run at once, and `waiting` that wait for one of them.
    pub fn new(clients: impl IntoIterator<Item = (Arc<str>, usize)>, waiting: usize) -> Self {
        let limits = clients.into_iter().map(|(client, calls)| (client, ClientLimit::new(calls, waiting)));
        Self { by_client: limits.collect() }
    }

    /// The limits for `clients` after a reload. A client that was there keeps the calls that are counted, and
    /// those that wait; a new number of calls holds for all of them at once.
    #[must_use]
    pub fn renewed(&self, clients: impl IntoIterator<Item = (Arc<str>, usize)>, waiting: usize) -> Self {
        let mut renewed = Self::new(clients, waiting);
        for (client, limit) in &mut renewed.by_client {
            if let Some(old) = self.by_client.get(client) {
                old.0.resize(limit.0.calls.load(Ordering::Relaxed));
                *limit = old.clone();
            }
        }
        renewed
    }

    /// The limit of a client; kept with its connection, so that no call has to look it up. A client that is
    /// not among these may run nothing.
    #[must_use]
    pub fn of(&self, client: &PeerIdentity) -> ClientLimit {
        self.by_client.get(client.name()).cloned().unwrap_or_else(|| ClientLimit::new(0, 0))
    }
}

impl ClientLimit {
    fn new(calls: usize, waiting: usize) -> Self {
        Self(Arc::new(OfClient {
            calls: AtomicUsize::new(calls),
            free: Arc::new(Semaphore::new(calls)),
            excess: AtomicUsize::new(0),
            waiting: WaitLimit::new(waiting),
        }))
    }

    /// Counts one more call as running, if the client has fewer than its limit.
    pub(super) fn try_acquire(&self) -> Option<ClientCall> {
        loop {
            let call = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
            if let Some(call) = self.0.reduce_excess(call) {
                return Some(call);
            }
        }
    }

    /// Counts one more call as running; waits in `queue` for one to end if the client is at its limit.
    pub(super) async fn acquire(
        &self,
        queue: &WaitQueue,
        deadline: Instant,
    ) -> Result<ClientCall, CommandError> {
        if let Some(call) = self.try_acquire() {
            return Ok(call);
        }
        Counter::ClientCallsDelayed.count();
        let _waiting = self.0.waiting.enter()?;
        queue.wait(self.next(), deadline).await
    }

    async fn next(&self) -> Result<ClientCall, AcquireError> {
        loop {
            let call = Arc::clone(&self.0.free).acquire_owned().await?;
            if let Some(call) = self.0.reduce_excess(call) {
                return Ok(call);
            }
        }
    }
}

impl OfClient {
    /// Sets the limit to `calls`. Those that run beyond it go on, and count.
    fn resize(&self, calls: usize) {
        let old = self.calls.swap(calls, Ordering::Relaxed);
        if let Some(more) = calls.checked_sub(old) {
            let less_excess = |excess: usize| Some(excess.saturating_sub(more));
            let excess = self.excess.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_excess);
            self.free.add_permits(more.saturating_sub(excess.unwrap_or_default()));
        } else {
            let less = old - calls;
            let running = less - self.free.forget_permits(less);
            self.excess.fetch_add(running, Ordering::Relaxed);
        }
    }

    /// Forgets a permit that one of the calls in excess gave back; returns any other.
    fn reduce_excess(&self, call: ClientCall) -> Option<ClientCall> {
        let less = |excess: usize| excess.checked_sub(1);
        let is_of_excess = self.excess.load(Ordering::Relaxed) > 0
            && self.excess.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if !is_of_excess {
            return Some(call);
        }
        call.forget();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_changed_holds_for_what_runs_already() {
        let limit = ClientLimit::new(4, 8);
        let acquire = |calls: usize| -> Vec<_> { (0..calls).map_while(|_| limit.try_acquire()).collect() };
        let mut running = acquire(4);
        assert_eq!(running.len(), 4);
        for (calls, ended, begun) in
            [(2, 1, 0), (2, 1, 0), (2, 1, 1), (3, 0, 1), (1, 2, 0), (4, 0, 3), (4, 4, 4)]
        {
            limit.0.resize(calls);
            running.truncate(running.len() - ended);
            let more = acquire(10);
            assert_eq!(more.len(), begun, "{calls} {ended}");
            running.extend(more);
        }
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_wakes_those_that_wait() {
        let with = |calls: usize| [("client".into(), calls), ("other".into(), 3)];
        let limits = ClientLimits::new(with(1), 8);
        let limit = limits.by_client["client"].clone();
        let queue = WaitQueue::new(8, Duration::from_secs(10));
        let deadline = Instant::now() + Duration::from_secs(10);
        let first = limit.try_acquire().unwrap();
        let renewed = tokio::join!(limit.acquire(&queue, deadline), async { limits.renewed(with(2), 8) });
        assert!(renewed.0.is_ok() && limit.try_acquire().is_none());
        drop(first);
        assert!(renewed.1.by_client["client"].try_acquire().is_some());
        let other = &renewed.1.by_client["other"];
        let running: Vec<_> = (0..9).map_while(|_| other.try_acquire()).collect();
        assert_eq!(running.len(), 3, "each client has its own number");
    }

    #[test]
    fn a_call_that_no_longer_waits_makes_room_for_another() {
        let limit = WaitLimit::new(1);
        let waiting = limit.enter().ok().unwrap();
        assert!(limit.enter().is_err() && limit.enter().is_err());
        drop(waiting);
        assert!(limit.enter().is_ok());
    }
}
