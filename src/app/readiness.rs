//! The server's state as the pages of `[admin]` show it: from the start of the process to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::time::timeout;

use super::live::Live;
use crate::admin::{Check, Content};
use crate::reload;
use crate::watermark;

/// Longest wait for the state's engine.
const STATE_TIME: Duration = Duration::from_secs(1);

const STARTING: &str = "the server is starting: its plugins are being loaded";
const STOPPING: &str = "the server is stopping";

/// The phases of the server, and its checks.
pub(super) struct Readiness {
    reloads: reload::Handle,
    /// Set when the server serves. Weak, since the server has to be dropped when it has stopped.
    live: OnceLock<Weak<Live>>,
    is_stopping: AtomicBool,
}

impl Readiness {
    /// Makes the state of a server that is starting.
    pub(super) fn new(reloads: reload::Handle) -> Self {
        Self { reloads, live: OnceLock::new(), is_stopping: AtomicBool::new(false) }
    }

    /// Records that `live` serves.
    pub(super) fn serve(&self, live: &Arc<Live>) {
        // Called once.
        let _ = self.live.set(Arc::downgrade(live));
    }

    /// Records that the server is stopping.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// The server, or the reason why there is none.
    fn live(&self) -> Result<Arc<Live>, &'static str> {
        self.live.get().ok_or(STARTING)?.upgrade().ok_or(STOPPING)
    }
}

impl Content for Readiness {
    fn metrics(&self) -> Result<String, String> {
        self.live().map(|live| live.server.metrics()).map_err(str::to_owned)
    }

    fn readiness(&self) -> Pin<Box<dyn Future<Output = Vec<Check>> + Send + '_>> {
        Box::pin(async {
            let live = self.live();
            let state = match &live {
                Err(_) => Some("it is not open".to_owned()),
                Ok(live) => state_fault(live).await,
            };
            let note = "the last reload failed, and the config before it is in force";
            let note = Some(note).filter(|_| self.reloads.status().has_failed());
            let short = watermark::is_passed().then(|| "it is short: calls are refused".to_owned());
            let stopping = self.is_stopping.load(Ordering::Relaxed).then(|| STOPPING.to_owned());
            vec![
                Check::new("listening", live.err().map(str::to_owned)),
                Check { note, ..Check::new("config", None) },
                Check::new("state", state),
                Check::new("memory", short),
                Check::new("drain", stopping),
            ]
        })
    }
}

/// Reads from the state's engine; returns the fault, in words for anybody.
async fn state_fault(live: &Live) -> Option<String> {
    let served = live.served();
    match timeout(STATE_TIME, served.current.service.idempotency.check()).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("its engine cannot be read".to_owned()),
        Err(_elapsed) => Some("its engine does not answer".to_owned()),
    }
}
