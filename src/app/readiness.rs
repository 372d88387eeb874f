//! The server's state as the pages of `[admin]` show it: from the start of the process to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::spawn;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::live::Live;
use crate::admin::{Check, Content};
use crate::reload;
use crate::state::StateError;
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
    /// The look at the state that is under way: however many ask, a disk that hangs holds up one thread.
    state: Mutex<Option<JoinHandle<Result<(), StateError>>>>,
}

impl Readiness {
    /// Makes the state of a server that is starting.
    pub(super) fn new(reloads: reload::Handle) -> Self {
        Self { reloads, live: OnceLock::new(), is_stopping: AtomicBool::new(false), state: Mutex::default() }
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

    /// Reads from the state's engine; returns the fault, in words for anybody.
    async fn state_fault(&self, live: &Live) -> Option<String> {
        let look = async {
            let mut under_way = self.state.lock().await;
            let service = Arc::clone(&live.served().current.service);
            let look =
                under_way.get_or_insert_with(|| spawn(async move { service.idempotency.check().await }));
            let looked = look.await;
            *under_way = None;
            looked
        };
        match timeout(STATE_TIME, look).await {
            Ok(Ok(Ok(()))) => None,
            Ok(_) => Some("its engine cannot be read".to_owned()),
            Err(_elapsed) => Some("its engine does not answer".to_owned()),
        }
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
                Ok(live) => self.state_fault(live).await,
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
