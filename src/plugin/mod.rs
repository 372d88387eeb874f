//! Plugins: WebAssembly components, sandboxed.
//!
//! The only module that names wasmtime. It knows neither sockets nor the config file, nor permissions: a
//! [`Call`] is made of a request that was permitted and routed, and its reply is bytes or a
//! [`CommandError`](crate::wire::CommandError).

mod bindings;
mod call;
mod core_dumps;
mod cpu;
mod debug;
mod engine;
mod host;
mod instance;
mod load;
mod memory;
#[expect(clippy::module_inception, reason = "the file of the type of that name")]
mod plugin;
mod run;
mod sandbox;
mod slots;
mod spec;
mod stop;
mod stream;
mod trap;
mod world;

pub use call::{Call, Commands, Exchange, ReplyFuture, reply_bytes, timed_out};
pub use engine::{CoreDumps, Kept};
pub use host::directories::MAX_OPEN as MAX_OPEN_FILES;
pub use host::grants::{CommandGate, EventsGrant, Grants, HttpGrant, Settings, Stores};
pub use host::volume::VolumeLimits;
pub use load::alone::{Compilation, compile_alone};
pub use load::compiler::Work;
pub use load::compiling::Compiling;
pub use load::debug::DebugFault;
pub use load::difference::{Difference, Sides};
pub use load::fit::{Standing, grant_lines};
pub use load::inspect::{Inspection, inspect};
pub use plugin::Plugin;
pub use run::{Ended, Executor, Pending, Trial, run_nested, run_one, run_streaming, try_out};
pub use sandbox::{Sandbox, SandboxLimits};
pub use slots::{ClientCall, ClientLimit, ClientLimits};
pub use spec::{CommandInfo, Instances, LoadError, Spec};
pub use stop::DeadlineOf;
pub use stream::pipe::{Parts, PipeWriter, pipe};
