//! What all plugins, one client, one instance and one call may use: each bound in a file, and none knows another's.
//!
//! `queue` and `share` are who may run at once, `pace` where it begins, `meter` for how long a call may,
//! `limiter` and `budget` the memory of an instance and of all of them. What a call may ask of the host is in
//! `host/volume.rs`; slots and time are in `sandbox.rs` and `invoke.rs`.

mod budget;
mod limiter;
mod meter;
mod pace;
mod queue;
mod share;

pub(super) use budget::{Budget, BudgetSpent};
pub(super) use limiter::{MemoryLimiter, MemoryRefusal};
pub(super) use meter::{CpuSpent, Meter, thread_cpu};
pub(super) use pace::{FirstTick, Pace, give_way};
pub(super) use queue::Queue;
pub use share::{Share, Shares};
