//! Calls that were read and not yet begun: consecutive ones for one plugin, which the executor is handed
//! together.

use std::sync::Arc;

use crate::plugin::{Call, Exchange, Plugin};
use crate::route::Routes;
use crate::telemetry::LASTING;

/// Maximum calls of a batch. The saving is per batch, so larger ones gain little; and if one of
/// them goes on, those behind it are prepared anew.
const MAX_CALLS: usize = 32;

/// Calls of one plugin, in the order in which they came.
#[derive(Default)]
pub(super) struct Batch {
    plugin: Option<Arc<Plugin>>,
    calls: Vec<Arc<Call>>,
    held_bytes: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Memory that its requests hold, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns true if a request, before permission, may join the batch: it has the same plugin, and is run
    /// like those in the batch. Compares only names, so the request is not routed by that. Of two with the
    /// same `Sequence` the first is answered before the second begins.
    pub(super) fn accepts(&self, exchange: &Exchange, routes: &Routes<Arc<Plugin>>) -> bool {
        let (Some(last), Some(of_batch)) = (self.calls.last(), &self.plugin) else { return true };
        let command = exchange.request.command();
        exchange.request.idempotency_key().is_none()
            && self.calls.len() < MAX_CALLS
            && (last.request().command() == command
                || routes.goes_to(command, |plugin| Arc::ptr_eq(of_batch, plugin)))
    }

    /// Adds a call of a request that the batch accepts.
    pub(super) fn push(&mut self, plugin: &Arc<Plugin>, call: Arc<Call>) {
        if self.plugin.is_none() {
            self.plugin = Some(Arc::clone(plugin));
        }
        self.held_bytes += call.request().size_bytes();
        self.calls.push(call);
    }

    /// The calls and their plugin; `None` if the batch is empty.
    pub(super) fn calls(&self) -> Option<(&Arc<Plugin>, &[Arc<Call>])> {
        Some((self.plugin.as_ref()?, &self.calls))
    }

    /// Takes out all calls, in their order.
    pub(super) fn drain(&mut self) -> impl DoubleEndedIterator<Item = Arc<Call>> {
        (self.plugin, self.held_bytes) = (None, 0);
        self.calls.drain(..)
    }
}

/// Takes back the exchange of a call that was handed over and has not begun. The plugin gives such calls up
/// before it hands over the others' replies; one that it still held could begin later, so its request is not
/// run a second time.
///
/// # Errors
///
/// The call, if something still holds it.
pub(super) fn take_back(call: Arc<Call>) -> Result<Exchange, Arc<Call>> {
    Call::into_exchange(call).inspect_err(|call| {
        let request = call.id();
        tracing::error!(name: LASTING, target: "lictor::command", %request, "a call was not given back");
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::identity::{Roster, Thumbprint, authenticate};
    use crate::telemetry::{ConnectionId, RequestId};
    use crate::wire::Request;

    fn call() -> Arc<Call> {
        let certificate = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap().cert;
        let thumbprint = Thumbprint::sha256_of(certificate.der());
        let roster: Roster = [(thumbprint, Arc::from("client"))].into_iter().collect();
        let caller = authenticate(&[certificate.der().clone()], &roster, SystemTime::now()).unwrap();
        let request = Request::composed(&["echo".to_owned(), "a".to_owned()], Bytes::new()).unwrap();
        let id = RequestId { connection: ConnectionId(1), number: 7 };
        let arrived = Instant::now();
        Arc::new(Call::new(Exchange::new(id, arrived, request), caller, arrived))
    }

    #[test]
    fn a_call_that_was_not_begun_is_its_exchange_again() {
        let call = call();
        let (id, arrived) = (call.id(), call.exchange().arrived);
        let exchange = take_back(call).unwrap();
        assert_eq!((exchange.id, exchange.arrived), (id, arrived));
        assert_eq!(exchange.request.arguments().collect::<Vec<_>>(), ["echo", "a"]);
    }

    #[test]
    fn a_call_that_the_plugin_still_holds_is_not_taken_back() {
        let call = call();
        let _held = Arc::clone(&call);
        assert_eq!(take_back(call).unwrap_err().id().number, 7);
    }
}
