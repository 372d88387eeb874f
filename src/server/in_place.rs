//! Calls that are polled where their requests were read: most end there.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_util::sync::ReusableBoxFuture;

use super::lanes::Answer;
use crate::plugin::{Call, Ended, Plugin, Seat, invoke};

/// What the calls of one turn of a connection's task hand to each other.
#[derive(Default)]
pub(super) struct InPlace {
    /// Where they run. A call that does not end at once takes it along.
    seat: Option<Seat>,
    /// The memory of the last call's future.
    spare: Option<ReusableBoxFuture<'static, Ended>>,
}

/// What became of a call that was polled once.
pub(super) enum Polled {
    /// It ended.
    Ended(Answer),
    /// It waits, or computes for longer than a tick.
    RunsOn(ReusableBoxFuture<'static, Ended>),
}

impl InPlace {
    /// Begins `call` in the seat of the one before it, or, where there is none, in one of `new_seat`.
    pub(super) fn begin(
        &mut self,
        new_seat: impl FnOnce() -> Seat,
        plugin: Arc<Plugin>,
        call: Arc<Call>,
        cx: &mut Context<'_>,
    ) -> Polled {
        let seat = self.seat.take().unwrap_or_else(new_seat);
        let command = invoke(seat, plugin, call);
        let mut command = match self.spare.take() {
            Some(mut spare) => {
                spare.set(command);
                spare
            }
            None => ReusableBoxFuture::new(command),
        };
        match command.poll(cx) {
            Poll::Ready(Ended { answer, seat }) => {
                (self.seat, self.spare) = (Some(seat), Some(command));
                Polled::Ended(answer)
            }
            Poll::Pending => Polled::RunsOn(command),
        }
    }

    /// Gives everything back: nothing is held while nothing runs.
    pub(super) fn leave(&mut self) {
        *self = Self::default();
    }
}
