//! `wasi:logging/logging`: a plugin's events in the server's log. Granted by `logging = true`.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::logging::logging;
use super::context::HostState;
use super::interface::{Grant, Interface};

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world logging { import wasi:logging/logging@0.1.0-draft; }",
    });
}

pub(super) const INTERFACE: Interface = Interface {
    names: &["wasi:logging/logging"],
    version: (0, 1),
    grant: Some(Grant { lines: "[plugins.NAME.grants]\nlogging = true", is_in: |grants| grants.logging }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    logging::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl logging::Host for HostState {
    fn log(&mut self, level: logging::Level, context: String, message: String) {
        let level = match level {
            logging::Level::Trace => tracing::Level::TRACE,
            logging::Level::Debug => tracing::Level::DEBUG,
            logging::Level::Info => tracing::Level::INFO,
            logging::Level::Warn => tracing::Level::WARN,
            logging::Level::Error | logging::Level::Critical => tracing::Level::ERROR,
        };
        self.log.event(level, self.label().as_ref(), &context, &message);
    }
}
