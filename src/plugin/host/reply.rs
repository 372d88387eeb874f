//! `lictor:plugin/reply`: the end of a streamed reply. Always linked.

use wasmtime::component::{HasSelf, Linker};

use super::answer::reported;
use super::context::HostState;
use super::interface::Interface;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::bindings::streaming::lictor::plugin::reply;

pub(super) const INTERFACE: Interface =
    Interface { names: &["lictor:plugin/reply"], version: (0, 1), grant: None, link };

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    reply::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl reply::Host for HostState {
    fn fail(&mut self, why: Failure) -> wasmtime::Result<()> {
        match &mut self.streaming {
            Some(streaming) => {
                streaming.failure = Some(reported(why));
                Ok(())
            }
            None => wasmtime::bail!("it calls `reply.fail` while it streams nothing"),
        }
    }
}
