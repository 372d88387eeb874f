//! Runs calls that do not stream.
//!
//! Most calls end in their first poll, so a connection polls them where it read their requests, and hands
//! what they needed from one to the next: [`Executor`]. A call that has to wait, or computes for more than a
//! tick, goes on as a [`Pending`].

use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::deadline::in_time;
use super::{core_dump, errors};
use crate::plugin::call::{Call, reply_bytes, timed_out};
use crate::plugin::cpu::meter::Meter;
use crate::plugin::cpu::offload::Offloaded;
use crate::plugin::instance::Instance;
use crate::plugin::instance::guest::Guest;
use crate::plugin::plugin::Plugin;
use crate::plugin::slots::{ClientCall, ClientLimit, timed};
use crate::wire::{CommandError, Reply};

/// Bytes of unsent replies at which no further call is begun.
const MAX_BATCH_BYTES: usize = 64 << 10;

/// Runs the calls of one connection.
///
/// A connection with something to do usually has several requests for the same plugin. So its slot and its
/// warm instance are handed from one call to the next, and given back by [`release`](Self::release).
#[derive(Default)]
pub struct Executor {
    held: Option<Held>,
    /// The last call's future, for its memory.
    spare: Option<Running>,
}

/// A call that goes on by itself. Dropping it stops the plugin and frees what the call held.
pub type Pending = Offloaded<Running>;

type Running = ReusableBoxFuture<'static, Ended>;

/// A call that has ended.
pub struct Ended {
    /// The reply for the client; the details have been logged.
    pub reply: Reply,
    /// The slot and the instance of the call; dropped to let others run.
    pub held: Held,
}

/// A slot and the warm instance in it, handed from one call to the next.
///
/// It counts as running, so nothing may be awaited between two calls.
pub struct Held {
    /// The client's limit; `None` if each call was counted by that before it came here.
    limit: Option<ClientLimit>,
    of_client: Option<ClientCall>,
    slot: Option<OwnedSemaphorePermit>,
    /// The instance between two calls, and its plugin.
    idle: Option<(Arc<Plugin>, Instance)>,
}

impl Executor {
    /// Runs `calls`, of one client and all in `plugin`, one after the other, until one does not end at once;
    /// that is returned, as it goes on. `replies`, which is empty, is given those of the calls before it; the
    /// calls behind it have not begun.
    ///
    /// Begins none after `until` except the first, nor once the replies are large.
    pub fn poll(
        &mut self,
        limit: &ClientLimit,
        plugin: &Arc<Plugin>,
        calls: &[Arc<Call>],
        until: Instant,
        replies: &mut Vec<Reply>,
        cx: &mut Context<'_>,
    ) -> Option<Pending> {
        while let Some(call) = calls.get(replies.len()) {
            let (done, now) = (replies.len(), Instant::now());
            if done > 0 && (now >= until || replies.iter().map(reply_bytes).sum::<usize>() >= MAX_BATCH_BYTES)
            {
                break;
            }
            if call.deadline <= now {
                replies.push(Err(timed_out()));
                continue;
            }
            let held = self.held.take().unwrap_or_else(|| Held::new(Some(limit.clone())));
            let in_time = calls[done..].iter().take_while(|call| call.deadline > now).count();
            let ran = match poll_batch(held, plugin, &calls[done..][..in_time], until, replies, cx) {
                Continue(held) if replies.len() == done => {
                    self.poll_one(run(held, Arc::clone(plugin), Arc::clone(call)), replies, cx)
                }
                ran => ran,
            };
            match ran {
                Continue(held) => self.held = Some(held),
                Break(call) => return Some(plugin.offload(call)),
            }
        }
        None
    }

    /// Polls a call once.
    fn poll_one(
        &mut self,
        call: impl Future<Output = Ended> + Send + 'static,
        replies: &mut Vec<Reply>,
        cx: &mut Context<'_>,
    ) -> ControlFlow<Running, Held> {
        let mut call = match self.spare.take() {
            Some(mut spare) => {
                spare.set(call);
                spare
            }
            None => ReusableBoxFuture::new(call),
        };
        let Poll::Ready(Ended { reply, held }) = call.poll(cx) else { return Break(call) };
        self.spare = Some(call);
        replies.push(reply);
        Continue(held)
    }

    /// Gives back what the last call left. Call this before waiting for anything.
    pub fn release(&mut self) {
        *self = Self::default();
    }
}

/// Runs those of `calls` that end at once in a warm instance that takes several; if there is none, or
/// something has to be waited for, runs none. Breaks off with the call that goes on.
fn poll_batch(
    mut held: Held,
    plugin: &Arc<Plugin>,
    calls: &[Arc<Call>],
    until: Instant,
    replies: &mut Vec<Reply>,
    cx: &mut Context<'_>,
) -> ControlFlow<Running, Held> {
    let Some(mut instance) = held.try_acquire(plugin, calls) else { return Continue(held) };
    let calls = &calls[..instance.calls_left().min(calls.len())];
    let before = replies.len();
    let polled = instance.poll_all(calls, until, replies, cx);
    let (answered, rest) = calls.split_at_checked(replies.len() - before).unwrap_or((calls, &[]));
    match (polled, rest.first()) {
        (Ok(true), Some(call)) => {
            let rest = finish(held, Arc::clone(plugin), Arc::clone(call), instance);
            return Break(ReusableBoxFuture::new(rest));
        }
        (Err(error), Some(call)) => {
            replies.push(conclude(&mut held, plugin, call, instance, Err(error)));
        }
        (Err(_), None) => {}
        (Ok(_), _) => {
            plugin.hint().ended_at_once();
            answered.last().inspect(|call| log_exit(plugin, call, &instance));
            held.keep(plugin, instance);
        }
    }
    Continue(held)
}

/// Runs a call to its end: acquires what it needs, and calls a warm instance or a fresh one.
async fn run(mut held: Held, plugin: Arc<Plugin>, call: Arc<Call>) -> Ended {
    let reply = match held.acquire(&plugin, &call).await {
        // Boxed, so that a call that waits for its slot takes a fifth of the memory. As many may wait as
        // clients send.
        Ok(_limit) => Box::pin(run_in(&mut held, &plugin, &call)).await,
        Err(error) => Err(error),
    };
    Ended { reply, held }
}

/// Runs a call by itself, within its client's `limit`, if that has not been acquired.
pub fn run_one(limit: Option<ClientLimit>, plugin: &Arc<Plugin>, call: Arc<Call>) -> Pending {
    plugin.offload(ReusableBoxFuture::new(run(Held::new(limit), Arc::clone(plugin), call)))
}

/// Runs a call that another one waits for, beside that one's slot.
///
/// # Errors
///
/// The error for the client; the details have been logged.
pub async fn run_nested(plugin: Arc<Plugin>, call: Arc<Call>) -> Reply {
    let _slot = plugin.slots().try_acquire_nested()?;
    let acquiring = pin!(plugin.limit().acquire(call.deadline));
    let _limit = timed(&plugin.metrics().waited, call.spent(), acquiring).await?;
    run_in(&mut Held::new(None), &plugin, &call).await
}

/// Runs a call that has acquired its permits.
async fn run_in(held: &mut Held, plugin: &Arc<Plugin>, call: &Arc<Call>) -> Reply {
    let running = pin!(async {
        plugin.hint().begin().await;
        let mut instance = match held.take_instance(plugin, call) {
            Some(instance) => instance,
            None => {
                let making = call.make_instance();
                let fresh = plugin.instantiate().await;
                drop(making);
                let fresh = fresh.map_err(|error| errors::not_started(plugin, call, &error))?;
                plugin.pool().begin(fresh, &call.caller)
            }
        };
        let ended = instance.handle(call).await;
        conclude(held, plugin, call, instance, ended)
    });
    let counted = Some((plugin.metrics(), call.spent()));
    in_time(plugin, call, Meter::new(plugin.cpu_time(), counted), running).await
}

/// Runs a call to its end that was polled once in a batch.
async fn finish(mut held: Held, plugin: Arc<Plugin>, call: Arc<Call>, mut instance: Instance) -> Ended {
    let reply = {
        let counted = Some((plugin.metrics(), call.spent()));
        let meter = Meter::after_one_poll(plugin.cpu_time(), counted);
        let running = pin!(async {
            let ended = instance.finish().await;
            conclude(&mut held, &plugin, &call, instance, ended)
        });
        in_time(&plugin, &call, meter, running).await
    };
    Ended { reply, held }
}

/// Returns the reply of a call that has ended. Its instance is kept for the next call, unless the call broke
/// off; a failure that the plugin reports itself is no such end.
fn conclude(
    held: &mut Held,
    plugin: &Arc<Plugin>,
    call: &Call,
    instance: Instance,
    ended: wasmtime::Result<Reply>,
) -> Reply {
    match ended {
        Ok(reply) => {
            log_exit(plugin, call, &instance);
            held.keep(plugin, instance);
            reply
        }
        Err(error) => {
            let guest = instance.into_guest();
            let told = errors::broke_off(plugin, call, &error, guest.as_ref().map(Guest::state));
            if let Some(guest) = guest {
                core_dump::keep(plugin, call, guest, error);
            }
            Err(told)
        }
    }
}

/// Logs a guest that exited after its last reply, to `call`. The reply stands.
fn log_exit(plugin: &Plugin, call: &Call, instance: &Instance) {
    if let Some((error, state)) = instance.exited() {
        errors::broke_off(plugin, call, error, Some(state));
    }
}

impl Held {
    pub(super) fn new(limit: Option<ClientLimit>) -> Self {
        Self { limit, of_client: None, slot: None, idle: None }
    }

    /// Acquires what a call of `plugin` needs to run, waiting if necessary; the last call's slot serves as
    /// well. Returns the permit of the plugin's limit, which no two calls share.
    pub(super) async fn acquire<'a>(
        &mut self,
        plugin: &'a Plugin,
        call: &Call,
    ) -> Result<Option<SemaphorePermit<'a>>, CommandError> {
        if self.slot.is_some() && plugin.limit().is_unlimited() {
            return Ok(None);
        }
        self.release();
        let deadline = call.deadline;
        let acquiring = pin!(async {
            let client = match &self.limit {
                Some(limit) => Some(limit.acquire(plugin.slots().queue(), deadline).await?),
                None => None,
            };
            let limit = plugin.limit().acquire(deadline).await?;
            let slot = plugin.slots().acquire(deadline).await?;
            Ok::<_, CommandError>((client, limit, slot))
        });
        let acquired = timed(&plugin.metrics().waited, call.spent(), acquiring).await;
        call.leave_queue();
        let (client, limit, slot) = acquired?;
        (self.of_client, self.slot) = (client, Some(slot));
        Ok(limit)
    }

    /// Acquires the same without waiting, and a warm instance that takes several calls.
    fn try_acquire(&mut self, plugin: &Plugin, calls: &[Arc<Call>]) -> Option<Instance> {
        let call = calls.first()?;
        if !plugin.takes_many() || plugin.hint().starts_offloaded() {
            return None;
        }
        if self.slot.is_none() {
            let client = match &self.limit {
                Some(limit) => Some(limit.try_acquire()?),
                None => None,
            };
            (self.of_client, self.slot) = (client, Some(plugin.slots().try_acquire()?));
        }
        self.take_instance(plugin, call)
    }

    /// Takes a warm instance of `plugin`: the last call's, or one from the pool.
    fn take_instance(&mut self, plugin: &Plugin, call: &Call) -> Option<Instance> {
        match self.idle.take() {
            Some((of, instance)) if std::ptr::eq(&*of, plugin) => Some(instance),
            other => {
                give_back(other);
                plugin.pool().take(&call.caller)
            }
        }
    }

    /// Keeps the instance of a call that ended well, unless it is worn out.
    fn keep(&mut self, plugin: &Arc<Plugin>, mut instance: Instance) {
        match instance.worn() {
            None => self.idle = Some((Arc::clone(plugin), instance)),
            Some(reason) => instance.end_by(reason),
        }
    }

    fn release(&mut self) {
        (self.of_client, self.slot) = (None, None);
        give_back(self.idle.take());
    }
}

fn give_back(idle: Option<(Arc<Plugin>, Instance)>) {
    if let Some((plugin, instance)) = idle {
        plugin.pool().give_back(instance);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
