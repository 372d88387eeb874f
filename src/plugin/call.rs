//! A request on its way through a plugin, and the reply to it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::stop::{DeadlineOf, Stop};
use crate::identity::PeerIdentity;
use crate::telemetry::metrics::Counter;
use crate::telemetry::traces::{Context, Kind, Span, Trace};
use crate::telemetry::{RequestId, Spent};
use crate::wire::{Code, CommandError, Outcome, Reply, Request};

/// A request from its arrival to its reply.
#[derive(Debug)]
pub struct Exchange {
    /// Its name in the log.
    pub id: RequestId,
    /// Time at which it was read.
    pub arrived: Instant,
    /// The request.
    pub request: Request,
    /// Set once it was reported that no pattern allows the request: it may be dispatched again.
    pub is_reported: bool,
    /// Resources that it took.
    pub spent: Spent,
    /// Its trace, if it is traced. Boxed, since few are.
    pub trace: Option<Box<Trace>>,
}

impl Exchange {
    /// Makes the exchange of a request that was read at `arrived`.
    #[must_use]
    pub fn new(id: RequestId, arrived: Instant, request: Request) -> Self {
        Self { id, arrived, request, is_reported: false, spent: Spent::default(), trace: None }
    }
}

/// An exchange that was permitted and routed to a plugin.
pub struct Call {
    exchange: Exchange,
    /// The verified client.
    pub caller: PeerIdentity,
    /// Time at which it is stopped.
    pub deadline: Instant,
    /// Set once the plugin is entered.
    has_begun: AtomicBool,
    /// Runs commands for the plugin; `None` if the plugin may run none.
    commands: Option<Arc<dyn Commands>>,
    /// Number of calls between this one and its client's request.
    depth: u8,
    /// Set if it gives a stream, or is run by a call that does.
    is_of_stream: AtomicBool,
    /// State for stopping it.
    pub(super) stop: Stop,
}

/// Maximum depth of commands that run commands, so that a circle of them ends.
pub(super) const MAX_DEPTH: u8 = 4;

/// A reply to come.
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// Memory that a reply holds, in bytes.
#[must_use]
pub fn reply_bytes(reply: &Reply) -> usize {
    reply.as_ref().map_or_else(|error| error.message.len(), Vec::len)
}

/// Counts a call whose deadline passed before it began, and returns the error for its client.
#[must_use]
pub fn timed_out() -> CommandError {
    Counter::CallsTimedOut.count();
    CommandError::not_run(Code::Timeout, "The deadline passed before the command began")
}

/// Runs commands for plugins. Implemented where permissions and routes are known; neither is here.
pub trait Commands: Send + Sync {
    /// Permits, routes and runs `request` for the client of `parent`; `plugin` asks for it.
    fn run<'a>(&'a self, parent: &'a Arc<Call>, plugin: &'a str, request: Request) -> ReplyFuture<'a>;
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Call {
    /// Makes a call that is stopped at `deadline`.
    #[must_use]
    pub fn new(exchange: Exchange, caller: PeerIdentity, deadline: Instant) -> Self {
        Self {
            exchange,
            caller,
            deadline,
            has_begun: AtomicBool::new(false),
            commands: None,
            depth: 0,
            is_of_stream: AtomicBool::new(false),
            stop: Stop::default(),
        }
    }

    /// Names the owner of the deadline.
    #[must_use]
    pub fn with_deadline_of(mut self, owner: DeadlineOf) -> Self {
        self.stop.deadline_of = owner;
        self
    }

    /// Lets the plugin run other commands through `commands`.
    #[must_use]
    pub fn with_commands(self, commands: Arc<dyn Commands>) -> Self {
        Self { commands: Some(commands), ..self }
    }

    /// Makes a call that `parent` waits for, and whose span is `span`. It is made for the same client, and
    /// stopped after `timeout`, or with its parent if that is sooner.
    #[must_use]
    pub fn nested(parent: &Self, request: Request, timeout: Duration, span: Option<&Span>) -> Self {
        let now = Instant::now();
        let own = now + timeout;
        let owner = if parent.deadline < own { DeadlineOf::Parent } else { DeadlineOf::Plugin };
        let trace = span.map(|span| Box::new(Trace::within(span)));
        let exchange = Exchange { trace, ..Exchange::new(parent.id(), now, request) };
        let call =
            Self::new(exchange, parent.caller.clone(), parent.deadline.min(own)).with_deadline_of(owner);
        let is_of_stream = AtomicBool::new(parent.is_of_stream());
        Self { commands: parent.commands.clone(), depth: parent.depth + 1, is_of_stream, ..call }
    }

    /// The exchange that it belongs to.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The request's name in the log.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.exchange.id
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.exchange.request
    }

    /// Returns the exchange of a call that nobody else holds, so that none can begin it any more.
    ///
    /// # Errors
    ///
    /// The call, if somebody does.
    pub fn into_exchange(call: Arc<Self>) -> Result<Exchange, Arc<Self>> {
        Arc::try_unwrap(call).map(|call| call.exchange)
    }

    /// Marks that the plugin is entered for it.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.leave_queue();
    }

    /// Marks that it waits for no permit any more, also since it got none.
    pub(super) fn leave_queue(&self) {
        if let Some(trace) = &self.exchange.trace {
            trace.leave_queue(self.exchange.arrived.into_std());
        }
    }

    /// Begins the span of making its instance, if it is traced.
    pub(super) fn make_instance(&self) -> Option<Span> {
        self.leave_queue();
        self.span("instance")
    }

    /// The place of its parts in its trace.
    #[must_use]
    pub fn trace(&self) -> Option<&Context> {
        self.exchange.trace.as_deref().map(Trace::context)
    }

    /// Begins the span of a step of it, if it is traced.
    #[must_use]
    pub fn span(&self, name: &'static str) -> Option<Span> {
        self.trace()?.span(name, Kind::Internal)
    }

    /// Resources that it took.
    pub(super) fn spent(&self) -> &Spent {
        &self.exchange.spent
    }

    pub(super) fn commands(&self) -> Option<&dyn Commands> {
        self.commands.as_deref()
    }

    /// Marks that it gives a stream.
    pub(super) fn mark_streaming(&self) {
        self.is_of_stream.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_of_stream(&self) -> bool {
        self.is_of_stream.load(Ordering::Relaxed)
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Returns the outcome that its client may assume if it is stopped now.
    #[must_use]
    pub fn outcome_if_stopped(&self) -> Outcome {
        if self.has_begun.load(Ordering::Relaxed) { Outcome::Unknown } else { Outcome::NotRun }
    }

    /// Refuses a call whose deadline passed before it began.
    ///
    /// # Errors
    ///
    /// `timeout`, if it has passed.
    pub fn check_deadline(&self, now: Instant) -> Result<(), CommandError> {
        if self.deadline > now {
            return Ok(());
        }
        Err(timed_out())
    }
}
