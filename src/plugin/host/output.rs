//! `lictor:plugin/output`: lines in the log for plugins without WASI's standard streams. Always linked.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use super::context::HostState;
use super::interface::Interface;
use super::stdio::{CallLabel, Printer, Stream};
use crate::plugin::bindings::lictor::plugin::output;

pub(super) const INTERFACE: Interface =
    Interface { names: &["lictor:plugin/output"], version: (0, 1), grant: None, link };

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    output::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl output::Host for HostState {
    fn print(&mut self, text: String) {
        let printer = self.printer();
        printer.end_line();
        printer.append(text.as_bytes());
        printer.end_line();
    }

    fn write(&mut self, bytes: Vec<u8>) {
        self.printer().append(&bytes);
    }
}

impl HostState {
    /// Returns the current call's printer, made on first use: most calls print nothing.
    fn printer(&mut self) -> &mut Printer {
        let Self { printer, log, call, .. } = self;
        let call = || call.as_deref().map(CallLabel::from);
        printer.get_or_insert_with(|| Box::new(Printer::new(Arc::clone(log), Stream::Err, call())))
    }
}
