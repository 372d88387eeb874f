//! Plugins: WebAssembly components, sandboxed.
//!
//! The only module that names wasmtime. It knows neither sockets nor the config file, nor who may run what: a
//! [`Call`] comes from a request that was permitted and routed, and what goes back is bytes or a
//! [`CommandError`](crate::wire::CommandError).

mod alone;
mod backtrace;
mod bindings;
mod bounds;
mod cache;
mod call;
mod compile;
mod compiler;
mod compiling;
mod compute;
mod confine;
mod debug;
mod definitions;
mod describe;
mod dumps;
mod dwarf;
mod fit;
mod folder;
mod host;
mod inspect;
mod instance;
mod load;
mod places;
mod pool;
mod run;
mod runtime;
mod sandbox;
mod slots;
mod stop;
mod store;
mod stream;
mod ticker;
mod topics;
mod trap;
mod warm;
mod worker;
mod world;

pub use alone::{Compilation, compile_alone};
pub use call::{Call, Commands, Exchange, Reply, ReplyFuture, reply_bytes};
pub use compiler::Work;
pub use compiling::Compiling;
pub use debug::DebugFault;
pub use describe::CommandInfo;
pub use fit::{Standing, grant_lines};
pub use host::{CommandGate, EventsGrant, Grants, HttpGrant, MAX_OPEN_FILES, Stores, VolumeLimits};
pub use inspect::{Inspection, inspect};
pub use load::{LoadError, Plugin, Spec};
pub use pool::Instances;
pub use run::{
    Ended, Executor, Pending, Ran, Trial, run_nested, run_reserved, run_streaming, run_whole, try_out,
};
pub use sandbox::{CoreDumps, Kept, Sandbox, SandboxLimits};
pub use slots::{ClientLimit, ClientLimits, ClientSlot};
pub use stop::DeadlineOf;
pub use stream::{Outlet, Parts, pipe};
