//! The pages of one listener.

use std::sync::Arc;

use super::content::Content;
use super::pace::Pace;

/// The pages of one listener, and its pace.
pub struct Site {
    pub(super) content: Arc<dyn Content>,
    pub(super) pace: Pace,
}

impl Site {
    /// Shows `content`.
    pub fn new(content: Arc<dyn Content>) -> Arc<Self> {
        Arc::new(Self { content, pace: Pace::default() })
    }
}
