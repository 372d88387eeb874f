//! `lictor:plugin/files`: single files of the machine, read whole. Granted by `files = ["/path"]`.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use self::bindings::lictor::plugin::files;
use super::context::HostState;
use super::interface::{Grant, Interface};
use super::ungranted::Ungranted;
use crate::files::{Fault, Opened, Reason, Reserved};
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::text::shown;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world files { import lictor:plugin/files@0.1.0; }",
        imports: { default: async | trappable },
        with: { "lictor:plugin/types": crate::plugin::bindings::lictor::plugin::types },
    });
}

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Characters of a file's path that are logged.
const MAX_PATH_CHARS: usize = 256;

pub(super) const INTERFACE: Interface = Interface {
    names: &["lictor:plugin/files"],
    version: (0, 1),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\nfiles = [\"/PATH\"]",
        is_in: |grants| grants.files.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    files::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl files::Host for HostState {
    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        let _span = self.operation("files.read", path.len())?;
        let files = self.granted.grants.files.as_ref();
        let Some(granted) = files.and_then(|files| files.get(&path)).map(|file| file.note().clone()) else {
            self.log.not_granted(self.label().as_ref(), ungranted(&path));
            return Ok(Err(failure("denied", "this file is not granted to the plugin")));
        };
        let reserved = Arc::clone(&self.granted.reserved);
        // A slow disk or network file system must not hold up other requests.
        let read = tokio::task::spawn_blocking(move || read(&granted, &reserved)).await?;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(unreadable) => return Ok(Err(self.unreadable(&path, &unreadable))),
        };
        self.volume.carry(bytes.len())?;
        Ok(Ok(bytes))
    }
}

impl HostState {
    fn unreadable(&self, path: &str, unreadable: &Unreadable) -> Failure {
        let refuse = |code, words| {
            let path = shown(path, MAX_PATH_CHARS);
            self.log.host_refused(self.label().as_ref(), &format!("{path}: {words}"));
            failure(code, words)
        };
        let words = match unreadable {
            Unreadable::Fault(fault) if fault.is_missing() => {
                return refuse("not-found", "there is no such file now");
            }
            Unreadable::Fault(Fault { reason: Reason::TooLarge { .. }, .. }) => {
                return refuse("failed", "the file is larger than 1 MiB");
            }
            Unreadable::Fault(fault) => fault.to_string(),
            Unreadable::Withheld(what) => {
                format!("{path}: it leads to a path that no plugin may read: {what}")
            }
        };
        self.log.host_fault(self.label().as_ref(), &words, None);
        match unreadable {
            Unreadable::Withheld(_)
            | Unreadable::Fault(Fault { reason: Reason::Link { .. } | Reason::Held, .. }) => {
                failure("denied", "what stands there now is not granted to the plugin")
            }
            Unreadable::Fault(_) => failure("unavailable", "the file can't be read"),
        }
    }
}

fn ungranted(path: &str) -> Ungranted<'_> {
    Ungranted { kind: "the file", name: path, key: "files", verb: "", option: Some("--file") }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.into(), message: message.into() }
}

/// The reason for not reading a granted file.
enum Unreadable {
    Fault(Fault),
    /// The path became, or leads to, this.
    Withheld(&'static str),
}

/// Reads a file after checking it again: it may have been replaced since the config was read.
fn read(path: &Path, reserved: &Reserved) -> Result<Vec<u8>, Unreadable> {
    let opened = Opened::file(path).map_err(Unreadable::Fault)?;
    match reserved.withholds(&opened) {
        Some(what) => Err(Unreadable::Withheld(what)),
        None => opened.bytes(MAX_FILE_BYTES).map_err(Unreadable::Fault),
    }
}
