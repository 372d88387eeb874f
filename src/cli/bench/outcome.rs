//! The measurement of a load.

use super::load::Load;
use crate::loadgen::Report;

/// The measurement, with the details to report.
pub(super) struct Outcome {
    pub(super) load: Load,
    pub(super) server: String,
    pub(super) command: Vec<String>,
    pub(super) is_plain: bool,
    pub(super) report: Report,
}
