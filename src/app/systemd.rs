//! The service manager, systemd or one that speaks as it does: what it is told, and the sockets that it hands over. Without
//! one, nothing here does anything.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::sync::locked;

/// The server serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(target: "lictor::app", %error, "the service manager is not told of the reload")
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
    /// Why it could not be told the last time. It is told twice a second, and one fault is one line.
    static FAULT: Mutex<Option<String>> = Mutex::new(None);
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message: String = state.iter().map(|state| format!("{state}\n")).collect();
    let send = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(path)?;
        socket.send(message.as_bytes())
    };
    let fault = send().err().map(|error: std::io::Error| error.to_string());
    let mut last = locked(&FAULT);
    if let Some(error) = fault.as_deref().filter(|_| *last != fault) {
        tracing::warn!(target: "lictor::app", error, "the service manager cannot be told");
    }
    *last = fault;
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
