//! An instance that runs one call after the other.

use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::Instance;
use super::worker::{Exited, Worker};
use crate::plugin::call::Call;
use crate::plugin::debug::places::Places;
use crate::plugin::host::call_queue::GuestReply;
use crate::plugin::host::context::HostState;
use crate::telemetry::metrics::{KeptInstance, Retired};

/// An instance with its history.
pub(in crate::plugin) struct WarmInstance {
    guest: Guest,
    /// The client whose calls it may see; `None` for all clients.
    owner: Option<Arc<str>>,
    calls: u32,
    last_used: Instant,
    /// Counts it, if it is kept between calls.
    kept: Option<KeptInstance>,
}

enum Guest {
    /// Entered for each call.
    PerCall(Instance),
    /// Stays entered, and waits for calls.
    Resident(Worker),
}

impl WarmInstance {
    /// Takes `instance`, which ran no call yet, for the calls of `owner`; `kept` counts it.
    pub(in crate::plugin) fn new(
        instance: Instance,
        owner: Option<Arc<str>>,
        kept: Option<KeptInstance>,
    ) -> Self {
        let guest = if instance.is_worker() {
            Guest::Resident(Worker::new(instance))
        } else {
            Guest::PerCall(instance)
        };
        Self { guest, owner, calls: 0, last_used: Instant::now(), kept }
    }

    /// Runs `call`. After an error, or if the future is dropped before its end, the instance can't be used
    /// again.
    pub(in crate::plugin) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<GuestReply> {
        self.calls += 1;
        match &mut self.guest {
            Guest::PerCall(instance) => instance.handle(call).await,
            Guest::Resident(worker) => worker.handle(call).await.map_err(|exited| self.take_error(exited)),
        }
    }

    /// Runs the call that has begun to its end.
    pub(in crate::plugin) async fn finish(&mut self) -> wasmtime::Result<GuestReply> {
        match &mut self.guest {
            Guest::PerCall(_) => Err(wasmtime::format_err!("it has begun no call")),
            Guest::Resident(worker) => worker.finish().await.map_err(|exited| self.take_error(exited)),
        }
    }

    /// Calls [`Worker::poll_all`]; runs none in an instance that is entered for each call.
    pub(in crate::plugin) fn poll_all(
        &mut self,
        calls: &[Arc<Call>],
        until: Instant,
        mut answered: impl FnMut(GuestReply),
        cx: &mut Context<'_>,
    ) -> wasmtime::Result<bool> {
        let Guest::Resident(worker) = &mut self.guest else { return Ok(false) };
        let mut begun = 0;
        let counted = |answer| {
            begun += 1;
            answered(answer);
        };
        let polled = worker.poll_all(calls, until, counted, cx);
        self.calls += begun + u32::from(matches!(polled, Ok(true)));
        polled.map_err(|exited| self.take_error(exited))
    }

    fn take_error(&mut self, Exited { instance, error }: Exited) -> wasmtime::Error {
        self.guest = Guest::PerCall(instance);
        error
    }

    /// Returns the error of a guest that exited after its last reply, and the host's state of the instance.
    pub(in crate::plugin) fn exited(&self) -> Option<(&wasmtime::Error, &HostState)> {
        match &self.guest {
            Guest::PerCall(_) => None,
            Guest::Resident(worker) => worker.exited().map(|exited| (&exited.error, exited.instance.state())),
        }
    }

    /// The client whose calls it may see; `None` for all clients.
    pub(in crate::plugin) fn owner(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()
    }

    /// Number of calls that it has run.
    pub(in crate::plugin) fn calls(&self) -> u32 {
        self.calls
    }

    /// Returns true if it holds more in the host than an idle one may.
    pub(in crate::plugin) fn is_worn(&self) -> bool {
        match &self.guest {
            Guest::PerCall(instance) => instance.state().handles.hold_much(),
            Guest::Resident(worker) => worker.is_worn(),
        }
    }

    /// Time at which it last became idle.
    pub(in crate::plugin) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Notes the reason for which it is dropped next; a failure unless told otherwise.
    pub(in crate::plugin) fn end_by(&mut self, reason: Retired) {
        if let Some(kept) = &mut self.kept {
            kept.ends_by = reason;
        }
    }

    /// Marks it as idle from now on.
    pub(in crate::plugin) fn rest(&mut self) {
        self.last_used = Instant::now();
    }

    /// The host's state of the instance; `None` while that is in use by the instance itself.
    pub(in crate::plugin) fn state(&self) -> Option<&HostState> {
        self.per_call().map(Instance::state)
    }

    /// Calls [`Instance::into_core_dump`].
    pub(in crate::plugin) fn into_core_dump(
        self,
        error: &wasmtime::Error,
        name: &str,
        places: &Places,
    ) -> Option<Vec<u8>> {
        match self.guest {
            Guest::PerCall(instance) => instance.into_core_dump(error, name, places),
            Guest::Resident(_) => None,
        }
    }

    fn per_call(&self) -> Option<&Instance> {
        match &self.guest {
            Guest::PerCall(instance) => Some(instance),
            Guest::Resident(_) => None,
        }
    }
}
