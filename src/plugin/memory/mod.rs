//! Memory of instances: the bound on each, and the bound on all of them.

pub(super) mod budget;
pub(super) mod limiter;
pub(super) mod refusal;
