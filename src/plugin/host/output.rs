//! `lictor:plugin/output`: lines in the log for plugins without WASI's standard streams. Always there.

use wasmtime::component::{HasSelf, Linker};

use crate::plugin::bindings::lictor::plugin::output;
use crate::plugin::instance::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    output::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl output::Host for HostState {
    fn print(&mut self, text: String) {
        let call = self.label();
        self.log.print(call.as_ref(), &mut self.printed_bytes, text.as_bytes());
    }
}
