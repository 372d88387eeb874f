//! The bound on completed replies that a connection buffers until its client reads them.
//!
//! Every reply of a command that ran as a task passes here, since only a [`ReplyBudget`] makes what is
//! collected of a task. So a client that does not read leaves at most the budget, one larger reply, and the
//! replies of commands that still hold their slot.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plugin::reply_bytes;
use crate::wire::{CommandError, Reply};

/// Completed replies that a connection may buffer while its socket is blocked, in bytes. A command whose
/// reply does not fit keeps its slot, so a client that stops reading cannot pile up more replies than it has
/// calls running.
const MAX_REPLY_BYTES: u32 = 256 << 10;

/// The budget of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ReplyBudget(Arc<Semaphore>);

/// A reply, and its part of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) reply: Reply,
    _part: Option<OwnedSemaphorePermit>,
}

impl Default for ReplyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REPLY_BYTES as usize)))
    }
}

impl ReplyBudget {
    /// Holds a reply, and `beside` more bytes. Until the budget has that many left, `slot`, in
    /// which the command ran, is held too.
    pub(super) async fn hold<P>(self, reply: Reply, beside: usize, slot: P) -> Completed {
        let part = self.part(reply_bytes(&reply) + beside).await;
        drop(slot);
        Completed { reply, _part: part }
    }

    /// Takes `bytes` of the budget, and only then reads a reply of at most that size.
    pub(super) async fn read<F>(&self, bytes: usize, reply: F) -> Option<Completed>
    where
        F: Future<Output = Option<Reply>>,
    {
        let part = self.part(bytes).await;
        Some(Completed { reply: reply.await?, _part: part })
    }

    async fn part(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_REPLY_BYTES);
        Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()
    }
}

impl Completed {
    /// An error of the server's own, in place of a reply that was lost.
    pub(super) fn instead(error: CommandError) -> Self {
        Self { reply: Err(error), _part: None }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MOST: usize = MAX_REPLY_BYTES as usize;

    #[test]
    fn a_reply_that_does_not_fit_holds_its_slot_and_is_read_later() {
        let budget = ReplyBudget::default();
        let first = budget.clone().hold(Ok(vec![0; MOST - 10]), 0, ()).now_or_never().unwrap();
        let slot = Arc::new(());
        let words = CommandError::failed(crate::wire::Code::Denied, "eleven byte");
        let mut second = Box::pin(budget.clone().hold(Err(words), 0, Arc::clone(&slot)));
        assert!((&mut second).now_or_never().is_none() && Arc::strong_count(&slot) == 2);
        let mut has_read = false;
        let mut third = Box::pin(budget.read(5, async {
            has_read = true;
            Some(Ok(vec![0; 5]))
        }));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().unwrap();
        assert_eq!((reply_bytes(&second.reply), Arc::strong_count(&slot)), (11, 1));
        assert!(third.now_or_never().unwrap().is_some() && has_read);
    }

    #[test]
    fn one_larger_than_the_budget_has_it_alone() {
        let budget = ReplyBudget::default();
        let large = budget.clone().hold(Ok(vec![0; 3 * MOST]), 0, ()).now_or_never().unwrap();
        assert!(budget.clone().hold(Ok(vec![0]), 0, ()).now_or_never().is_none());
        assert!(budget.clone().hold(Ok(Vec::new()), 1, ()).now_or_never().is_none());
        drop(large);
        assert!(budget.hold(Ok(vec![0]), 0, ()).now_or_never().is_some());
    }
}
