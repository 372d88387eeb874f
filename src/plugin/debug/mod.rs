//! Source lines of traps: backtraces, the table of places, and the debug information that it is made of.

pub(super) mod backtrace;
pub(super) mod dwarf;
pub(super) mod places;
