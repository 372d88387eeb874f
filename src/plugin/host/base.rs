//! WASI's state of one instance: its context, its standard streams and its folders.

use std::sync::Arc;

use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::filesystem::Dir;

use super::stdio::{CallLabel, PluginLog, Stdio, Stream};
use crate::plugin::call::Call;

/// The most random bytes that a guest gets at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// The folders of an instance, with the names under which the plugin sees them.
pub(in crate::plugin) type Folders = Vec<(Dir, String)>;

/// The state of WASI for one instance.
pub(in crate::plugin) struct Base {
    pub(super) context: WasiCtx,
    streams: [Stdio; 2],
    /// The granted folders, opened at the first use of the file system.
    pub(super) folders: Option<Folders>,
}

impl Base {
    pub(super) fn new(log: &Arc<PluginLog>, call: Option<&Call>) -> Box<Self> {
        let streams = [Stream::Out, Stream::Err].map(|stream| Stdio::new(Arc::clone(log), stream));
        let [out, err] = streams.clone();
        let context = WasiCtx::builder().stdout(out).stderr(err).max_random_size(MAX_RANDOM_BYTES).build();
        let base = Self { context, streams, folders: None };
        base.begin(call);
        Box::new(base)
    }

    /// Attributes output from now on to `call`.
    pub(in crate::plugin) fn begin(&self, call: Option<&Call>) {
        self.streams.iter().for_each(|stream| stream.begin(call.map(CallLabel::from)));
    }

    /// Grants the current call its budget of output once more.
    pub(in crate::plugin) fn renew(&self) {
        self.streams.iter().for_each(Stdio::renew);
    }
}
