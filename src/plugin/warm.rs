//! An instance that runs one call after the other.

use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::call::Call;
use super::instance::{HostState, Instance};
use super::places::Places;
use super::worker::{Answer, Left, Worker};

/// An instance, and what it has behind it.
pub(super) struct Warm {
    guest: Guest,
    /// The client whose calls it may see; `None` for all clients.
    owner: Option<Arc<str>>,
    calls: u32,
    last_used: Instant,
}

enum Guest {
    /// It is entered for each call.
    Outside(Instance),
    /// It was entered once, and waits for calls.
    Inside(Worker),
}

impl Warm {
    /// Takes `instance`, which ran no call yet, for the calls of `owner`.
    pub(super) fn new(instance: Instance, owner: Option<Arc<str>>) -> Self {
        let guest = if instance.is_worker() {
            Guest::Inside(Worker::new(instance))
        } else {
            Guest::Outside(instance)
        };
        Self { guest, owner, calls: 0, last_used: Instant::now() }
    }

    /// Carries out `call`. After an error, or when the future is dropped before its end, the instance can't be used
    /// again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<Answer> {
        self.calls += 1;
        match &mut self.guest {
            Guest::Outside(instance) => instance.handle(call).await,
            Guest::Inside(worker) => match worker.handle(call).await {
                Ok(answer) => Ok(answer),
                Err(left) => Err(self.unwrap_left(left)),
            },
        }
    }

    /// Carries out the call that has begun to its end, as [`handle`](Self::handle) does.
    pub(super) async fn finish(&mut self) -> wasmtime::Result<Answer> {
        match &mut self.guest {
            Guest::Outside(_) => Err(wasmtime::format_err!("it has begun no call")),
            Guest::Inside(worker) => match worker.finish().await {
                Ok(answer) => Ok(answer),
                Err(left) => Err(self.unwrap_left(left)),
            },
        }
    }

    /// [`Worker::poll_all`], of an instance of a plugin that takes many.
    pub(super) fn poll_all(
        &mut self,
        calls: &[Arc<Call>],
        until: Instant,
        mut answered: impl FnMut(Answer),
        cx: &mut Context<'_>,
    ) -> wasmtime::Result<bool> {
        let Guest::Inside(worker) = &mut self.guest else { return Ok(false) };
        let mut begun = 0;
        let counted = |answer| {
            begun += 1;
            answered(answer);
        };
        let polled = worker.poll_all(calls, until, counted, cx);
        self.calls += begun + u32::from(matches!(polled, Ok(true)));
        polled.map_err(|left| self.unwrap_left(left))
    }

    fn unwrap_left(&mut self, Left { instance, error }: Left) -> wasmtime::Error {
        self.guest = Guest::Outside(instance);
        error
    }

    /// The client whose calls it may see; `None` for all clients.
    pub(super) fn owner(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()
    }

    /// Calls that it has run.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    /// Whether it holds more in the host than it may while it is idle.
    pub(super) fn is_worn(&self) -> bool {
        match &self.guest {
            Guest::Outside(instance) => instance.state().handles.hold_much(),
            Guest::Inside(worker) => worker.is_worn(),
        }
    }

    /// When it was last laid aside.
    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Is laid aside until its next call.
    pub(super) fn rest(&mut self) {
        self.last_used = Instant::now();
    }

    /// What the host keeps beside the instance; none while that is in use within it.
    pub(super) fn state(&self) -> Option<&HostState> {
        self.outside().map(Instance::state)
    }

    /// [`Instance::into_core_dump`].
    pub(super) fn into_core_dump(
        self,
        error: &wasmtime::Error,
        name: &str,
        places: &Places,
    ) -> Option<Vec<u8>> {
        match self.guest {
            Guest::Outside(instance) => instance.into_core_dump(error, name, places),
            Guest::Inside(_) => None,
        }
    }

    fn outside(&self) -> Option<&Instance> {
        match &self.guest {
            Guest::Outside(instance) => Some(instance),
            Guest::Inside(_) => None,
        }
    }
}
