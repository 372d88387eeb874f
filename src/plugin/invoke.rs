//! Running one command in a plugin.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::bindings::exports::lictor::plugin::commands::Failure;
use super::bounds::Meter;
use super::load::Plugin;
use super::seat::Seat;
use super::stopped::{DeadlineOf, Stop, Stopped, break_off};
use super::warm::Warm;
use super::{dumps, failure};
use crate::identity::PeerIdentity;
use crate::telemetry::RequestId;
use crate::telemetry::metrics::Counter;
use crate::wire::{Code, CommandError, Outcome, Request};

/// One permitted and routed request, on its way through a plugin.
pub struct Call {
    /// The request.
    pub request: Request,
    /// The verified client.
    pub caller: PeerIdentity,
    /// What the log calls it.
    pub id: RequestId,
    /// When it is stopped.
    pub deadline: Instant,
    /// Whether the plugin was entered.
    has_begun: AtomicBool,
    /// Whether the plugin computed for more than a tick.
    has_computed: AtomicBool,
    /// What runs other commands for this call's plugin; there where the plugin may run any.
    commands: Option<Arc<dyn Commands>>,
    /// How many calls stand between this one and its client's request.
    depth: u8,
    /// Whether it gives a stream, or is run by a call that does.
    is_of_stream: AtomicBool,
    /// How it is stopped.
    pub(super) stop: Stop,
}

/// How deep commands may run commands, so that a circle of them ends.
pub(super) const MAX_DEPTH: u8 = 4;

/// The reply to a command: its bytes, or the failure that the client is told.
pub type Reply = Result<Vec<u8>, CommandError>;

/// A reply to come.
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// Runs commands for plugins. Made by whoever knows permissions and routes, neither of which is known here.
pub trait Commands: Send + Sync {
    /// Carries `request` through permission and routing, and out, for the client of `parent`; `plugin` asks for it.
    fn run<'a>(&'a self, parent: &'a Arc<Call>, plugin: &'a str, request: Request) -> ReplyFuture<'a>;
}

/// A call that ended.
pub struct Ended {
    /// What the client is to be told; the log has been told the rest.
    pub answer: Reply,
    /// Where it ran, for the next.
    pub seat: Seat,
}

/// Runs `call` in `plugin`: takes what it needs into `seat`, a warm instance or a fresh one, and calls it.
///
/// Dropping the future stops the plugin and frees what the call held.
pub async fn invoke(mut seat: Seat, plugin: Arc<Plugin>, call: Arc<Call>) -> Ended {
    let answer = match seat.take(&plugin, &call).await {
        // In a box of its own: what waits for its slot is a fifth as large without it, and there may be as much of that as
        // clients send.
        Ok(_turn) => Box::pin(run_in_time(&mut seat, &plugin, &call)).await,
        Err(error) => Err(error),
    };
    Ended { answer, seat }
}

/// The same for a call that another one waits for: it runs in that one's slot, of which it would otherwise hold two
/// while only one computes; with all slots held so, none would ever become free.
///
/// # Errors
///
/// What the client is to be told; the log has been told the rest.
pub async fn invoke_nested(plugin: Arc<Plugin>, call: Arc<Call>) -> Reply {
    let _place = plugin.runtime().nested_place()?;
    let _turn = plugin.turn(call.deadline).await?;
    run_in_time(&mut Seat::new(call.caller.clone(), None), &plugin, &call).await
}

/// The deadline of a call has passed.
struct Elapsed;

/// Runs `call` within the bounds on its time.
async fn run_in_time(seat: &mut Seat, plugin: &Arc<Plugin>, call: &Arc<Call>) -> Reply {
    let running = pin!(run(seat, plugin, call));
    in_time(plugin, call, Meter::new(plugin.cpu_time()), running).await
}

/// Carries out `running`, which runs `call`, within the bounds on its time. It is pinned where it was made: it is large, and
/// each move of it costs a small call a tenth of its time.
pub(super) async fn in_time(
    plugin: &Plugin,
    call: &Call,
    mut meter: Meter,
    mut running: Pin<&mut impl Future<Output = Reply>>,
) -> Reply {
    let mut metered = poll_fn(|cx| meter.poll(|| running.as_mut().poll(cx)));
    // Most calls end in their first poll, which no timer can break off.
    let ended = match poll_fn(|cx| Poll::Ready(Pin::new(&mut metered).poll(cx))).await {
        Poll::Ready(ended) => Ok(ended),
        Poll::Pending => {
            let mut deadline = pin!(sleep_until(call.deadline));
            // It was polled just now, in this same poll: at once again, it would go on where it has given way.
            let mut was_polled = true;
            poll_fn(|cx| {
                // Before what a call that it runs tells its plugin, which has the same deadline.
                if deadline.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Elapsed));
                }
                if std::mem::take(&mut was_polled) {
                    return Poll::Pending;
                }
                Pin::new(&mut metered).poll(cx).map(Ok)
            })
            .await
        }
    };
    plugin.pace().ended(call);
    let why = match ended {
        Ok(Ok(result)) => return result,
        Ok(Err(spent)) => Stopped::Computed(spent),
        Err(Elapsed) => Stopped::AtDeadline,
    };
    let broken_off = break_off(call, why, running).await;
    broken_off.unwrap_or_else(|| Err(failure::stopped(plugin, call, why, None)))
}

async fn run(seat: &mut Seat, plugin: &Arc<Plugin>, call: &Arc<Call>) -> Reply {
    plugin.pace().begin().await;
    let mut instance = match seat.take_instance(plugin) {
        Some(instance) => instance,
        None => {
            let fresh = plugin.instantiate().await;
            Warm::new(fresh.map_err(|error| failure::not_started(plugin, call, &error))?)
        }
    };
    let answer = instance.handle(call).await;
    conclude(seat, plugin, call, instance, answer)
}

/// What becomes of a call that has ended, and of its instance: after an error that is given up, and a failure that the
/// plugin reports itself is no error.
pub(super) fn conclude(
    seat: &mut Seat,
    plugin: &Arc<Plugin>,
    call: &Call,
    instance: Warm,
    answer: wasmtime::Result<Result<Vec<u8>, Failure>>,
) -> Reply {
    match answer {
        Ok(answer) => {
            seat.keep_instance(plugin, instance);
            told(plugin, call, answer)
        }
        Err(error) => {
            let told = failure::broken(plugin, call, &error, instance.state());
            dumps::keep(plugin, call, instance, error);
            Err(told)
        }
    }
}

/// What the client is told of a plugin's own answer.
pub(super) fn told(plugin: &Plugin, call: &Call, answer: Result<Vec<u8>, Failure>) -> Reply {
    match answer {
        Ok(reply) if reply.len() > plugin.max_reply_bytes() => Err(failure::reply_too_large(plugin, call)),
        Ok(reply) => Ok(reply),
        Err(failure) => Err(CommandError::failed(failure::code(&failure.code), failure.message)),
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).field("request", &self.request).finish_non_exhaustive()
    }
}

impl Call {
    /// A call that is stopped at `deadline`.
    #[must_use]
    pub fn new(request: Request, caller: PeerIdentity, id: RequestId, deadline: Instant) -> Self {
        Self {
            request,
            caller,
            id,
            deadline,
            has_begun: AtomicBool::new(false),
            has_computed: AtomicBool::new(false),
            commands: None,
            depth: 0,
            is_of_stream: AtomicBool::new(false),
            stop: Stop::default(),
        }
    }

    /// The same call, whose deadline is somebody's.
    #[must_use]
    pub fn with_deadline_of(mut self, whose: DeadlineOf) -> Self {
        self.stop.deadline_of = whose;
        self
    }

    /// The same call, whose plugin may run others through `commands`.
    #[must_use]
    pub fn with_commands(self, commands: Arc<dyn Commands>) -> Self {
        Self { commands: Some(commands), ..self }
    }

    /// A call that `parent` waits for: its client's, and over no later than it, nor after `timeout`.
    #[must_use]
    pub fn nested(parent: &Self, request: Request, timeout: Duration) -> Self {
        let own = Instant::now() + timeout;
        let whose = if parent.deadline < own { DeadlineOf::Parent } else { DeadlineOf::Plugin };
        let call = Self::new(request, parent.caller.clone(), parent.id, parent.deadline.min(own))
            .with_deadline_of(whose);
        let is_of_stream = AtomicBool::new(parent.is_of_stream());
        Self { commands: parent.commands.clone(), depth: parent.depth + 1, is_of_stream, ..call }
    }

    /// The plugin is entered for it.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Marks that the plugin has computed for a tick; returns whether that is the first.
    pub(super) fn mark_computing(&self) -> bool {
        !self.has_computed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_computed(&self) -> bool {
        self.has_computed.load(Ordering::Relaxed)
    }

    pub(super) fn commands(&self) -> Option<&dyn Commands> {
        self.commands.as_deref()
    }

    /// It is to give a stream.
    pub(super) fn stream(&self) {
        self.is_of_stream.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_of_stream(&self) -> bool {
        self.is_of_stream.load(Ordering::Relaxed)
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// What its client may assume if it is given up now.
    #[must_use]
    pub fn outcome_if_stopped(&self) -> Outcome {
        if self.has_begun.load(Ordering::Relaxed) { Outcome::Unknown } else { Outcome::NotRun }
    }

    /// Its request, where nobody else holds the call: it was not begun.
    #[must_use]
    pub fn into_request(self: Arc<Self>) -> Option<Request> {
        Arc::into_inner(self).map(|call| call.request)
    }

    /// Refuses a call whose deadline passed before it began.
    ///
    /// # Errors
    ///
    /// `timeout`, when it has.
    pub fn check_deadline(&self, now: Instant) -> Result<(), CommandError> {
        if self.deadline > now {
            return Ok(());
        }
        Counter::CallsTimedOut.count();
        Err(CommandError::not_run(Code::Timeout, "The deadline passed before the command began"))
    }
}
