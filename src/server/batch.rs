//! Calls that a connection has read and not yet begun: those that come one after the other for one plugin are handed to it
//! together.

use std::sync::Arc;

use super::lanes::{Arrival, Ticket};
use crate::plugin::{Call, Plugin};
use crate::route::Routes;
use crate::telemetry::LASTING;
use crate::wire::{Code, CommandError};

/// Calls that are handed over together at most. They share what a batch saves, so more of them would save little more; and
/// where one of them runs on, those behind it are prepared anew.
const MAX_CALLS: usize = 32;

/// Calls of one plugin, in the order in which they came.
#[derive(Default)]
pub(super) struct Batch {
    plugin: Option<Arc<Plugin>>,
    pub(super) tickets: Vec<Ticket>,
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

    /// Bytes of the requests in it.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Says, before permission, whether a request may join the batch: one of the same plugin, which is run like those in it.
    /// Only names are compared, so the request is not routed by that. Where two have the same `Sequence` the first is answered
    /// before the other begins.
    pub(super) fn accepts(&self, arrival: &Arrival, routes: &Routes<Arc<Plugin>>) -> bool {
        let (Some(last), Some(of_batch)) = (self.tickets.last(), &self.plugin) else { return true };
        let Arrival { refusal, request, .. } = arrival;
        let command = request.command();
        refusal.is_none()
            && request.idempotency_key().is_none()
            && self.calls.len() < MAX_CALLS
            && (*last.command == *command || routes.goes_to(command, |plugin| Arc::ptr_eq(of_batch, plugin)))
    }

    /// Adds a call of a request that the batch accepts.
    pub(super) fn push(&mut self, ticket: Ticket, plugin: &Arc<Plugin>, call: Arc<Call>) {
        if self.plugin.is_none() {
            self.plugin = Some(Arc::clone(plugin));
        }
        self.held_bytes += ticket.bytes;
        self.tickets.push(ticket);
        self.calls.push(call);
    }

    /// The calls, and the plugin that is to run them; none where it is empty.
    pub(super) fn calls(&self) -> Option<(&Arc<Plugin>, &[Arc<Call>])> {
        Some((self.plugin.as_ref()?, &self.calls))
    }

    /// Takes out a call that runs on, after those that were answered.
    pub(super) fn take(&mut self, position: usize) -> (Ticket, Arc<Call>) {
        (self.tickets.remove(position), self.calls.remove(position))
    }

    /// Empties it, and gives the calls from `first` on, which have not begun, as the requests that they were; or, of a call that
    /// can't be taken back, what its client is to be told.
    pub(super) fn empty(&mut self, first: usize) -> impl DoubleEndedIterator<Item = TakenBack> {
        (self.plugin, self.held_bytes) = (None, 0);
        self.tickets
            .drain(..)
            .zip(self.calls.drain(..))
            .skip(first)
            .map(|(ticket, call)| take_back(ticket, call))
    }
}

/// A request that waits again, or the answer in its place.
type TakenBack = Result<Arrival, Box<(Ticket, CommandError)>>;

/// Takes back a call that the plugin was handed and has not begun. It gives it up before it hands the others' answers over; one
/// that it still held could begin later, so its request is not run a second time.
fn take_back(ticket: Ticket, call: Arc<Call>) -> TakenBack {
    match call.into_request() {
        Some(request) => Ok(Arrival { id: ticket.id, at: ticket.arrived, refusal: None, request }),
        None => {
            let id = ticket.id;
            tracing::error!(name: LASTING, target: "lictor::command", request = %id, "a call was not given back");
            Err(Box::new((ticket, CommandError::unknown(Code::Internal, "The server failed"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::identity::{Roster, Thumbprint, authenticate};
    use crate::telemetry::{ConnectionId, RequestId};
    use crate::wire::{Outcome, Request};

    fn handed_over() -> (Ticket, Arc<Call>) {
        let certificate = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap().cert;
        let thumbprint = Thumbprint::sha256_of(certificate.der());
        let roster: Roster = [(thumbprint, Arc::from("client"))].into_iter().collect();
        let caller = authenticate(&[certificate.der().clone()], &roster, SystemTime::now()).unwrap();
        let request = Request::composed(&["echo".to_owned(), "a".to_owned()], Bytes::new()).unwrap();
        let (id, now) = (RequestId { connection: ConnectionId(1), number: 7 }, Instant::now());
        let ticket = Ticket {
            id,
            sequence: None,
            command: "echo".into(),
            arguments: None,
            arrived: now,
            bytes: 0,
            sent: 0,
        };
        (ticket, Arc::new(Call::new(request, caller, id, now)))
    }

    #[test]
    fn a_call_that_was_not_begun_is_its_request_again() {
        let (ticket, call) = handed_over();
        let (id, at) = (ticket.id, ticket.arrived);
        let arrival = take_back(ticket, call).map_err(|answered| answered.1).unwrap();
        assert_eq!((arrival.id, arrival.at, arrival.refusal), (id, at, None));
        assert_eq!(arrival.request.arguments().collect::<Vec<_>>(), ["echo", "a"]);
    }

    #[test]
    fn a_call_that_the_plugin_still_holds_is_answered_and_not_lost() {
        let (ticket, call) = handed_over();
        let _held = Arc::clone(&call);
        let (ticket, error) = *take_back(ticket, call).err().unwrap();
        assert_eq!((ticket.id.number, error.code, error.outcome), (7, Code::Internal, Outcome::Unknown));
    }
}
