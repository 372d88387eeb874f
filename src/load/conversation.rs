//! What is under way on one connection of a steady load: bytes that came in, bytes to send out. Knows no socket and no
//! clock; whoever drives it says what time it is, in nanoseconds since the load began.

use std::collections::VecDeque;
use std::sync::Arc;

use super::received::Received;
use super::schedule::Turns;
use super::tally::Tally;
use super::{Dialect, LoadError};

/// Requests, replies and what waits for them.
pub(super) struct Conversation {
    dialect: Arc<dyn Dialect>,
    /// One for each slot.
    requests: Arc<[Vec<u8>]>,
    slots: Slots,
    pub(super) received: Received,
    pub(super) sending: Sending,
    pub(super) timing: Timing,
    /// How many replies came.
    pub(super) replies: u64,
}

/// When the next request is sent.
pub(super) enum Timing {
    /// When there is a slot for it.
    Closed,
    /// When its turn has come.
    Open(Turns),
}

/// Requests on their way out, each as often as it is sent.
#[derive(Default)]
pub(super) struct Sending {
    bytes: Vec<u8>,
    sent: usize,
}

/// Which requests wait for their replies.
struct Slots {
    /// When the request in each began; nothing where none is.
    begun: Vec<Option<u64>>,
    /// First used is who is free for longest: so the slots of a peer that answers in order are answered in turns.
    free: VecDeque<usize>,
    /// The slot of the oldest request, if replies come in order.
    oldest: usize,
}

/// Whether a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    GoesOn,
    /// No request will be due any more, and none waits for its reply.
    IsOver,
}

impl Conversation {
    /// One that is about to begin.
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

    /// Whether a request could be sent, if one is due.
    pub(super) fn has_free_slots(&self) -> bool {
        !self.slots.free.is_empty()
    }

    /// Takes the replies that have come, and puts out the requests that are due.
    ///
    /// # Errors
    /// If what came is no reply.
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
    /// When the request that is to be sent at `now` begins; nothing where none is.
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

    /// Whether no request will be due any more.
    fn is_over(&self, now: u64, end: u64) -> bool {
        match self {
            Self::Closed => now >= end,
            Self::Open(turns) => now >= end && turns.next_due() >= end,
        }
    }
}

impl Sending {
    /// What is still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Says how many bytes were written.
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

    /// Puts a request that began at `begun` into the first free slot.
    fn take(&mut self, slot: usize, begun: u64) {
        self.free.pop_front();
        self.begun[slot] = Some(begun);
    }

    /// Frees the slot whose reply came, or the oldest; returns when its request began.
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
