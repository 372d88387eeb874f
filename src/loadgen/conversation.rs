//! Protocol state of one connection of a steady load: bytes received, bytes to send. Knows no socket and no
//! clock; the driver passes the time in nanoseconds since the load began.

use std::collections::VecDeque;
use std::sync::Arc;

use super::received::Received;
use super::schedule::Turns;
use super::tally::Tally;
use super::{Dialect, LoadError};

/// Requests in flight, received bytes and bytes to send.
pub(super) struct Conversation {
    dialect: Arc<dyn Dialect>,
    /// One request for each slot.
    requests: Arc<[Vec<u8>]>,
    slots: Slots,
    pub(super) received: Received,
    pub(super) sending: Sending,
    pub(super) timing: Timing,
    /// The number of replies received.
    pub(super) replies: u64,
}

/// The rule for when the next request is sent.
pub(super) enum Timing {
    /// As soon as a slot is free.
    Closed,
    /// At its due time.
    Open(Turns),
}

/// The send buffer: encoded requests, one copy for each time a request is sent.
#[derive(Default)]
pub(super) struct Sending {
    bytes: Vec<u8>,
    sent: usize,
}

/// The requests that wait for replies.
struct Slots {
    /// The start time of the request in each slot; `None` if the slot is free.
    begun: Vec<Option<u64>>,
    /// The slot that has been free for longest is used first: so the slots of a peer that replies in order
    /// are used round-robin.
    free: VecDeque<usize>,
    /// The slot of the oldest request, if replies come in order.
    oldest: usize,
}

/// The state of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    GoesOn,
    /// No further request will be due, and none waits for a reply.
    IsOver,
}

impl Conversation {
    /// Starts a conversation.
    pub(super) fn new(dialect: Arc<dyn Dialect>, requests: Arc<[Vec<u8>]>, timing: Timing) -> Self {
        Self {
            dialect,
            slots: Slots::new(requests.len()),
            requests,
            received: Received::default(),
            sending: Sending::default(),
            timing,
            replies: 0,
        }
    }

    /// Returns true if a request could be sent when due.
    pub(super) fn has_free_slots(&self) -> bool {
        !self.slots.free.is_empty()
    }

    /// Processes the received replies, and buffers the requests that are due.
    ///
    /// # Errors
    /// The bytes received are not a valid reply.
    pub(super) fn go_on(&mut self, tally: &mut Tally, now: u64) -> Result<State, LoadError> {
        while !self.received.pending().is_empty() {
            let reply = self.dialect.reply(self.received.pending()).map_err(LoadError::Reply)?;
            let Some(reply) = reply else { break };
            self.received.consume(reply.length);
            if reply.is_last {
                tally.reply(self.slots.answered(reply.slot)?, now, reply.failure);
                self.replies += 1;
            }
        }
        let end = tally.window.end;
        while let Some(slot) = self.slots.free.front().copied() {
            let Some(begun) = self.timing.next(now, end) else { break };
            self.slots.take(slot, begun);
            self.sending.bytes.extend_from_slice(&self.requests[slot]);
            tally.request(begun);
        }
        let is_over = self.slots.are_free() && self.timing.is_over(now, end);
        Ok(if is_over { State::IsOver } else { State::GoesOn })
    }
}

impl Timing {
    /// The start time of the request to send at `now`; `None` if none is due.
    fn next(&mut self, now: u64, end: u64) -> Option<u64> {
        match self {
            Self::Closed => (now < end).then_some(now),
            Self::Open(turns) => {
                let due = turns.next_due();
                if due > now || due >= end {
                    return None;
                }
                turns.advance();
                Some(due)
            }
        }
    }

    /// Returns true if no further request will be due.
    fn is_over(&self, now: u64, end: u64) -> bool {
        match self {
            Self::Closed => now >= end,
            Self::Open(turns) => now >= end && turns.next_due() >= end,
        }
    }
}

impl Sending {
    /// The bytes still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Records that `count` bytes were written.
    pub(super) fn written(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

impl Slots {
    fn new(count: usize) -> Self {
        Self { begun: vec![None; count], free: (0..count).collect(), oldest: 0 }
    }

    fn are_free(&self) -> bool {
        self.free.len() == self.begun.len()
    }

    /// Puts a request that began at `begun` into `slot`, which is the first free one.
    fn take(&mut self, slot: usize, begun: u64) {
        self.free.pop_front();
        self.begun[slot] = Some(begun);
    }

    /// Frees the slot that was answered, or the oldest; returns the start time of its request.
    fn answered(&mut self, slot: Option<usize>) -> Result<u64, LoadError> {
        let slot = slot.unwrap_or(self.oldest);
        let Some(begun) = self.begun.get_mut(slot).and_then(Option::take) else {
            return Err(LoadError::Reply("the server answered a request that it was not sent".to_owned()));
        };
        self.oldest = (slot + 1) % self.begun.len();
        self.free.push_back(slot);
        Ok(begun)
    }
}
