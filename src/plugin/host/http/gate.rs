//! The URLs that a plugin may send requests to, and the permits that its requests share.

use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};
use tokio_rustls::TlsConnector;

use super::allow::Allowed;
use crate::plugin::host::grants::HttpGrant;
use crate::usage::Observed;

/// Look-ups of names in flight at the same time, of all plugins: each takes a thread. More wait.
const MAX_LOOKUPS: usize = 32;

/// The same for one plugin, so that a slow name server of one leaves permits to the others.
const MAX_LOOKUPS_OF_PLUGIN: usize = 8;

/// State shared by the requests of all plugins.
pub(in crate::plugin) struct Web {
    max_requests: usize,
    pub(super) requests: Arc<Semaphore>,
    pub(super) lookups: Arc<Semaphore>,
    /// Made at the first request that needs it.
    pub(super) tls: OnceCell<TlsConnector>,
}

impl Web {
    pub(in crate::plugin) fn new(max_requests: usize) -> Self {
        let [requests, lookups] = [max_requests, MAX_LOOKUPS].map(|count| Arc::new(Semaphore::new(count)));
        Self { max_requests, requests, lookups, tls: OnceCell::new() }
    }
}

/// One plugin's grant, in the form in which requests are checked.
pub(in crate::plugin) struct Gate {
    pub(super) allowed: Vec<Observed<Allowed>>,
    /// This plugin's permits, half as many as there are for all.
    pub(super) requests: Arc<Semaphore>,
    pub(super) lookups: Arc<Semaphore>,
    pub(super) web: Arc<Web>,
}

impl Gate {
    pub(in crate::plugin::host) fn new(grant: &HttpGrant, web: Arc<Web>) -> Self {
        let allowed = grant
            .urls
            .iter()
            .filter_map(|url| url.filter_map(|(url, networks)| Allowed::parse(url, networks)));
        let counts = [web.max_requests.div_ceil(2), MAX_LOOKUPS_OF_PLUGIN];
        let [requests, lookups] = counts.map(|count| Arc::new(Semaphore::new(count)));
        Self { allowed: allowed.collect(), requests, lookups, web }
    }
}
