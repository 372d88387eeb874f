//! Processor time: its measure, its limit, and the threads for calls that compute.

pub(super) mod hint;
pub(super) mod meter;
pub(super) mod offload;
pub(super) mod ticker;
