//! The word to stop, from one to all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Tells connections to take no further requests.
///
/// Asked once per wake-up of each connection, so asking is a load of one flag; a `CancellationToken` would take a
/// lock that all connections share.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stopping: AtomicBool,
    notify: Arc<Notify>,
}

impl Stop {
    pub(super) fn now(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// Completes at [`Self::now`], also where that came before the first poll.
    pub(super) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.0.notify).notified_owned()
    }
}
