//! The service manager, systemd or one that speaks as it does: what it is told, and the sockets that it hands over. Without
//! one, nothing here does anything.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::telemetry::LASTING;

/// The server serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(name: LASTING, target: "lictor::app", %error, "the service manager is not told of the reload")
        }
    }
}

/// The server is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The server is alive; of interest where the unit has `WatchdogSec`.
pub(super) fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// How long a manager that takes no message is waited for. It is told by the thread that hears signals.
const PATIENCE: Duration = Duration::from_millis(100);

fn tell(state: &[NotifyState<'_>]) {
    static IS_DEAF: AtomicBool = AtomicBool::new(false);
    let path = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
    let Some(path) = path else { return };
    let message: String = state.iter().map(|state| format!("{state}\n")).collect();
    let send = || -> std::io::Result<usize> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(path)?;
        socket.send(message.as_bytes())
    };
    let sent = send();
    let was_deaf = IS_DEAF.swap(sent.is_err(), Ordering::Relaxed);
    match sent {
        Err(error) => {
            tracing::warn!(name: LASTING, target: "lictor::app", %error, "the service manager cannot be told");
        }
        Ok(_) if was_deaf => {
            tracing::info!(name: LASTING, target: "lictor::app", "the service manager can be told again");
        }
        Ok(_) => {}
    }
}

/// The listening sockets that were handed over, by socket activation; none where the server is to open its own.
///
/// # Errors
///
/// When what was handed over are no TCP sockets.
pub(super) fn listeners() -> anyhow::Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::new();
    for place in 0..given.len() {
        let listener = given.take_tcp_listener(place);
        let listener = listener.with_context(|| format!("the handed-over socket {place} cannot be used"))?;
        listeners.extend(listener);
    }
    Ok(listeners)
}
