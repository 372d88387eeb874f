//! `lictor:plugin/queue`: the calls of an instance that stays entered.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::instance::{FIRST_TICKS, HostState};
use crate::plugin::invoke::Call;
use crate::plugin::worker::Desk;

type Store<'a> = StoreContextMut<'a, HostState>;

/// Linked by hand: what `bindgen!` makes is not given the store, in which a call's first tick begins.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut queue = linker.instance("lictor:plugin/queue@0.1.0")?;
    queue.func_wrap_async("first", |mut store: Store<'_>, (): ()| {
        Box::new(async move {
            let Some(desk) = desk(&store, false) else {
                wasmtime::bail!("it calls `queue.first` elsewhere than at the begin of `worker.run`");
            };
            Ok((take(&mut store, &desk).await,))
        })
    })?;
    queue.func_wrap_async("next", |mut store: Store<'_>, (answer,): (Result<Vec<u8>, Failure>,)| {
        Box::new(async move {
            let Some(desk) = desk(&store, true) else {
                wasmtime::bail!("it calls `queue.next` while no request of `queue` has begun");
            };
            store.data_mut().end()?;
            if let Some(call) = desk.answer(answer) {
                begin(&mut store, call);
                return Ok((None,));
            }
            Ok((Some(take(&mut store, &desk).await),))
        })
    })
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
