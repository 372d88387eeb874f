//! An instance that runs one call after the other: fresh at its first, warm at each further one.
//!
//! Entering a component costs several times what a small command takes: a stack, lifting and lowering of
//! arguments and results by calls into the guest, the way in and out. An instance whose plugin exports
//! `worker` is entered once instead, and becomes resident: `worker.run` takes one call after the other from
//! `lictor:plugin/queue`. While it is idle its stack is suspended in the host's function `queue.next`, where
//! its next calls resume it. Calls that are there already are handed over together, and each costs one call
//! of `queue.reply`.

pub(super) mod guest;
pub(super) mod linked;
pub(super) mod pool;
mod sink;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::time::Instant;

use self::guest::Guest;
use crate::plugin::call::Call;
use crate::plugin::host::context::{CallQueue, HostState, SharedQueue};
use crate::sync::locked;
use crate::telemetry::metrics::{KeptInstance, Retired};
use crate::wire::Reply;

/// A guest that takes calls, and its history.
pub(super) struct Instance {
    entry: Entry,
    /// The client whose calls it may see; `None` for all clients.
    owner: Option<Arc<str>>,
    /// Calls that it may still run.
    calls_left: u32,
    last_used: Instant,
    /// Counts it, if it is kept between calls.
    kept: Option<KeptInstance>,
}

/// The way in which calls enter the guest.
enum Entry {
    /// One by one.
    PerCall(Guest),
    /// It stays entered, and takes them from a queue.
    Resident(Resident),
}

/// A guest that stays entered.
struct Resident {
    queue: SharedQueue,
    working: Pin<Box<dyn Future<Output = Exited> + Send>>,
    /// Set if the guest exited after it had answered every call that it began.
    exited: Option<Exited>,
}

/// A guest that returned from `worker.run`, or trapped in it: it should stay there.
struct Exited {
    guest: Guest,
    error: wasmtime::Error,
}

impl Instance {
    /// Takes `guest`, which ran no call yet, for `max_calls` of `owner`; `kept` counts it.
    fn new(guest: Guest, owner: Option<Arc<str>>, max_calls: u32, kept: Option<KeptInstance>) -> Self {
        let entry = match guest.is_worker() {
            true => Entry::Resident(Resident::new(guest)),
            false => Entry::PerCall(guest),
        };
        Self { entry, owner, calls_left: max_calls, last_used: Instant::now(), kept }
    }

    /// Runs `call`. After an error, or if the future is dropped before its end, the instance can't be used
    /// again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<Reply> {
        self.calls_left = self.calls_left.saturating_sub(1);
        match &mut self.entry {
            Entry::PerCall(guest) => guest.handle(call).await,
            Entry::Resident(resident) => {
                locked(&resident.queue).push(std::slice::from_ref(call), None);
                resident.finish().await.map_err(|exited| self.take_error(exited))
            }
        }
    }

    /// Runs those of `calls` that end at once, one after the other, and begins none after `until`; appends
    /// their `replies`. Returns true if the call after those goes on; those behind it have not begun. Runs
    /// none in a guest that is entered for each call.
    ///
    /// # Errors
    ///
    /// If the guest exited in the call after those that were answered.
    pub(super) fn poll_all(
        &mut self,
        calls: &[Arc<Call>],
        until: Instant,
        replies: &mut Vec<Reply>,
        cx: &mut Context<'_>,
    ) -> wasmtime::Result<bool> {
        let Entry::Resident(resident) = &mut self.entry else { return Ok(false) };
        locked(&resident.queue).push(calls, Some(until));
        let polled = resident.working.as_mut().poll(cx);
        let before = replies.len();
        let goes_on = locked(&resident.queue).take_replies(calls.len(), replies);
        let begun = replies.len() - before + usize::from(goes_on);
        self.calls_left = self.calls_left.saturating_sub(u32::try_from(begun).unwrap_or(u32::MAX));
        match polled {
            Poll::Ready(exited) if goes_on => return Err(self.take_error(exited)),
            Poll::Ready(exited) => resident.exited = Some(exited),
            Poll::Pending => {}
        }
        Ok(goes_on)
    }

    /// Runs the call that has begun to its end.
    pub(super) async fn finish(&mut self) -> wasmtime::Result<Reply> {
        match &mut self.entry {
            Entry::PerCall(_) => Err(wasmtime::format_err!("it has begun no call")),
            Entry::Resident(resident) => resident.finish().await.map_err(|exited| self.take_error(exited)),
        }
    }

    fn take_error(&mut self, Exited { guest, error }: Exited) -> wasmtime::Error {
        self.entry = Entry::PerCall(guest);
        error
    }

    /// Returns the error of a guest that exited after its last reply, and the host's state of the instance.
    pub(super) fn exited(&self) -> Option<(&wasmtime::Error, &HostState)> {
        match &self.entry {
            Entry::PerCall(_) => None,
            Entry::Resident(resident) => {
                resident.exited.as_ref().map(|exited| (&exited.error, exited.guest.state()))
            }
        }
    }

    /// Number of calls that it may still run.
    pub(super) fn calls_left(&self) -> usize {
        self.calls_left as usize
    }

    /// Returns the reason for which it may run no further call, if there is one: it has run enough, or holds
    /// more in the host than an idle one may.
    pub(super) fn worn(&self) -> Option<Retired> {
        let holds_much = || match &self.entry {
            Entry::PerCall(guest) => guest.state().handles.hold_much(),
            Entry::Resident(resident) => locked(&resident.queue).is_worn(),
        };
        if self.calls_left == 0 { Some(Retired::Calls) } else { holds_much().then_some(Retired::Worn) }
    }

    /// Notes the reason for which it is dropped next; a failure unless told otherwise.
    pub(super) fn end_by(&mut self, reason: Retired) {
        if let Some(kept) = &mut self.kept {
            kept.ends_by = reason;
        }
    }

    /// The guest, whose last call broke off; `None` while it is in use by itself.
    pub(super) fn into_guest(self) -> Option<Guest> {
        match self.entry {
            Entry::PerCall(guest) => Some(guest),
            Entry::Resident(_) => None,
        }
    }
}

impl Resident {
    /// Takes `guest`, which is entered at its first call.
    fn new(mut guest: Guest) -> Self {
        let queue = Arc::new(Mutex::new(CallQueue::default()));
        let of_guest = Arc::clone(&queue);
        let working = Box::pin(async move {
            let error = guest.work(of_guest).await;
            Exited { guest, error }
        });
        Self { queue, working, exited: None }
    }

    /// Runs the call that has begun to its end. Its reply stands even if the guest exits after it.
    async fn finish(&mut self) -> Result<Reply, Exited> {
        poll_fn(|cx| {
            let polled = self.working.as_mut().poll(cx);
            let reply = locked(&self.queue).pop_reply();
            match (polled, reply) {
                (Poll::Ready(exited), None) => Poll::Ready(Err(exited)),
                (Poll::Pending, None) => Poll::Pending,
                (polled, Some(reply)) => {
                    if let Poll::Ready(exited) = polled {
                        self.exited = Some(exited);
                    }
                    Poll::Ready(Ok(reply))
                }
            }
        })
        .await
    }
}
