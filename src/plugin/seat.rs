//! What a client's connection has while it runs calls one after the other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tokio::time::Instant;

use super::bounds::Share;
use super::invoke::Call;
use super::load::Plugin;
use super::warm::Warm;
use crate::identity::PeerIdentity;
use crate::wire::CommandError;

/// A place in which one client's calls run, one at a time: a part of its share, a slot of the sandbox, and the warm
/// instance that the last call left.
///
/// Most connections with something to do have several requests at hand, for the same plugin. So what a call needs is not
/// given back after it but handed to the next, and given back when the seat is dropped. Whoever
/// keeps a seat between two calls must not wait for anything meanwhile: what it holds is counted as running.
pub struct Seat {
    caller: PeerIdentity,
    share: Option<Share>,
    place: Option<Place>,
    warm: Option<Kept>,
}

/// What is there once for each call that runs. Both are given back when it is dropped.
struct Place {
    _share: Option<OwnedSemaphorePermit>,
    _slot: OwnedSemaphorePermit,
}

/// A warm instance, for the next call.
struct Kept {
    plugin: Arc<Plugin>,
    instance: Warm,
}

/// A part of a client's share that was taken before all else that a call needs.
pub type Reserved = OwnedSemaphorePermit;

impl Share {
    /// Takes a part of it for a call of `plugin` that ends by `deadline`, waiting where there is none. The call itself runs in a
    /// seat without a share then.
    ///
    /// # Errors
    ///
    /// `busy` or `timeout`.
    pub async fn reserve(&self, plugin: &Plugin, deadline: Instant) -> Result<Reserved, CommandError> {
        self.turn(plugin.sandbox(), deadline).await
    }
}

impl Seat {
    /// A seat for calls of `caller`, of which as many may run at once as `share` says. It holds nothing yet.
    #[must_use]
    pub fn new(caller: PeerIdentity, share: Option<Share>) -> Self {
        Self { caller, share, place: None, warm: None }
    }

    /// Gives back what the last call left.
    fn leave(&mut self) {
        self.place = None;
        self.give_back_instance();
    }

    /// Takes what `call` needs to run in `plugin`, waiting where there is none: what the last call left is as good.
    ///
    /// What is held while waiting for the next is the less scarce: a client that waits for its own calls to end holds
    /// nothing that others wait for, and one that waits for a plugin holds none of the slots that run other plugins.
    /// Whoever waits for a slot holds a turn of the plugin, which is no loss to those behind it: they would wait for a
    /// slot as well. All calls take them in this order, so none wait for each other in a circle.
    pub(super) async fn take<'a>(
        &mut self,
        plugin: &'a Plugin,
        call: &Call,
    ) -> Result<Option<SemaphorePermit<'a>>, CommandError> {
        if self.place.is_some() && plugin.turns().is_none() {
            return Ok(None);
        }
        self.leave();
        let (sandbox, deadline) = (plugin.sandbox(), call.deadline);
        let share = match &self.share {
            Some(share) => Some(share.turn(sandbox, deadline).await?),
            None => None,
        };
        let turn = plugin.turn(deadline).await?;
        self.place = Some(Place { _share: share, _slot: plugin.slot(deadline).await? });
        Ok(turn)
    }

    /// A warm instance of `plugin` that can be given several calls at once, where there is one and all else that calls
    /// need to run; nothing is waited for.
    pub(super) fn take_if_ready(&mut self, plugin: &Plugin) -> Option<Warm> {
        if !plugin.takes_many() {
            return None;
        }
        if self.place.is_none() {
            let share = match &self.share {
                Some(share) => Some(share.turn_if_free()?),
                None => None,
            };
            self.place = Some(Place { _share: share, _slot: plugin.runtime().slot_if_free()? });
        }
        self.take_instance(plugin)
    }

    /// A warm instance of `plugin`, where there is one.
    pub(super) fn take_instance(&mut self, plugin: &Plugin) -> Option<Warm> {
        match self.warm.take() {
            Some(warm) if std::ptr::eq(&*warm.plugin, plugin) => Some(warm.instance),
            other => {
                self.warm = other;
                self.give_back_instance();
                plugin.pool().take(&self.caller)
            }
        }
    }

    /// Keeps an instance of `plugin` that ended a call well, unless it is not to be called again.
    pub(super) fn keep_instance(&mut self, plugin: &Arc<Plugin>, instance: Warm) {
        if plugin.pool().may_keep(&instance) {
            self.warm = Some(Kept { plugin: Arc::clone(plugin), instance });
        }
    }

    fn give_back_instance(&mut self) {
        if let Some(Kept { plugin, instance }) = self.warm.take() {
            plugin.pool().give_back(&self.caller, instance);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
