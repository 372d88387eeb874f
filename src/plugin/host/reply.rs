//! `lictor:plugin/reply`: the end of a streamed reply. Always linked.

use wasmtime::component::{HasSelf, Linker};

use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::bindings::streaming::lictor::plugin::reply;
use crate::plugin::failure;
use crate::plugin::instance::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    reply::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl reply::Host for HostState {
    fn fail(&mut self, why: Failure) -> wasmtime::Result<()> {
        match &mut self.streaming {
            Some(streaming) => {
                streaming.failure = Some(failure::pared(why));
                Ok(())
            }
            None => wasmtime::bail!("it calls `reply.fail` while it streams nothing"),
        }
    }
}
