//! `lictor:plugin/queue`: the calls of an instance that stays entered.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::plugin::instance::{FIRST_TICKS, HostState};
use crate::plugin::invoke::Call;
use crate::plugin::worker::{Answer, Desk};

type Store<'a> = StoreContextMut<'a, HostState>;

/// Linked by hand: what `bindgen!` makes is not given the store, in which a call's first tick begins.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut queue = linker.instance("lictor:plugin/queue@0.1.0")?;
    queue.func_wrap_async("first", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            let Some(desk) = desk(&store, false) else {
                wasmtime::bail!(
                    "it calls `queue.first` elsewhere than in `worker.run` where no request has begun"
                );
            };
            Ok((take(&mut store, &desk).await,))
        })
    })?;
    // What waits costs more to enter, so what only answers is a function of its own.
    queue.func_wrap("answer", |mut store: Store<'_>, (said,): (Answer,)| {
        let Some(desk) = desk(&store, true) else {
            wasmtime::bail!("it calls `queue.answer` while no request of `queue` has begun");
        };
        Ok((answer(&mut store, &desk, said)?,))
    })?;
    queue.func_wrap_async("next", |mut store: Store<'_>, (said,): (Answer,)| {
        Box::new(async move {
            let Some(desk) = desk(&store, true) else {
                wasmtime::bail!("it calls `queue.next` while no request of `queue` has begun");
            };
            let has_begun = answer(&mut store, &desk, said)?;
            Ok((if has_begun { None } else { Some(take(&mut store, &desk).await) },))
        })
    })
}

/// Ends the call that has begun, and begins the next that the guest has at hand; whether there is one.
fn answer(store: &mut Store<'_>, desk: &Desk, said: Answer) -> wasmtime::Result<bool> {
    store.data_mut().end()?;
    let next = desk.answer(said);
    let has_begun = next.is_some();
    if let Some(call) = next {
        begin(store, call);
    }
    Ok(has_begun)
}

/// The desk of an instance that is at work, where a call has begun or none has.
fn desk(store: &Store<'_>, has_begun: bool) -> Option<Arc<Desk>> {
    let state = store.data();
    state.desk.clone().filter(|_| state.call.is_some() == has_begun)
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
