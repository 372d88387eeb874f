//! `lictor:plugin/request`: the request being handled.

use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker};

use super::context::HostState;
use super::interface::Interface;
use crate::plugin::bindings::lictor::plugin::{request, types};

pub(super) const INTERFACE: Interface = Interface {
    names: &["lictor:plugin/request", "lictor:plugin/types"],
    version: (0, 1),
    grant: None,
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    request::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl types::Host for HostState {}

impl request::Host for HostState {
    fn caller(&mut self) -> types::Caller {
        let caller = self.call.as_ref().map(|call| &call.caller);
        types::Caller {
            name: caller.map(|caller| caller.name().to_owned()).unwrap_or_default(),
            thumbprint: caller.map(|caller| caller.thumbprint().to_string()).unwrap_or_default(),
        }
    }

    fn id(&mut self) -> String {
        self.request_id()
    }

    fn header(&mut self, name: String) -> Option<String> {
        self.call.as_ref()?.request().header(&name).map(str::to_owned)
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let Some(call) = &self.call else { return Vec::new() };
        call.request().headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn body(&mut self) -> Vec<u8> {
        self.call.as_ref().map(|call| call.request().body().to_vec()).unwrap_or_default()
    }

    fn time_left_ms(&mut self) -> u64 {
        u64::try_from(self.time_left().as_millis()).unwrap_or(u64::MAX)
    }
}

impl HostState {
    /// Returns the time until the call is stopped, or the stream, if it makes no progress; zero without a
    /// call.
    pub(super) fn time_left(&self) -> Duration {
        let Some(call) = &self.call else { return Duration::ZERO };
        let patience_ends = self.streaming.as_ref().map(|streaming| streaming.progress.patience_ends());
        let deadline = patience_ends.map_or(call.deadline, |ends| ends.min(call.deadline));
        deadline.saturating_duration_since(Instant::now())
    }
}
