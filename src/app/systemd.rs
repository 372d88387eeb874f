//! The service manager, systemd or one with the same protocol: notifications to it, and listening sockets
//! from it. Does nothing without one.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::telemetry::LASTING;

/// Reports that the server serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reports that a reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(name: LASTING, target: "lictor::app", %error, "the service manager is not told of the reload")
        }
    }
}

/// Reports that the server is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Reports that the server is alive, if the unit has `WatchdogSec`.
pub(super) fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// Longest wait for a manager that accepts no message, because the thread that handles signals sends it.
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

/// Returns the listening sockets from socket activation; none if the server is to open its own.
///
/// # Errors
///
/// If a given socket is not a TCP socket.
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
