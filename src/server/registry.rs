//! The connections that are served, and the signals sent to them: to stop, to use another config, to
//! disconnect.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use super::close_reason::CloseReason;
use crate::identity::{ClientUri, KnownBy, PeerIdentity, Rejection, Thumbprint};
use crate::network::PeerAddress;
use crate::sync::locked;
use crate::telemetry::ConnectionId;

/// The handle by which others signal one connection.
pub(super) struct ConnectionHandle {
    pub(super) id: ConnectionId,
    /// Replaced after a reload by which the client is identified by something else, or admitted until another
    /// time.
    identity: Mutex<PeerIdentity>,
    pub(super) peer: PeerAddress,
    pub(super) since: Instant,
    requests: AtomicU64,
    /// Time when its last request was read, in milliseconds after `since`.
    last_request: AtomicU64,
    signals: AtomicU8,
    disconnect: Mutex<Option<Disconnect>>,
    /// Wakes the connection's task, which stays the same. It is woken by reference and never taken out:
    /// otherwise a signal that comes while another one is taken would take the waker that the next one needs.
    waker: OnceLock<Waker>,
}

/// The reason for which a connection is cut off, and the words for its client.
#[derive(Clone, Debug)]
pub(super) struct Disconnect {
    pub(super) reason: CloseReason,
    pub(super) words: String,
    /// Details for the log.
    pub(super) detail: Option<String>,
}

impl Disconnect {
    /// The client is no longer admitted.
    pub(super) fn revoked(rejection: &Rejection) -> Self {
        let detail = rejection.detail().map(str::to_owned);
        Self { reason: CloseReason::Revoked, words: rejection.to_string(), detail }
    }

    /// The client has more connections than the `most` that it may have.
    fn over_connections(most: usize) -> Self {
        let words = format!("Too many connections: this client may have {most} at once");
        Self { reason: CloseReason::OverConnections, words, detail: None }
    }
}

/// Signals that a connection has not acted on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signals(u8);

impl Signals {
    const STOP: u8 = 1;
    const RENEW: u8 = 2;
    const DISCONNECT: u8 = 4;
    /// Check whether memory is short. Waking the connection is enough.
    const MEMORY: u8 = 8;

    /// Take no further request.
    pub(super) fn stop(self) -> bool {
        self.0 & Self::STOP != 0
    }

    /// Go on under the config now in force.
    pub(super) fn renew(self) -> bool {
        self.0 & Self::RENEW != 0
    }
}

impl ConnectionHandle {
    fn new(id: ConnectionId, identity: PeerIdentity, peer: PeerAddress) -> Self {
        Self {
            id,
            identity: Mutex::new(identity),
            peer,
            since: Instant::now(),
            requests: AtomicU64::new(0),
            last_request: AtomicU64::new(0),
            signals: AtomicU8::new(0),
            disconnect: Mutex::default(),
            waker: OnceLock::new(),
        }
    }

    /// Returns the client's identity.
    pub(super) fn identity(&self) -> PeerIdentity {
        locked(&self.identity).clone()
    }

    /// Replaces the identity by that of the same client, admitted anew.
    pub(super) fn set_identity(&self, identity: PeerIdentity) {
        *locked(&self.identity) = identity;
    }

    /// Returns true if there are signals. Loads the connection's own memory, so it may be called on every
    /// poll.
    pub(super) fn has_signals(&self) -> bool {
        self.signals.load(Ordering::Relaxed) != 0
    }

    /// Takes the signals; further ones wake `waker`.
    pub(super) fn take_signals(&self, waker: &Waker) -> Signals {
        self.waker.get_or_init(|| waker.clone());
        Signals(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Takes the disconnect, if there is one.
    pub(super) fn take_disconnect(&self) -> Option<Disconnect> {
        locked(&self.disconnect).take()
    }

    /// Cuts the connection off. The first reason holds.
    pub(super) fn disconnect(&self, disconnect: Disconnect) {
        locked(&self.disconnect).get_or_insert(disconnect);
        self.signal(Signals::DISCONNECT);
    }

    /// Signals the connection to take no further request.
    pub(super) fn stop(&self) {
        self.signal(Signals::STOP);
    }

    /// Records the number of requests that were read, and the time of the last.
    pub(super) fn record_requests(&self, requests: u64, at: tokio::time::Instant) {
        let after = at.into_std().saturating_duration_since(self.since);
        self.last_request.store(u64::try_from(after.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.requests.store(requests, Ordering::Relaxed);
    }

    /// Returns the number of requests that were read.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the time since the last request, or, if there was none, since the admission.
    pub(super) fn unused(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last_request.load(Ordering::Relaxed)))
    }

    fn signal(&self, signal: u8) {
        // Before the load of the waker: either the connection sees the signal, or this sees its waker.
        self.signals.fetch_or(signal, Ordering::AcqRel);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// All connections that are served, and the record of each client since the start.
#[derive(Default)]
pub(super) struct Registry {
    present: Mutex<Present>,
    clients: Mutex<HashMap<Arc<str>, Record>>,
    is_stopping: AtomicBool,
}

/// The connections that are served.
#[derive(Default)]
struct Present {
    by_id: HashMap<u64, Arc<ConnectionHandle>>,
    /// How many each client has, without those that are cut off.
    of_client: HashMap<Arc<str>, usize>,
    /// Those of `by_id` that are cut off, and take a moment to end.
    cut_off: HashSet<u64>,
}

impl Present {
    fn enter(&mut self, client: Arc<str>, handle: &Arc<ConnectionHandle>) {
        *self.of_client.entry(client).or_default() += 1;
        self.by_id.insert(handle.id.0, Arc::clone(handle));
    }

    fn leave(&mut self, client: &str, id: ConnectionId) {
        self.by_id.remove(&id.0);
        if !self.cut_off.remove(&id.0) {
            self.count_out(client);
        }
    }

    fn count_out(&mut self, client: &str) {
        if let Some(count) = self.of_client.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(client);
            }
        }
    }

    fn count_of(&self, client: &str) -> usize {
        self.of_client.get(client).copied().unwrap_or_default()
    }
}

/// A client's record since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Time when its last request was read, on connections that have ended.
    pub(super) last_use: Option<SystemTime>,
    /// The certificates that the client came with, of those that expire last.
    pub(super) certificates: HashMap<Thumbprint, Seen>,
}

/// A certificate that a client came with.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its expiry.
    pub(super) ends: SystemTime,
    /// The URI by which the client was identified, if it was by one.
    pub(super) uri: Option<ClientUri>,
}

/// Most certificates recorded of a client. An authority may issue a new one each hour.
const MAX_SEEN: usize = 16;

impl Record {
    fn remember(&mut self, identity: &PeerIdentity) {
        let uri = match identity.known_by() {
            KnownBy::Pin => None,
            KnownBy::Uri { uri, .. } => Some(uri.clone()),
        };
        let seen = Seen { ends: identity.validity().not_after, uri };
        self.certificates.insert(identity.thumbprint(), seen);
        if self.certificates.len() > MAX_SEEN {
            let first = self.certificates.iter().min_by_key(|(_, seen)| seen.ends);
            if let Some(first) = first.map(|(thumbprint, _)| *thumbprint) {
                self.certificates.remove(&first);
            }
        }
    }
}

/// A connection's entry in the registry; removed when dropped.
pub(super) struct Registration {
    registry: Arc<Registry>,
    handle: Arc<ConnectionHandle>,
}

impl Registration {
    pub(super) fn handle(&self) -> Arc<ConnectionHandle> {
        Arc::clone(&self.handle)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let client = self.handle.identity().name_shared();
        locked(&self.registry.present).leave(&client, self.handle.id);
        let last_use = SystemTime::now().checked_sub(self.handle.unused());
        let mut clients = locked(&self.registry.clients);
        let record = clients.entry(client).or_default();
        record.last_use = record.last_use.max(last_use);
    }
}

impl Registry {
    /// Adds a connection, until the returned value is dropped. `most` returns the number of connections that
    /// the client may have, if it has such a limit.
    ///
    /// # Errors
    ///
    /// The words for the client, if it has that many already.
    pub(super) fn join(
        self: &Arc<Self>,
        id: ConnectionId,
        identity: PeerIdentity,
        peer: PeerAddress,
        most: impl FnOnce() -> Option<usize>,
    ) -> Result<Registration, Disconnect> {
        let client = identity.name_shared();
        let handle = Arc::new(ConnectionHandle::new(id, identity.clone(), peer));
        {
            let mut present = locked(&self.present);
            // Asked under the lock: a limit that is lowered meanwhile either is known here, or
            // `cut_off_excess` finds this connection.
            if let Some(most) = most().filter(|most| present.count_of(&client) >= *most) {
                return Err(Disconnect::over_connections(most));
            }
            present.enter(Arc::clone(&client), &handle);
        }
        locked(&self.clients).entry(client).or_default().remember(&identity);
        // Either `close` finds it among the present, or this sees that the server is stopping.
        if self.is_stopping() {
            handle.stop();
        }
        // The config may have changed since the handshake; have the connection re-check.
        handle.signal(Signals::RENEW);
        Ok(Registration { registry: Arc::clone(self), handle })
    }

    /// Has all that join from now on take no request, and returns those present, in no order, which are to be
    /// [told](ConnectionHandle::stop) the same.
    pub(super) fn close(&self) -> Vec<Arc<ConnectionHandle>> {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.present()
    }

    /// Tells all connections to go on under the config now in force.
    pub(super) fn renew(&self) {
        self.signal(Signals::RENEW);
    }

    /// Tells all connections to check whether memory is short.
    pub(super) fn check_memory(&self) {
        self.signal(Signals::MEMORY);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Cuts off connections whose certificate is not valid at `now`.
    pub(super) fn cut_off_expired(&self, now: SystemTime) {
        for connection in self.present() {
            if let Err(rejection) = connection.identity().check_validity(now) {
                connection.disconnect(Disconnect::revoked(&rejection));
            }
        }
    }

    /// Stops counting a connection that is cut off: its client may have another from now on.
    pub(super) fn count_out(&self, connection: &ConnectionHandle) {
        let client = connection.identity().name_shared();
        let mut present = locked(&self.present);
        if present.by_id.contains_key(&connection.id.0) && present.cut_off.insert(connection.id.0) {
            present.count_out(&client);
        }
    }

    /// Cuts off the newest connections of clients that have more than their number in `most`.
    pub(super) fn cut_off_excess(&self, most: &HashMap<Arc<str>, usize>) {
        let (mut left, counted) = {
            let present = locked(&self.present);
            let over = most.iter().filter(|(client, most)| present.count_of(client) > **most);
            let left: HashMap<&str, usize> = over.map(|(client, most)| (&**client, *most)).collect();
            if left.is_empty() {
                return;
            }
            let counted = present.by_id.values().filter(|it| !present.cut_off.contains(&it.id.0));
            (left, in_order(counted.cloned()))
        };
        for connection in counted {
            let identity = connection.identity();
            match left.get_mut(identity.name()) {
                Some(0) => connection.disconnect(Disconnect::over_connections(most[identity.name()])),
                Some(left) => *left -= 1,
                None => {}
            }
        }
    }

    /// Returns the connection `id`.
    pub(super) fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionHandle>> {
        locked(&self.present).by_id.get(&id.0).cloned()
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        locked(&self.present).by_id.len()
    }

    /// Returns all connections, in the order of their numbers.
    pub(super) fn all(&self) -> Vec<Arc<ConnectionHandle>> {
        in_order(self.present().into_iter())
    }

    /// Returns the record of the client `name`; `None` if it was not here since the start.
    pub(super) fn record(&self, name: &str) -> Option<Record> {
        locked(&self.clients).get(name).cloned()
    }

    fn present(&self) -> Vec<Arc<ConnectionHandle>> {
        locked(&self.present).by_id.values().cloned().collect()
    }

    fn signal(&self, signal: u8) {
        self.present().iter().for_each(|connection| connection.signal(signal));
    }
}

fn in_order(connections: impl Iterator<Item = Arc<ConnectionHandle>>) -> Vec<Arc<ConnectionHandle>> {
    let mut connections: Vec<_> = connections.collect();
    connections.sort_unstable_by_key(|connection| connection.id.0);
    connections
}
