//! Calls that are polled where their requests were read: most end there.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::room::size_bytes;
use crate::plugin::{Call, Ended, Plugin, Progress, Reply, Seat, invoke, run_ready};

/// Bytes of answers that lie here, from which on no further call is begun before they are taken.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What the calls of one turn of a connection's task hand to each other.
#[derive(Default)]
pub(super) struct InPlace {
    /// Where they run. A call that does not end at once takes it along.
    seat: Option<Seat>,
    /// The memory of the last call's future.
    spare: Option<ReusableBoxFuture<'static, Ended>>,
}

/// How far the calls went. What has no answer and does not run on has not begun.
pub(super) struct Ran {
    /// What the first of them gave.
    pub(super) answers: Vec<Reply>,
    /// The call after those: it waits, or computes for longer than a tick.
    pub(super) runs_on: Option<ReusableBoxFuture<'static, Ended>>,
}

impl InPlace {
    /// Runs `calls` one after the other, as far as they end at once, and begins none after `until` but the first, nor once
    /// there are answers enough; in the seat of the calls before them, or, where there is none, in one of `new_seat`.
    pub(super) fn run(
        &mut self,
        new_seat: impl Fn() -> Seat,
        plugin: &Arc<Plugin>,
        calls: &[Arc<Call>],
        until: Instant,
        cx: &mut Context<'_>,
    ) -> Ran {
        let mut answers = Vec::with_capacity(calls.len());
        while let Some(call) = calls.get(answers.len()) {
            let (answered, now) = (answers.len(), Instant::now());
            if answered > 0 && (now >= until || bytes_of(&answers) >= MAX_ANSWER_BYTES) {
                break;
            }
            if let Err(error) = call.check_deadline(now) {
                answers.push(Err(error));
                continue;
            }
            let in_time = calls[answered..].iter().take_while(|call| call.deadline > now).count();
            let seat = self.seat.take().unwrap_or_else(&new_seat);
            let seat = match run_ready(seat, plugin, &calls[answered..][..in_time], until, &mut answers, cx) {
                Progress::RunsOn(command) => {
                    return Ran { answers, runs_on: Some(ReusableBoxFuture::new(command)) };
                }
                Progress::Paused(seat) if answers.len() > answered => {
                    self.seat = Some(seat);
                    continue;
                }
                Progress::Paused(seat) => seat,
            };
            match self.begin(invoke(seat, Arc::clone(plugin), Arc::clone(call)), cx) {
                Ok(answer) => answers.push(answer),
                Err(command) => return Ran { answers, runs_on: Some(command) },
            }
        }
        Ran { answers, runs_on: None }
    }

    /// Polls a call once; gives it back where it did not end.
    fn begin(
        &mut self,
        command: impl Future<Output = Ended> + Send + 'static,
        cx: &mut Context<'_>,
    ) -> Result<Reply, ReusableBoxFuture<'static, Ended>> {
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
                Ok(answer)
            }
            Poll::Pending => Err(command),
        }
    }

    /// Gives everything back: nothing is held while nothing runs.
    pub(super) fn leave(&mut self) {
        *self = Self::default();
    }
}

fn bytes_of(answers: &[Reply]) -> usize {
    answers.iter().map(size_bytes).sum()
}
