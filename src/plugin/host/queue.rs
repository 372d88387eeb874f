//! `lictor:plugin/queue`: the calls of an instance that stays entered.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface::Interface;
use crate::plugin::call::Call;
use crate::plugin::instance::HostState;
use crate::plugin::store::FIRST_TICKS;
use crate::plugin::worker::{Answer, Desk, pared};

type Store<'a> = StoreContextMut<'a, HostState>;

pub(super) const INTERFACE: Interface =
    Interface { names: &["lictor:plugin/queue"], version: (0, 1), grant: None, link };

/// Linked by hand: what `bindgen!` makes is not given the store, in which a call's first tick begins.
fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut queue = linker.instance("lictor:plugin/queue@0.1.0")?;
    // A function that can wait costs more to enter, so the one that only answers is separate.
    queue.func_wrap("reply", |mut store: Store<'_>, (reply,): (Vec<u8>,)| {
        Ok((answer(&mut store, Ok(reply), "reply")?,))
    })?;
    queue.func_wrap_async("next", |mut store: Store<'_>, (said,): (Option<Answer>,)| {
        Box::new(async move {
            if let Some(said) = said
                && answer(&mut store, said, "next")?
            {
                return Ok((None,));
            }
            let Some(desk) = desk(&store, Option::is_none) else {
                wasmtime::bail!(
                    "it calls `queue.next` without an answer elsewhere than in `worker.run` where no request has begun"
                );
            };
            let desk = Arc::clone(desk);
            Ok((Some(take(&mut store, &desk).await),))
        })
    })
}

/// Ends the current call and begins the next one that the guest has at hand; returns true if there is one.
/// `function` is the function that the guest called.
fn answer(store: &mut Store<'_>, said: Answer, function: &str) -> wasmtime::Result<bool> {
    if desk(store, Option::is_some).is_none() {
        wasmtime::bail!("it calls `queue.{function}` while no request of `queue` has begun");
    }
    let state = store.data_mut();
    let first_tick = state.first_tick;
    state.end()?;
    if let Some(desk) = state.desk.as_ref().filter(|_| state.handles.hold_much()) {
        desk.wear_out();
    }
    let next =
        state.desk.as_ref().and_then(|desk| desk.answer(pared(said, state.max_reply_bytes), first_tick));
    let has_begun = next.is_some();
    if let Some(call) = next {
        begin(store, call);
    }
    Ok(has_begun)
}

/// Returns the desk of an instance that is at work, if its call is as asked: begun, or none.
fn desk<'a>(store: &'a Store<'_>, call: fn(&Option<Arc<Call>>) -> bool) -> Option<&'a Arc<Desk>> {
    let state = store.data();
    state.desk.as_ref().filter(|_| call(&state.call))
}

async fn take(store: &mut Store<'_>, desk: &Desk) -> Vec<u8> {
    let (block, call) = desk.take().await;
    begin(store, call);
    block
}

fn begin(store: &mut Store<'_>, call: Arc<Call>) {
    store.data_mut().begin(call);
    store.set_epoch_deadline(FIRST_TICKS);
}
