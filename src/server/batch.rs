//! Calls that a connection has read and not yet begun: those that come one after the other for one plugin are handed to it
//! together.

use std::sync::Arc;

use super::lanes::{Arrival, Ticket};
use crate::plugin::{Call, Plugin};

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

    /// Whether a call of `plugin` may come into the batch: what is in it is of the same one. Where two have the same
    /// `Sequence` the first is answered before the other begins.
    pub(super) fn goes_with(&self, plugin: &Arc<Plugin>) -> bool {
        match &self.plugin {
            Some(of_batch) => self.calls.len() < MAX_CALLS && Arc::ptr_eq(of_batch, plugin),
            None => true,
        }
    }

    /// Adds a call that goes with those in it.
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

    /// Empties it, and gives the calls from `first` on, which have not begun, as the requests that they were.
    pub(super) fn empty(&mut self, first: usize) -> impl DoubleEndedIterator<Item = Arrival> {
        (self.plugin, self.held_bytes) = (None, 0);
        let left = self.tickets.drain(..).zip(self.calls.drain(..)).skip(first);
        left.filter_map(|(Ticket { id, arrived: at, .. }, call)| {
            Some(Arrival { id, at, turned_away: None, request: call.into_request()? })
        })
    }
}
