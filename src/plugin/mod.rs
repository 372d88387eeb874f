//! Plugins: WebAssembly components, sandboxed.
//!
//! The only module that names wasmtime. It knows neither sockets nor the config file, nor who may run what: a
//! [`Call`] comes from a request that was permitted and routed, and what goes back is bytes or a
//! [`CommandError`](crate::wire::CommandError).

mod alone;
mod backtrace;
mod batch;
mod bindings;
mod bounds;
mod cache;
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
mod failure;
mod folder;
mod host;
mod inspect;
mod instance;
mod invoke;
mod load;
mod places;
mod pool;
mod runtime;
mod sandbox;
mod seat;
mod stopped;
mod store;
mod stream;
mod streaming;
mod ticker;
mod topics;
mod trial;
mod warm;
mod worker;
mod world;

pub use alone::{Compilation, compile_alone};
pub use batch::{Progress, run_ready};
pub use bounds::{Share, Shares};
pub use compiler::Work;
pub use compiling::Compiling;
pub use debug::DebugFault;
pub use describe::CommandInfo;
pub use host::{CommandGate, EventsGrant, Grants, HttpGrant, MAX_OPEN_FILES, Stores, VolumeLimits};
pub use inspect::{Inspection, inspect};
pub use invoke::{Call, Commands, Ended, Reply, ReplyFuture, invoke, invoke_nested};
pub use load::{LoadError, Plugin, Spec};
pub use pool::Instances;
pub use sandbox::{CoreDumps, Kept, Sandbox, SandboxLimits};
pub use seat::{Reserved, Seat};
pub use stopped::DeadlineOf;
pub use stream::{Outlet, Parts, pipe};
pub use streaming::invoke_streaming;
pub use trial::{Trial, invoke_whole, try_out};
pub use world::{Standing, grant_lines};
