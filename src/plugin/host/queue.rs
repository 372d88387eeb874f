//! `lictor:plugin/queue`: the calls of an instance that stays entered.

use std::sync::{Arc, Mutex};

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::answer::Answer;
use super::context::{CallQueue, HostState, SharedQueue};
use super::interface::Interface;
use crate::plugin::call::Call;
use crate::plugin::cpu::hint::FIRST_TICKS;
use crate::sync::locked;

type Store<'a> = StoreContextMut<'a, HostState>;

pub(super) const INTERFACE: Interface =
    Interface { names: &["lictor:plugin/queue"], version: (0, 1), grant: None, link };

/// Linked by hand: functions that `bindgen!` makes are not given the store, in which a call's first tick
/// begins.
fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("lictor:plugin/queue@0.1.0")?;
    // Entering a function that may wait costs more, so the one that only answers does not.
    interface.func_wrap("reply", |mut store: Store<'_>, (reply,): (Vec<u8>,)| {
        Ok((answer(&mut store, Ok(reply), "reply")?,))
    })?;
    interface.func_wrap_async("next", |mut store: Store<'_>, (said,): (Option<Answer>,)| {
        Box::new(async move {
            if let Some(said) = said
                && answer(&mut store, said, "next")?
            {
                return Ok((None,));
            }
            let Some(queue) = call_queue(&store, Option::is_none) else {
                wasmtime::bail!(
                    "it calls `queue.next` without an answer elsewhere than in `worker.run` where no request has begun"
                );
            };
            let queue = Arc::clone(queue);
            Ok((Some(take(&mut store, &queue).await),))
        })
    })
}

/// Ends the call that has begun, and begins the next of the guest's block; returns true if there is one.
/// `function` is the one that the guest called.
fn answer(store: &mut Store<'_>, said: Answer, function: &str) -> wasmtime::Result<bool> {
    if call_queue(store, Option::is_some).is_none() {
        wasmtime::bail!("it calls `queue.{function}` while no request of `queue` has begun");
    }
    let state = store.data_mut();
    let first_tick = state.first_tick;
    let reply = state.end(said)?;
    let Some(queue) = &state.queue else { return Ok(false) };
    let mut queue = locked(queue);
    if state.handles.hold_much() {
        queue.wear_out();
    }
    let next = queue.reply(reply, first_tick);
    drop(queue);
    let has_begun = next.is_some();
    if let Some(call) = next {
        begin(store, call);
    }
    Ok(has_begun)
}

/// Returns the queue of an instance that stays entered, if the state of its call passes `check`.
fn call_queue<'a>(store: &'a Store<'_>, check: fn(&Option<Arc<Call>>) -> bool) -> Option<&'a SharedQueue> {
    let state = store.data();
    state.queue.as_ref().filter(|_| check(&state.call))
}

async fn take(store: &mut Store<'_>, queue: &Mutex<CallQueue>) -> Vec<u8> {
    let (block, call) = CallQueue::next_block(queue).await;
    begin(store, call);
    block
}

fn begin(store: &mut Store<'_>, call: Arc<Call>) {
    store.data_mut().begin(call);
    store.set_epoch_deadline(FIRST_TICKS);
}
