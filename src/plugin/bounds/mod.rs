//! Bounds on memory and computing.

mod budget;
mod limiter;
mod meter;
mod pace;
mod refusal;

pub(super) use budget::{Budget, BudgetSpent};
pub(super) use limiter::MemoryLimiter;
pub(super) use meter::{CpuSpent, Meter, thread_cpu};
pub(super) use pace::{FirstTick, Pace, give_way};
pub(super) use refusal::{MemoryRefusal, RAISE_PLUGIN_MEMORY};
