//! The gate of one network: bounds its concurrent handshakes, and its strangers per second.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::network::Network;
use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// Burst that a network may spend after a quiet time, as a time at its rate.
const BURST: Duration = Duration::from_secs(1);

/// Passed by the connections of one network before their handshake.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) network: Network,
    handshakes: Semaphore,
    /// Held by the handshake that waits for the rate; others wait behind it.
    first: Semaphore,
    spent: Spent,
    /// Notified when a token is refunded.
    refunded: Notify,
    /// Held by the handshake whose certificate is verified; others wait behind it.
    verified: Semaphore,
}

/// The spent tokens of a rate, as the time at which all are available again.
#[derive(Debug)]
struct Spent {
    interval: Duration,
    full_at: Mutex<Instant>,
}

/// A handshake's permit of a gate; released when dropped.
#[derive(Debug)]
pub(super) struct Passage {
    gate: Arc<Gate>,
    /// Set if the token stays spent after the drop.
    is_spent: bool,
}

/// Permission to verify one certificate of a network; released when dropped.
#[derive(Debug)]
pub(super) struct Verifying(Arc<Gate>);

impl Gate {
    /// Makes the gate of `network`, for so many concurrent handshakes and so many per second.
    pub(super) fn new(network: Network, handshakes: usize, per_second: u32) -> Self {
        Self {
            network,
            handshakes: Semaphore::new(handshakes.min(Semaphore::MAX_PERMITS)),
            first: Semaphore::new(1),
            spent: Spent {
                interval: Duration::from_secs(1) / per_second.max(1),
                full_at: Mutex::new(Instant::now()),
            },
            refunded: Notify::new(),
            verified: Semaphore::new(1),
        }
    }

    /// Acquires a permit for a handshake, and then a token of the rate.
    pub(super) async fn pass(gate: &Arc<Self>) -> Option<Passage> {
        match gate.handshakes.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                Counter::HandshakesOfAddressDelayed.count();
                gate.handshakes.acquire().await.ok()?.forget();
            }
        }
        let held = Held(gate);
        gate.wait_for_rate().await?;
        std::mem::forget(held);
        Some(Passage { gate: Arc::clone(gate), is_spent: false })
    }

    async fn wait_for_rate(&self) -> Option<()> {
        let _first = self.first.acquire().await.ok()?;
        let mut is_counted = false;
        loop {
            let refunded = self.refunded.notified();
            let Err(at) = self.spent.spend(Instant::now()) else { return Some(()) };
            if !std::mem::replace(&mut is_counted, true) {
                Counter::HandshakesOverRate.count();
            }
            tokio::select! {
                () = sleep_until(at) => {}
                () = refunded => {}
            }
        }
    }

    /// Waits until no other certificate of the network is verified.
    pub(super) async fn verify(gate: &Arc<Self>) -> Option<Verifying> {
        gate.verified.acquire().await.ok()?.forget();
        Some(Verifying(Arc::clone(gate)))
    }

    /// Returns the time at which the rate is full again, if nothing more is spent.
    pub(super) fn full_again_at(&self) -> Instant {
        *self.spent.full_at()
    }
}

/// An acquired permit, until it belongs to a passage.
struct Held<'a>(&'a Gate);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.handshakes.add_permits(1);
    }
}

impl Passage {
    /// Notes that the handshake begins: the token of the rate stays spent when this is dropped.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// Has the drop refund the token of the rate after all.
    pub(super) fn refund(&mut self) {
        self.is_spent = false;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gate.handshakes.add_permits(1);
        if !self.is_spent {
            self.gate.spent.refund();
            self.gate.refunded.notify_one();
        }
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.0.verified.add_permits(1);
    }
}

impl Spent {
    /// Spends one token; if none is left, returns the time at which there will be one.
    fn spend(&self, now: Instant) -> Result<(), Instant> {
        let mut full_at = self.full_at();
        let then = (*full_at).max(now) + self.interval;
        if then <= now + BURST.max(self.interval) {
            *full_at = then;
            return Ok(());
        }
        Err(then - BURST.max(self.interval))
    }

    fn refund(&self) {
        let mut full_at = self.full_at();
        *full_at = full_at.checked_sub(self.interval).unwrap_or(*full_at);
    }

    fn full_at(&self) -> MutexGuard<'_, Instant> {
        locked(&self.full_at)
    }
}
