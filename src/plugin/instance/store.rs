//! The store of one instance, which is the only way into its guest.
//!
//! Invariant: guests run only in polls that the [ticker] counts. The store is handed only to the future that
//! [`GuestStore::enter`] polls, and no other file makes one, which a test checks. A guest that ran elsewhere
//! would run without a clock: nothing could stop it.

use std::future::poll_fn;
use std::pin::pin;

use wasmtime::{AsContextMut, Engine, Store, WasmCoreDump};

use crate::plugin::cpu::hint::{FIRST_TICKS, yield_after_tick};
use crate::plugin::cpu::ticker;
use crate::plugin::host::context::HostState;
use crate::plugin::host::handles::bound_tables;

/// A guest's store.
pub(super) struct GuestStore(Store<HostState>);

impl GuestStore {
    /// Makes a store with nothing in it. `max_host_call_bytes` bounds the bytes that the guest may hand to
    /// the host at once.
    pub(super) fn new(engine: &Engine, state: HostState, max_host_call_bytes: usize) -> Self {
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(max_host_call_bytes);
        bound_tables(store.as_context_mut());
        store.epoch_deadline_callback(|mut state| {
            ticker::note_tick();
            let state = state.data_mut();
            Ok(yield_after_tick(state.call.as_ref(), &state.hint, &mut state.first_tick))
        });
        Self(store)
    }

    /// Runs the guest through the future that `run` makes of the store; each poll of it is counted.
    pub(super) async fn enter<'a, F: Future>(
        &'a mut self,
        run: impl FnOnce(&'a mut Store<HostState>) -> F,
    ) -> F::Output {
        self.0.set_epoch_deadline(FIRST_TICKS);
        // Made here instead of passed in: a future that is moved after it is made takes its space twice in
        // each future that holds it.
        let mut running = pin!(run(&mut self.0));
        poll_fn(|cx| ticker::entered(|| running.as_mut().poll(cx))).await
    }

    pub(super) fn state(&self) -> &HostState {
        self.0.data()
    }

    pub(super) fn state_mut(&mut self) -> &mut HostState {
        self.0.data_mut()
    }

    pub(super) fn into_state(self) -> HostState {
        self.0.into_data()
    }

    /// Returns `dump` as bytes. Reads the guest's memories and runs nothing of it.
    pub(super) fn into_core_dump(mut self, dump: &WasmCoreDump, name: &str) -> Vec<u8> {
        dump.serialize(&mut self.0, name)
    }
}
