//! The gate of one network: how many of its handshakes may be under way, and how many strangers it may send in a second.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::network::Network;
use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// What a network that was quiet may spend at once, in time of its rate.
const BURST: Duration = Duration::from_secs(1);

/// What the connections of one network pass before their handshake.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) network: Network,
    handshakes: Semaphore,
    /// The one that waits for the rate; others wait behind it.
    first: Semaphore,
    spent: Spent,
    /// Told when something that was spent is taken back.
    returned: Notify,
    /// The one whose certificate is verified; others wait behind it.
    verified: Semaphore,
}

/// How much of a rate is spent, as the time at which it is all there again.
#[derive(Debug)]
struct Spent {
    interval: Duration,
    full_at: Mutex<Instant>,
}

/// A handshake's place in a gate; given back when dropped.
#[derive(Debug)]
pub(super) struct Passage {
    gate: Arc<Gate>,
    /// Whether the gate keeps what of its rate was taken.
    is_spent: bool,
}

/// That one certificate of a network is verified; ends when dropped.
#[derive(Debug)]
pub(super) struct Verifying(Arc<Gate>);

impl Gate {
    /// The gate of `network`, for so many handshakes at once and in a second.
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

    /// Passes, once there is a place, and the rate has something left.
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

    /// When all of the rate is there again, if nothing more is spent.
    pub(super) fn is_full_at(&self) -> Instant {
        *self.spent.full_at()
    }
}

/// A place that was taken, until it is a passage's.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.handshakes.add_permits(1);
    }
}

impl Passage {
    /// The handshake begins: what was taken of the rate is not given back when this is dropped.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// It is given back after all.
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
    /// Spends one, or tells when there will be one.
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
