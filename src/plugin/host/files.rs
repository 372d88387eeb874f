//! `lictor:plugin/files`: single files of the machine, read whole. Granted by `files = ["/path"]`.

use std::io::{self, Read};
use std::path::Path;

use wasmtime::component::{HasSelf, Linker};

use self::bindings::lictor::plugin::files;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::instance::HostState;

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

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    files::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl files::Host for HostState {
    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        self.volume.operation(path.len())?;
        let Some(granted) = self.granted.files.get(&path).cloned() else {
            return Ok(Err(failure("denied", "this file is not granted to the plugin")));
        };
        // A disk or a network file system may keep a reader waiting, which must not hold up other requests.
        let read = tokio::task::spawn_blocking(move || read(&granted)).await?;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(self.unreadable(&path, &error))),
        };
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Ok(Err(failure("failed", "the file is larger than 1 MiB")));
        }
        self.volume.carry(bytes.len())?;
        Ok(Ok(bytes))
    }
}

impl HostState {
    fn unreadable(&self, path: &str, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::NotFound {
            return failure("not-found", "there is no such file now");
        }
        self.log.host_fault(self.call.as_ref().map(|call| call.id), &format_args!("{path}: {error}"));
        failure("unavailable", "the file can't be read")
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.into(), message: message.into() }
}

/// Reads a plain file to the bound and one byte more. What became something else since the config was read, such as a
/// pipe that nobody writes to, is not opened.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is not a plain file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
