//! The gate of one network: bounds its concurrent handshakes, and its strangers per second.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::network::Network;
use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// Burst that a network may spend after a quiet time, in time of its rate.
const BURST: Duration = Duration::from_secs(1);

/// Passed by the connections of one network before their handshake.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) network: Network,
    handshakes: Semaphore,
    /// Held by the handshake that waits for the rate; others wait behind it.
    first: Semaphore,
    spent: Spent,
    /// Notified when something that was spent is given back.
    returned: Notify,
    /// Held by the handshake whose certificate is verified; others wait behind it.
    verified: Semaphore,
}

/// The spent part of a rate, as the time at which the rate is full again.
#[derive(Debug)]
struct Spent {
    interval: Duration,
    full_at: Mutex<Instant>,
}

/// A handshake's place in a gate; released when dropped.
#[derive(Debug)]
pub(super) struct Passage {
    gate: Arc<Gate>,
    /// Set if the gate keeps what was taken of its rate.
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
            returned: Notify::new(),
            verified: Semaphore::new(1),
        }
    }

    /// Waits for a place, and then for the rate to have something left.
    pub(super) async fn pass(gate: &Arc<Self>) -> Option<Passage> {
        match gate.handshakes.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                Counter::HandshakesOfAddressDelayed.count();
                gate.handshakes.acquire().await.ok()?.forget();
            }
        }
        let place = Place(gate);
        gate.wait_for_rate().await?;
        std::mem::forget(place);
        Some(Passage { gate: Arc::clone(gate), is_spent: false })
    }

    async fn wait_for_rate(&self) -> Option<()> {
        let _first = self.first.acquire().await.ok()?;
        let mut is_counted = false;
        loop {
            let returned = self.returned.notified();
            let Err(at) = self.spent.spend(Instant::now()) else { return Some(()) };
            if !std::mem::replace(&mut is_counted, true) {
                Counter::HandshakesOverRate.count();
            }
            tokio::select! {
                () = sleep_until(at) => {}
                () = returned => {}
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

/// A place that was taken, until it belongs to a passage.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.handshakes.add_permits(1);
    }
}

impl Passage {
    /// Notes that the handshake begins: what was taken of the rate is kept when this is dropped.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// Lets the drop give back, after all, what was taken of the rate.
    pub(super) fn take_back(&mut self) {
        self.is_spent = false;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gate.handshakes.add_permits(1);
        if !self.is_spent {
            self.gate.spent.take_back();
            self.gate.returned.notify_one();
        }
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.0.verified.add_permits(1);
    }
}

impl Spent {
    /// Spends one handshake; if none is left, returns the time at which there will be one.
    fn spend(&self, now: Instant) -> Result<(), Instant> {
        let mut full_at = self.full_at();
        let then = (*full_at).max(now) + self.interval;
        if then <= now + BURST.max(self.interval) {
            *full_at = then;
            return Ok(());
        }
        Err(then - BURST.max(self.interval))
    }

    fn take_back(&self) {
        let mut full_at = self.full_at();
        *full_at = full_at.checked_sub(self.interval).unwrap_or(*full_at);
    }

    fn full_at(&self) -> MutexGuard<'_, Instant> {
        locked(&self.full_at)
    }
}
