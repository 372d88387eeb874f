//! The core dump of a call that broke off.

use std::sync::Arc;

use crate::plugin::call::Call;
use crate::plugin::instance::guest::Guest;
use crate::plugin::plugin::{Loaded, Plugin};
use crate::telemetry::LASTING;

/// Writes the core dump of `error`, by which `call` broke off in `guest`, if the server keeps dumps.
///
/// That takes tenths of a second for a large memory, so it is done on a thread for blocking work while the
/// call is answered. The guest is kept until then, so one dump is written at a time: traps in a row leave
/// fewer dumps than there were traps.
pub(super) fn keep(plugin: &Plugin, call: &Call, guest: Guest, error: wasmtime::Error) {
    let (_, Loaded { sandbox, debug, .. }) = plugin.parts();
    let Some(dumps) = sandbox.dumps() else { return };
    let debug = Arc::clone(debug);
    let (plugin, client, request) = (plugin.name().to_owned(), call.caller.name_shared(), call.id());
    let Some(writing) = dumps.begin() else {
        tracing::info!(target: "lictor::plugin", plugin, client = &*client, %request, "no core dump: another is being written");
        return;
    };
    tokio::task::spawn_blocking(move || {
        let Some(dump) = guest.into_core_dump(&error, &plugin, debug.places()) else { return };
        // Before the log: whoever reads there of this dump may make the next one.
        match writing.finish(&plugin, &request.to_string(), &dump) {
            Ok(path) => {
                let (path, bytes) = (path.display(), dump.len());
                tracing::warn!(target: "lictor::plugin", plugin, client = &*client, %request, %path, bytes, "core dump");
            }
            Err(error) => {
                tracing::error!(
                    name: LASTING, target: "lictor::plugin", plugin, client = &*client, %request, %error,
                    "no core dump"
                )
            }
        }
    });
}
