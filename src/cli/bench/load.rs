//! The load of a run, with its plan.

use crate::loadgen::{HandshakePlan, Plan};

/// A valid load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    Steady(Plan),
    Handshakes(HandshakePlan),
}
